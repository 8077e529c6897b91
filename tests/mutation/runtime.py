"""Lines of the runtime that say where a pixel is and what it is worth."""

from tests.mutation.breaks import broken

TILING = "runtime/lightsr/tiling.py"
BANDS = "runtime/lightsr/bands.py"
ENLARGING = "runtime/lightsr/enlarging.py"
PADDING = "runtime/lightsr/padding.py"
UPSCALER = "runtime/lightsr/upscaler.py"
INTENSITY = "runtime/lightsr/intensity.py"
LEVELS = "runtime/lightsr/levels.py"
RESAMPLE = "runtime/lightsr/resample.py"
GEOMETRY = "runtime/lightsr/geometry.py"
REGIONS = "runtime/lightsr/regions.py"
OVERLAYS = "runtime/lightsr/overlays.py"
NIFTI = "runtime/lightsr/nifti.py"
PIXELS = "runtime/lightsr/pixels.py"
COLOUR = "runtime/lightsr/colour.py"
IMAGE = "runtime/lightsr/image.py"
ENHANCED = "runtime/lightsr/enhanced.py"

AS_LIBRARY = "test_enlarging.py::test_a_file_is_enlarged_as_the_library_enlarges_its_pixels"

BREAKS = (
    *broken(
        TILING,
        "test_tiling.py",
        {
            "limit = max(alignment, most // alignment * alignment)": "limit = max(alignment, most)",
            "return -(-length // (count * alignment)) * alignment": "return -(-length // count)",
            "rows = np.clip(np.arange(height) + tile.top - self.halo, 0, self.rows - 1) - first": (
                "rows = np.clip(np.arange(height) + tile.top - self.halo + 1, 0, self.rows - 1) - first"
            ),
            "columns = np.clip(np.arange(width) + tile.left - self.halo, 0, self.columns - 1)": (
                "columns = np.abs(np.clip(np.arange(width) + tile.left - self.halo, -1, self.columns - 1))"
            ),
            "start = self.halo * scale": "start = self.halo * scale - 1",
        },
    ),
    *broken(
        TILING,
        "test_upscaler.py::test_tiled_equals_whole_to_the_last_bit",
        {
            "return self.core_rows + 2 * self.halo, self.core_columns + 2 * self.halo": (
                "return self.core_rows + self.halo, self.core_columns + self.halo"
            ),
        },
    ),
    *broken(
        BANDS,
        "test_bands.py",
        {
            "reach = max(plan.halo, BICUBIC_REACH_PX)": "reach = plan.halo - 2",
            "gone = max(0, top - reach - first)": "gone = max(0, top - reach - first + 2)",
        },
    ),
    *broken(
        BANDS,
        "test_upscaler.py",
        {
            "np.rint(values, out=values)": "np.floor(values, out=values)",
            "np.clip(values, self.low, self.high, out=values)": "np.clip(values, self.low, None, out=values)",
            "lr -= np.float32(self.mapping.offset)": "lr -= np.float32(0)",
            "enlarged *= np.float32(self.mapping.span)": "enlarged *= np.float32(self.mapping.span + 1)",
            "near = replace(self.plan, halo=BICUBIC_REACH_PX)": "near = replace(self.plan, halo=0)",
            "result[..., channel] = sharp + near.core(difference, tile, scale)": "result[..., channel] = sharp",
            "core = window[top : top + tile.rows, tile.left : tile.left + tile.columns]": (
                "core = window[top : top + tile.rows, : tile.columns]"
            ),
        },
    ),
    *broken(
        ENLARGING,
        "test_enlarging.py::test_bands_of_a_frame_are_the_frame_in_one_piece",
        {
            "bottom, first = min(top + plan.core_rows, rows), max(top - reach, 0)": (
                "bottom, first = min(top + plan.core_rows, rows), max(top - reach + 8, 0)"
            ),
            "pixels, mask = source.read(first, min(bottom + reach, rows))": (
                "pixels, mask = source.read(first, min(bottom, rows))"
            ),
            "plain = regions.outside(frames.regions, (bottom - top, columns), scale, top=window.first + top)": (
                "plain = regions.outside(frames.regions, (bottom - top, columns), scale, top=top)"
            ),
        },
    ),
    *broken(
        ENLARGING,
        AS_LIBRARY,
        {"seen = padding.filled(seen, window.padding, level.lowest)": "seen = seen.copy()"},
    ),
    *broken(UPSCALER, "test_padding.py", {"seen = filled(part, hidden, filling[1])": "seen = part"}),
    *broken(
        ENLARGING,
        "test_padding.py::test_tiles_of_a_picture_with_padding_make_the_whole",
        {
            "reach, rows = max(plan.halo, BICUBIC_REACH_PX) + _fill_px(frames), frames.size[0]": (
                "reach, rows = max(plan.halo, BICUBIC_REACH_PX), frames.size[0]"
            ),
        },
    ),
    *broken(
        PADDING,
        "test_padding.py",
        {
            "first, last = max(top - FILL_PX, 0), bottom + FILL_PX": "first, last = top, bottom",
            "_carry_on(out, known)": "known.any()",
            "known[here] |= taken": "known[here] = taken",
            "out = np.where(padding, np.asarray(lowest, pixels.dtype), pixels)": "out = pixels.copy()",
        },
    ),
    *broken(LEVELS, AS_LIBRARY, {"extremes.repeat(low, padded)": "extremes.repeat(0, padded)"}),
    *broken(
        ENLARGING,
        "test_pipeline.py test_pipeline_frames.py::test_frames_of_one_inverted_cine_are_mirrored_alike",
        {
            "wrong |= (part >= reserved[0]) & (part <= reserved[1])": "wrong |= part == reserved[0]",
            "_mirror(filled, level, seen)": "seen[:] = filled",
        },
    ),
    *broken(
        ENLARGING,
        "test_pipeline_regions.py",
        {
            "result[plane][rows][plain] = np.clip(np.rint(chosen), level.low, level.high)": (
                "result[plane][rows][plain] = np.clip(chosen, level.low, level.high)"
            ),
            "chosen = wider[scale * (top - first) : scale * (bottom - first)][plain]": (
                "chosen = wider[: scale * (bottom - top)][plain]"
            ),
        },
    ),
    *broken(
        INTENSITY,
        "test_intensity.py",
        {
            "aside = ASIDE_PX if self._count > 2 * ASIDE_PX else 0": "aside = 0",
            "low, high = float(lowest[aside]), float(highest[-1 - aside])": (
                "low, high = float(lowest[aside]), float(highest[-1])"
            ),
            "self._highest = np.sort(np.concatenate((self._highest, high)))[-kept:]": (
                "self._highest = np.sort(np.concatenate((self._highest, high)))[:kept]"
            ),
        },
    ),
    *broken(
        LEVELS,
        "test_enlarging.py test_pipeline_frames.py::test_a_still_scene_does_not_flicker",
        {
            "value_range = min(low for (low, _), _ in real), max(high for (_, high), _ in real)": (
                "value_range = real[0][0]"
            ),
            "real = luminance(pixels) if colour else pixels if mask is None else pixels[~mask]": (
                "real = luminance(pixels) if colour else pixels"
            ),
            "pixels[: begin - top] = held[top - held_top :][: begin - top]": (
                "pixels[: begin - top] = held[: begin - top]"
            ),
        },
    ),
    *broken(
        RESAMPLE,
        "test_resample.py",
        {
            "KEYS_A = -0.5": "KEYS_A = -0.75",
            "centre = (scale - 1) / 2": "centre = scale / 2",
            "return -((3 * scale) // 2) if scale % 2 == 0 else -((3 * scale - 1) // 2)": (
                "return 1 - ((3 * scale) // 2) if scale % 2 == 0 else -((3 * scale - 1) // 2)"
            ),
            "offsets = (np.arange(scale) + 0.5) / scale - 0.5": "offsets = np.arange(scale) / scale",
            'padded = np.pad(image, ((2, 2), (0, 0)), mode="edge")': "padded = np.pad(image, ((2, 2), (0, 0)))",
        },
    ),
    *broken(
        GEOMETRY,
        "test_geometry.py test_regions.py",
        {
            "shift = (1 / scale - 1) / 2": "shift = (1 - 1 / scale) / 2",
            "moved = np.array(self.first) + shift * (along_row * column_spacing + along_column * row_spacing)": (
                "moved = np.array(self.first) + shift * (along_row * row_spacing + along_column * column_spacing)"
            ),
            "_set_decimals(dataset, name, [value / scale for value in values])": (
                "_set_decimals(dataset, name, [value / scale for value in reversed(values)])"
            ),
            "return (value - 1) * scale + (scale if far else 1)": "return (value - 1) * scale + 1",
            "centre = [round((int(value) - 0.5) * scale + 0.5) for value in dataset.get(name)]": (
                "centre = [int(value) * scale for value in dataset.get(name)]"
            ),
            "setattr(dataset, name, int(dataset.get(name)) * scale)": "setattr(dataset, name, int(dataset.get(name)))",
            "region.RegionLocationMaxX1, region.RegionLocationMaxY1 = scale * (right + 1) - 1, scale * (bottom + 1) - 1": (
                "region.RegionLocationMaxX1, region.RegionLocationMaxY1 = scale * right, scale * bottom"
            ),
            "setattr(region, name, float(region.get(name)) / scale)": (
                "setattr(region, name, abs(float(region.get(name))) / scale)"
            ),
            "setattr(region, name, round(scale * int(region.get(name)) + (scale - 1) / 2))": (
                "setattr(region, name, scale * int(region.get(name)))"
            ),
            "setattr(region, spelling, scale * int(region.get(spelling)))": (
                "setattr(region, spelling, int(region.get(spelling)))"
            ),
        },
    ),
    *broken(
        REGIONS,
        "test_regions.py",
        {
            "return Region(top, left, min(bottom, rows - 1) - top + 1, min(right, columns - 1) - left + 1)": (
                "return Region(top, left, min(bottom, rows) - top, min(right, columns) - left)"
            ),
            "rows = slice(scale * max(first, 0), scale * max(last, 0))": (
                "rows = slice(scale * max(first, 0), scale * max(last - 1, 0))"
            ),
        },
    ),
    *broken(
        OVERLAYS,
        "test_overlays.py",
        {
            "moved = [(value - 1) * scale + 1 for value in origin]": "moved = [value * scale for value in origin]",
            "larger = bits.reshape(-1, columns).repeat(scale, 0).repeat(scale, 1)": (
                "larger = np.tile(bits.reshape(-1, columns), (scale, scale))"
            ),
        },
    ),
    *broken(
        NIFTI,
        "test_nifti.py::test_a_volume_keeps_its_place test_nifti.py::test_both_forms_keep_the_field_of_view",
        {
            "shift = (0.5 / scale - 0.5) * np.array([1.0, 1.0, 0.0])": (
                "shift = (0.5 - 0.5 / scale) * np.array([1.0, 1.0, 0.0])"
            ),
            "place = affine[:3, :3] @ shift + affine[:3, 3]": "place = affine[:3, 3]",
            "affine[:3, 3] += affine[:3, :3] @ shift": "affine[:3, 3] += affine[:3, :3].T @ shift",
            "affine[:3, :2] /= scale": "affine[:3, :3] /= scale",
            'fields["pixdim"][1:3] /= scale': 'fields["pixdim"][1:4] /= scale',
        },
    ),
    *broken(
        NIFTI,
        "test_nifti.py::test_slices_are_enlarged_as_they_are_seen test_nifti.py::test_types_and_four_dimensions",
        {
            "rows = values.rows(stream, frame, values.size[0] - bottom, values.size[0] - top)[::-1]": (
                "rows = values.rows(stream, frame, top, bottom)"
            ),
            "file.seek(start + (frame * rows + rows - top - len(band)) * row_bytes)": (
                "file.seek(start + (frame * rows + top) * row_bytes)"
            ),
            'stream.write(np.ascontiguousarray(pixels[::-1], dtype).data.cast("B"))': (
                'stream.write(np.ascontiguousarray(pixels, dtype).data.cast("B"))'
            ),
        },
    ),
    *broken(
        PIXELS,
        "test_pixels.py",
        {
            "above = unused - of.low_bit": "above = unused",
            "values = (words << above).view(of.dtype) >> unused  # of a signed type this repeats the sign": (
                "values = ((words << above) >> unused).view(of.dtype)"
            ),
        },
    ),
    *broken(
        COLOUR,
        "test_colour.py",
        {
            "luminance + towards_red,": "luminance + towards_blue,",
            "rows = np.clip(values.astype(np.int32) - first, 0, len(table) - 1)": (
                "rows = np.clip(values.astype(np.int32), 0, len(table) - 1)"
            ),
        },
    ),
    *broken(
        IMAGE,
        "test_upscaler.py::test_colour_in_tiles_equals_the_whole_to_the_last_bit",
        {"LUMA = (0.299, 0.587, 0.114)": "LUMA = (0.114, 0.587, 0.299)"},
    ),
    *broken(
        ENHANCED,
        "test_enhanced.py::test_every_frame_keeps_its_ground",
        {
            "place = groups.plane(stored)": "place = groups.plane(groups.frame(0))",
            "return all(name in groups.shared for name in (POSITION, ORIENTATION, MEASURES))": (
                "return POSITION in groups.shared"
            ),
        },
    ),
)

"""Padding: what the network sees in its place, and what that does to the pixels beside it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightsr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr import enlarging
from lightsr.image import Frames, Image
from lightsr.padding import FILL_PX, filled


def plainly(pixels: np.ndarray, padding: np.ndarray, lowest: Any) -> np.ndarray:
    """The same, pixel by pixel."""

    def along(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out, found = values.copy(), known.copy()
        for i in range(len(values)):
            for j in [i + step * d for d in range(1, FILL_PX + 1) for step in (-1, 1)]:
                if not found[i] and 0 <= j < len(values) and known[j]:
                    out[i], found[i] = values[j], True
        return out, found

    out, known = np.where(padding, lowest, pixels), ~padding
    for index in range(len(out)):
        out[index], known[index] = along(out[index], known[index])
    for index in range(out.shape[1]):
        out[:, index], _ = along(out[:, index], known[:, index])
    return out


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_values_beside_it_go_on(data: st.DataObject) -> None:
    shape = (data.draw(st.integers(1, 80)), data.draw(st.integers(1, 12)))
    random = np.random.default_rng(data.draw(st.integers(0, 9)))
    dtype = data.draw(st.sampled_from([np.uint8, np.int16, np.float32]))
    pixels = random.integers(0, 100, shape).astype(dtype)
    padding = random.random(shape) < data.draw(st.sampled_from([0.0, 0.3, 0.9, 0.99]))
    padding[data.draw(st.integers(0, 80)) :] = data.draw(st.booleans())
    if padding.all():
        padding[0, 0] = False
    found = filled(pixels, padding, 7)
    assert found.dtype == dtype
    assert np.array_equal(found, plainly(pixels, padding, 7))
    top, bottom = sorted((data.draw(st.integers(0, shape[0])), data.draw(st.integers(0, shape[0]))))
    first, last = max(top - FILL_PX, 0), bottom + FILL_PX
    rows = filled(pixels[first:last], padding[first:last], 7)[top - first :][: bottom - top]
    assert np.array_equal(rows, found[top:bottom]), "rows by themselves are as those of the whole"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_pixels_beside_padding_are_nearly_what_they_are_without(
    precision: str, picture: np.ndarray, request: pytest.FixtureRequest
) -> None:
    """The lowest value in its place would be an edge in the picture, which rings into tissue."""
    upscaler: lightsr.Upscaler = request.getfixturevalue(precision)
    rows, columns = np.indices(picture.shape)
    padding = (rows - 22) ** 2 + (columns - 35) ** 2 > 17**2
    bright = (picture + 1000).astype(np.uint16)
    bright[0, :5] = 0  # air, and more than int8 leaves aside
    padding[0, :5] = False
    whole = upscaler(bright).astype(float)
    outside = padding.repeat(2, 0).repeat(2, 1)
    ring = ~outside & ((np.indices(whole.shape)[0] / 2 - 22) ** 2 + (np.indices(whole.shape)[1] / 2 - 35) ** 2 > 15**2)
    ring[:4] = False
    assert ring.sum() > 300

    def error(result: np.ndarray) -> float:
        return float(np.sqrt(np.mean((result.astype(float) - whole)[ring] ** 2)))

    found = error(upscaler(bright, padding=padding))
    before = error(upscaler(np.where(padding, np.uint16(0), bright)))
    assert found < before / 2


def test_tiles_of_a_picture_with_padding_make_the_whole(fp32: lightsr.Upscaler) -> None:
    """Of arrays and of rows of a file, to the last bit; what a tile sees depends on pixels beyond its halo."""
    random = np.random.default_rng(3)
    pixels = random.uniform(20, 1000, (90, 70)).astype(np.float32)
    padding = random.random(pixels.shape) < 0.7
    padding[30:47] = padding[60:] = True
    padding[60:, ::13] = False
    pixels[padding] = 7
    limits = pixels[~padding].min().item(), pixels[~padding].max().item()
    image = Image(pixels, limits, "MONOCHROME2", Path("a"), padding=padding, padding_range=(7, 7))
    by_rows = replace(Frames.of(image), band=lambda index, top, bottom: pixels[top:bottom])
    found = []
    for tile in (4096, 16, 32):
        upscaler = lightsr.Upscaler(fp32.model, tile=tile)
        bands = [band.pixels for band in enlarging.enlarged_bands(by_rows, upscaler)]
        found += [np.concatenate(bands), upscaler(pixels, padding=padding, value_range=limits)]
    assert all(np.array_equal(result, found[0]) for result in found[1:])

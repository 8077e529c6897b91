"""Frames by bands are frames as wholes, whatever their format says about their pixels."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightsr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr import enlarging, files, segments
from lightsr.bands import Tally
from lightsr.image import Frames
from lightsr.regions import Region

from .dicom_files import a_cine, a_dataset, save

MODELS = {name: lightsr.load("tiny", scale=2, precision=name, threads=1).model for name in ("fp32", "int8")}


def joined(frames: Frames, upscaler: lightsr.Upscaler, tally: Tally | None = None) -> np.ndarray:
    """All frames of the result, one below the other."""
    return np.concatenate([band.pixels for band in enlarging.enlarged_bands(frames, upscaler, tally=tally)])


def as_wholes(frames: Frames) -> Frames:
    """The same file as if it gave no rows by themselves."""
    return replace(frames, band=None)


def agree(path: Path, tile: int, *, model: str = "int8", regions: tuple[Region, ...] = ()) -> np.ndarray:
    """Enlarge a file by rows and by frames, and find the same."""
    upscaler, tally, other = lightsr.Upscaler(MODELS[model], tile=tile), Tally(), Tally()
    with files.opened(path) as frames:
        assert frames.band is not None
        frames = replace(frames, regions=regions or frames.regions)
        found = joined(frames, upscaler, tally)
        assert np.array_equal(found, joined(as_wholes(frames), upscaler, other))
        assert found.dtype == frames.dtype
        assert tally == other
    return found


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("model", ["fp32", "int8"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8, np.int8])
def test_padding_and_inversion_by_rows(photometric: str, model: str, dtype: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    pixels = random.integers(20, 100, (75, 41)).astype(dtype)
    pixels[:30, :9] = 7
    changes = {"PixelPaddingValue": 7, "PhotometricInterpretation": photometric}
    found = agree(save(a_dataset(pixels, **changes), tmp_path / "a.dcm"), 16, model=model)
    assert (found[:60, :18] == 7).all()
    assert not (found[60:] == 7).any()
    assert found[60:].min() >= 20


@pytest.mark.parametrize("tile", [16, 4096])
@pytest.mark.parametrize("model", ["fp32", "int8"])
def test_a_file_is_enlarged_as_the_library_enlarges_its_pixels(model: str, tile: int, tmp_path: Path) -> None:
    """Padding far from the real values neither rings into them nor takes the integers of int8."""
    pixels = np.random.default_rng(8).integers(200, 900, (75, 41)).astype(np.int16)
    pixels[20:50, 5:22] = -2000
    found = agree(save(a_dataset(pixels, PixelPaddingValue=-2000), tmp_path / "a.dcm"), tile, model=model)
    padding, upscaler = pixels == -2000, lightsr.Upscaler(MODELS[model], tile=tile)
    real = pixels[~padding]
    assert np.array_equal(found, upscaler(pixels, padding=padding, value_range=(real.min(), real.max())))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2", "RGB"])
def test_bands_of_a_frame_are_the_frame_in_one_piece(photometric: str, tmp_path: Path) -> None:
    """To the last bit with fp32: everything has its place in every band."""
    shape = (75, 41, 3) if photometric == "RGB" else (75, 41)
    pixels = np.random.default_rng(9).integers(20, 250, shape).astype(np.uint8)
    changes: dict[str, Any] = {"PhotometricInterpretation": photometric}
    if photometric != "RGB":
        pixels[30:55, 8:20] = 7
        changes["PixelPaddingValue"] = 7
    with files.opened(save(a_cine(pixels[None], **changes), tmp_path / "a.dcm")) as frames:
        frames = replace(frames, regions=(Region(10, 3, 50, 30),))
        bands, whole = (joined(frames, lightsr.Upscaler(MODELS["fp32"], tile=tile)) for tile in (16, 4096))
    assert np.array_equal(bands, whole)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_regions_by_rows(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    rows, columns = data.draw(st.integers(1, 80)), data.draw(st.integers(1, 40))
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    region = Region(top, left, data.draw(st.integers(1, rows - top)), data.draw(st.integers(1, columns - left)))
    shape = (rows, columns, 3) if data.draw(st.booleans()) else (rows, columns)
    pixels = np.random.default_rng(rows).integers(0, 256, shape, np.uint8)
    path = save(a_cine(pixels[None]), tmp_path_factory.mktemp("regions") / "a.dcm")
    agree(path, data.draw(st.sampled_from([16, 32, 256])), regions=(region,))


@pytest.mark.parametrize("by_plane", [0, 1])
def test_colours_by_rows(by_plane: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (70, 20, 3), np.uint8)
    stored = np.ascontiguousarray(pixels.transpose(2, 0, 1)) if by_plane else pixels
    dataset = a_cine(pixels[None], PlanarConfiguration=by_plane)
    dataset.PixelData = stored.tobytes()
    path = save(dataset, tmp_path / "a.dcm")
    with files.opened(path) as frames:
        assert frames.band is not None
        assert np.array_equal(frames.band(0, 13, 40), pixels[13:40])
    agree(path, 16)


def test_halved_colours_by_rows(tmp_path: Path) -> None:
    """YBR_FULL_422: two pixels share their colour differences (PS3.3 C.7.6.3.1.2)."""
    content = np.random.default_rng(3).integers(0, 256, (50, 10, 4), np.uint8)
    dataset = a_cine(np.zeros((1, 50, 20, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422")
    dataset.PixelData = content.tobytes()
    path = save(dataset, tmp_path / "a.dcm")
    with files.opened(path) as frames:
        assert frames.band is not None
        assert np.array_equal(frames.band(0, 13, 40), frames[0].pixels[13:40])
    agree(path, 16)


def test_a_cine_by_rows_keeps_one_scale_and_its_blank_frames(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    frames = random.integers(10, 60, (4, 40, 24)).astype(np.uint16) * np.array([1, 9, 0, 2], np.uint16)[:, None, None]
    frames[3, :5] = 0
    dataset = a_cine(frames, PixelPaddingValue=0)
    found = agree(save(dataset, tmp_path / "a.dcm"), 16).reshape(4, 80, 48)
    assert not found[2].any()
    assert not found[3, :10].any()
    assert found[0].min() >= frames[0].min()


def test_overlay_bits_by_rows_are_judged_as_those_of_the_frame(tmp_path: Path) -> None:
    """Negative values with unused bits of 0 are read if all words are so, and refused where some are not."""
    pixels = np.full((60, 8), -5, np.int16)
    consistent = (pixels & 0xFFF).astype(np.int16)
    path = save(a_dataset(consistent, BitsStored=12, HighBit=11), tmp_path / "a.dcm")
    assert (agree(path, 16) == -5).all()
    mixed = consistent.copy()
    mixed[-1, -1] = -5
    path = save(a_dataset(mixed, BitsStored=12, HighBit=11), tmp_path / "b.dcm")
    with (
        files.opened(path) as frames,
        pytest.raises(lightsr.ImageError, match="outside its 12 stored bits"),
    ):
        joined(frames, lightsr.Upscaler(MODELS["int8"], tile=16))


def test_a_packed_strip_is_unpacked_once_for_each_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers put a whole page into one strip; by pieces of a few rows it would be unpacked for each of them."""
    tifffile = pytest.importorskip("tifffile")
    pixels = np.random.default_rng(5).integers(0, 900, (400, 60)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", predictor=True, rowsperstrip=400)
    monkeypatch.setattr("lightsr.levels.PIECE_PX", 600)
    inflated, count = segments._inflated, []

    def counting(*arguments: Any) -> bytes:
        count.append(1)
        return inflated(*arguments)

    monkeypatch.setattr(segments, "_inflated", counting)
    found = agree(tmp_path / "a.tif", 32)
    assert found.shape == (800, 120)
    assert len(count) <= 3  # by rows it stays unpacked for both passes; as a whole it is unpacked once more


def test_reading_stops_when_nobody_wants_it(tmp_path: Path) -> None:
    """An interrupt comes while the first pass looks at a long cine."""
    frames = np.random.default_rng(6).integers(0, 200, (40, 16, 16), np.uint8)
    looked: list[int] = []
    with files.opened(save(a_cine(frames), tmp_path / "a.dcm")) as opened:
        read = opened.band
        assert read is not None

        def slowly(index: int, top: int, bottom: int) -> np.ndarray:
            looked.append(index)
            if len(looked) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            assert read is not None
            return read(index, top, bottom)

        with pytest.raises(KeyboardInterrupt):
            joined(replace(opened, band=slowly), lightsr.Upscaler(MODELS["int8"]))
    assert len(looked) < 8

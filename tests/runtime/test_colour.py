import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightsr import dicom
from lightsr.colour import rgb_from_ybr
from lightsr.errors import ImageError
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, convert_color_space
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from .dicom_files import a_cine, a_dataset, save

ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"


def test_colours_are_those_of_pydicom() -> None:
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    values = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, len(levels), 3)
    assert np.array_equal(rgb_from_ybr(values), convert_color_space(values, "YBR_FULL", "RGB"))


@given(level=st.integers(0, 255))
def test_what_has_no_colour_stays_grey(level: int) -> None:
    assert rgb_from_ybr(np.array([[[level, 128, 128]]], np.uint8)).tolist() == [[[level] * 3]]


@pytest.mark.parametrize("by_plane", [0, 1])
def test_ybr_that_is_not_compressed(by_plane: int, tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 255, (2, 4, 6, 3), dtype=np.uint8)
    dataset = a_cine(stored, PhotometricInterpretation="YBR_FULL", PlanarConfiguration=by_plane)
    if by_plane:
        dataset.PixelData = stored.transpose(0, 3, 1, 2).tobytes()
    with dicom.opened(save(dataset, tmp_path / "a.dcm")) as frames:
        assert frames.photometric == "RGB"
        for index in range(2):
            assert np.array_equal(frames[index].pixels, rgb_from_ybr(stored[index]))


def test_ybr_with_half_of_its_differences(tmp_path: Path) -> None:
    pairs = np.random.default_rng(0).integers(0, 255, (2, 4, 3, 4), dtype=np.uint8)
    dataset = a_cine(np.zeros((2, 4, 6, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422")
    dataset.PixelData = pairs.tobytes()
    with dicom.opened(save(dataset, tmp_path / "a.dcm")) as frames:
        for index in range(2):
            luminance = pairs[index, ..., :2].reshape(4, 6)
            differences = pairs[index, ..., 2:].repeat(2, axis=1)
            expected = rgb_from_ybr(np.concatenate([luminance[..., None], differences], axis=-1))
            assert np.array_equal(frames[index].pixels, expected)
    dataset.Columns, dataset.Rows = 5, 4
    dataset.PixelData = bytes(2 * 4 * 5 * 2)
    with pytest.raises(ImageError, match="uncompressed YBR_FULL_422 of 5 columns, which cannot be"):
        dicom.read(save(dataset, tmp_path / "a.dcm"))


@pytest.mark.parametrize("photometric", ["YBR_RCT", "YBR_ICT"])
def test_colours_of_jpeg_2000_are_compressed_or_wrong(photometric: str, tmp_path: Path) -> None:
    dataset = a_dataset(np.zeros((4, 6, 3), np.uint8), PhotometricInterpretation=photometric, SOPClassUID=ULTRASOUND)
    with pytest.raises(ImageError, match=f"uncompressed {photometric}"):
        dicom.read(save(dataset, tmp_path / "a.dcm"))


COLOURS = np.array([[0, 0, 0], [255, 0, 10], [1, 254, 20], [40, 50, 60]], np.uint8)


def a_palette_image(
    content: list[bytes], bits: int = 16, first: int = 0, entries: int = 4, vr: str = "OW", **changes: Any
) -> Dataset:
    values = np.array([[0, 1, 2, 3], [3, 2, 1, 200]], np.uint8)
    dataset = a_dataset(values, PhotometricInterpretation="PALETTE COLOR", SOPClassUID=ULTRASOUND, **changes)
    for index, colour in enumerate(("Red", "Green", "Blue")):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [entries, first, bits])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", content[index])
        dataset[f"{colour}PaletteColorLookupTableData"].VR = vr
    return dataset


def tables(kind: str, order: str = "<") -> list[bytes]:
    """The columns of `COLOURS` in each way that files have them."""
    columns = COLOURS.T.astype(np.uint16)
    values = {"twice": columns * 257, "above": columns << 8, "in words": columns}
    if kind == "bytes":
        return [column.astype(np.uint8).tobytes() for column in columns]
    return [column.astype(f"{order}u2").tobytes() for column in values[kind]]


@pytest.mark.parametrize(("kind", "bits"), [("twice", 16), ("above", 16), ("in words", 8), ("bytes", 8)])
@pytest.mark.parametrize("first", [0, 1])
def test_palettes(kind: str, bits: int, first: int, tmp_path: Path) -> None:
    image = dicom.read(save(a_palette_image(tables(kind), bits, first), tmp_path / "a.dcm"))
    rows = np.clip(np.array([[0, 1, 2, 3], [3, 2, 1, 200]]) - first, 0, 3)
    assert image.photometric == "RGB"
    assert np.array_equal(image.pixels, COLOURS[rows])
    assert image.value_range == (0, 255)


@pytest.mark.parametrize(("kind", "bits"), [("twice", 16), ("bytes", 8)])
def test_palettes_of_the_other_byte_order(kind: str, bits: int, tmp_path: Path) -> None:
    content = tables(kind, ">")
    if kind == "bytes":  # words of two entries, the first in the lower byte
        content = [np.frombuffer(column, "<u2").astype(">u2").tobytes() for column in content]
    path = save(a_palette_image(content, bits), tmp_path / "a.dcm", ExplicitVRBigEndian)
    little = save(a_palette_image(tables(kind), bits), tmp_path / "b.dcm", ExplicitVRLittleEndian)
    assert np.array_equal(dicom.read(path).pixels, dicom.read(little).pixels)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (a_palette_image(tables("in words")), "a 16-bit palette that uses 8 bits"),
        (a_palette_image(tables("twice"), entries=5), "a palette of 5 entries of 16 bits in 8 bytes"),
        (a_palette_image(tables("twice"), bits=12), "of 12 bits"),
        (a_palette_image(tables("twice"), SegmentedRedPaletteColorLookupTableData=b"\0\0"), "segmented and not"),
        (a_palette_image(tables("twice"), PixelRepresentation=1), "signed, PALETTE COLOR"),
    ],
)
def test_palettes_that_are_refused(dataset: Dataset, message: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=message):
        dicom.read(save(dataset, tmp_path / "a.dcm"))


def test_a_palette_that_is_not_whole(tmp_path: Path) -> None:
    dataset = a_palette_image(tables("twice"))
    del dataset.BluePaletteColorLookupTableData
    with pytest.raises(ImageError, match="a palette that is missing or damaged"):
        dicom.read(save(dataset, tmp_path / "a.dcm"))
    dataset = a_palette_image(tables("twice"))
    dataset.BluePaletteColorLookupTableDescriptor = [4, 1, 16]
    with pytest.raises(ImageError, match="three alike are allowed"):
        dicom.read(save(dataset, tmp_path / "a.dcm"))


def a_segmented_image(words: list[list[int]], entries: int, bits: int = 16, order: str = "<") -> Dataset:
    """A palette image whose tables are segments, as words or as bytes in words."""
    dataset = a_palette_image([b"\0\0"] * 3, bits, entries=entries)
    dataset.PixelData, dataset.Rows, dataset.Columns = bytes(range(256)), 16, 16
    for colour, numbers in zip(("Red", "Green", "Blue"), words, strict=True):
        del dataset[f"{colour}PaletteColorLookupTableData"]
        if bits == 8:
            packed = np.array(numbers + [0] * (len(numbers) % 2), np.uint8).view("<u2").astype(f"{order}u2")
        else:
            packed = np.array(numbers, f"{order}u2")
        setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", packed.tobytes())
        dataset[f"Segmented{colour}PaletteColorLookupTableData"].VR = "OW"
    return dataset


SEGMENTS = {
    16: [
        [0, 2, 0, 512, 1, 200, 65_535, 0, 3, 7 << 8, 9 << 8, 2 << 8, 1, 51, 40_000],
        [0, 1, 65_535, 1, 255, 0],
        [0, 1, 999, 1, 85, 50_000, 1, 85, 50_000, 1, 85, 3],
    ],
    8: [[0, 1, 0, 1, 255, 255], [0, 3, 9, 1, 200, 1, 253, 7], [0, 1, 255, 1, 100, 3, 1, 155, 250]],
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_segmented_palettes_are_those_of_pydicom(bits: int, order: str, tmp_path: Path) -> None:
    path = save(a_segmented_image(SEGMENTS[bits], 256, bits), tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    expected = apply_color_lut(dataset.pixel_array, dataset)
    expected = expected >> 8 if bits == 16 else expected
    if order == ">":
        path = save(a_segmented_image(SEGMENTS[bits], 256, bits, ">"), tmp_path / "b.dcm", ExplicitVRBigEndian)
    assert np.array_equal(dicom.read(path).pixels, expected)
    assert len(np.unique(expected)) > 100


@pytest.mark.parametrize(
    ("red", "entries", "message"),
    [
        ([1, 256, 9], 256, "do not make 256 entries"),
        ([0, 1, 5, 1, 254, 9], 256, "do not make 256 entries"),
        ([0, 1, 5, 1, 256, 9], 256, "do not make 256 entries"),
        ([0, 1, 5, 1, 0, 9, 1, 255, 9], 256, "do not make 256 entries"),
        ([0, 65_535, 5], 256, "do not make 256 entries"),
        ([0, 1, 5, 3, 255, 9], 256, "do not make 256 entries"),
        ([], 256, "missing or damaged|do not make"),
        ([0, 1, 5, 1, 255, 9, 0, 1, 5], 256, "make more than 256 entries"),
        ([0, 1, 5, 2, 255, 0, 0], 256, "indirect segments"),
        ([0, 1, 5, 1, 65_535, 9], 0, "a 16-bit palette that uses 8 bits"),
    ],
)
def test_segments_that_are_refused(red: list[int], entries: int, message: str, tmp_path: Path) -> None:
    whole = [0, 1, 256, 1, 255 if entries else 65_535, 65_535]
    with pytest.raises(ImageError, match=message):
        dicom.read(save(a_segmented_image([red, whole, whole], entries), tmp_path / "a.dcm"))


def test_a_real_segmented_palette(medical_data: Path) -> None:
    """An ultrasound picture of PyPI's pydicom-data, where it is installed."""
    package = importlib.util.find_spec("data_store")
    if package is None or not package.origin:
        pytest.skip("pydicom-data is not installed")
    for name in ("gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"):
        path = Path(package.origin).parent / "data" / name
        dataset = pydicom.dcmread(path)
        assert np.array_equal(dicom.read(path).pixels, apply_color_lut(dataset.pixel_array, dataset) >> 8)

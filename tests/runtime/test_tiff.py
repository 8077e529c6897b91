"""TIFF: what is read, what a result keeps, and what it says."""

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import lightsr
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr import files, tiff
from lightsr.pipeline import enlarge_file
from PIL import Image as PillowImage

from .broken_files import refused

SECRET = "Doe^Jane"


@pytest.fixture(scope="module")
def fp32() -> lightsr.Upscaler:
    return lightsr.load("tiny", scale=2, precision="fp32", threads=1)


def enlarged(source: Path, upscaler: lightsr.Upscaler) -> Path:
    target = source.with_name("result.tif")
    outcome = enlarge_file(source, target, upscaler)
    assert outcome.status == "done", outcome.message
    return target


def written(path: Path, pixels: Any, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, **{"metadata": None, "photometric": "minisblack", **options})
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"rowsperstrip": 7},
        {"tile": (16, 32)},
        {"tile": (64, 128)},
        {"bigtiff": True, "rowsperstrip": 45},
        {"compression": "zlib", "rowsperstrip": 11},
        {"compression": "zlib", "tile": (32, 16)},
    ],
    ids=str,
)
def test_values_survive(dtype: str, order: str, layout: dict[str, Any], picture: np.ndarray, tmp_path: Path) -> None:
    pixels = picture.astype(dtype)
    path = written(tmp_path / "a", pixels, byteorder=order, **layout)
    with files.opened(path) as frames:
        image = frames.only()
        assert np.array_equal(image.pixels, pixels)
        assert image.pixels.dtype == pixels.dtype
        assert image.value_range == (pixels.min(), pixels.max())
        assert frames.band
        for top, bottom in ((0, 1), (3, 30), (16, 32), (44, 45)):
            assert np.array_equal(frames.band(0, top, bottom), pixels[top:bottom])


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_page_survives(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Of any size, type, byte order and cut, one or several, as tifffile writes it."""
    pages, rows, columns = (data.draw(st.integers(1, most)) for most in (3, 50, 50))
    colour = data.draw(st.booleans())
    dtype = "uint8" if colour else data.draw(st.sampled_from(["uint8", "int8", "uint16", "int16", "float32"]))
    shape = (pages, rows, columns, 3) if colour else (pages, rows, columns)
    pixels = np.random.default_rng(rows).integers(-99, 256, shape).astype(dtype)
    sides = st.sampled_from([16, 32, 48])
    cut = data.draw(st.none() | st.integers(1, 60) | st.tuples(sides, sides))
    layout = {} if cut is None else {"rowsperstrip": cut} if isinstance(cut, int) else {"tile": cut}
    path = written(
        tmp_path_factory.mktemp("tiff") / "a.tif",
        pixels,
        photometric="rgb" if colour else "minisblack",
        byteorder=data.draw(st.sampled_from("<>")),
        bigtiff=data.draw(st.booleans()),
        compression=data.draw(st.sampled_from([None, "zlib"])),
        **layout,
    )
    assert refused(path) is None
    with files.opened(path) as frames:
        assert np.array_equal(np.stack([frame.pixels for frame in frames]), pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}, {"compression": "zlib"}], ids=str)
def test_colour_survives(planar: str, layout: dict[str, Any], tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (45, 70, 3)).astype(np.uint8)
    stored = pixels if planar == "contig" else pixels.transpose(2, 0, 1)
    path = written(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, **layout)
    image = files.read(path)
    assert image.photometric == "RGB"
    assert np.array_equal(image.pixels, pixels)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("I;16", {"compression": "packbits"}),
        ("L", {"compression": "packbits"}),
        ("RGB", {"compression": "packbits"}),
        ("L", {"compression": "tiff_adobe_deflate", "tiffinfo": {317: 2}}),
        ("I;16", {"compression": "tiff_adobe_deflate", "tiffinfo": {317: 2}}),
        ("RGB", {"compression": "tiff_deflate", "tiffinfo": {317: 2}}),
        ("F", {"compression": "tiff_adobe_deflate", "tiffinfo": {317: 3}}),
    ],
    ids=str,
)
def test_files_of_libtiff(mode: str, options: dict[str, Any], picture: np.ndarray, tmp_path: Path) -> None:
    """libtiff, inside Pillow, is another program's word for packing and predictors."""
    pixels = {
        "I;16": picture,
        "L": (picture // 8).astype(np.uint8),
        "RGB": np.random.default_rng(1).integers(0, 256, (45, 70, 3)).astype(np.uint8),
        "F": picture.astype(np.float32) / 7 - 30,
    }[mode]
    path = tmp_path / "a.tif"
    PillowImage.fromarray(pixels).save(path, **options)
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
        assert tags[259].value != 1
        assert (317 in tags) == ("tiffinfo" in options)
    assert np.array_equal(files.read(path).pixels, pixels)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("order", "<>")
def test_a_result_is_of_the_same_kind(
    photometric: str, order: str, picture: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.tif", picture, photometric=photometric, byteorder=order, compression="zlib")
    with tifffile.TiffFile(enlarged(path, fp32)) as file:
        (page,) = file.pages
        assert file.byteorder == order
        assert not file.is_bigtiff
        assert page.photometric.name.lower() == photometric
        assert page.compression == 1
        assert page.dtype == picture.dtype
        pixels = page.asarray()
        assert len(page.dataoffsets) == 1
    assert pixels.shape == (90, 140)
    assert picture.min() <= pixels.min() < pixels.max() <= picture.max()
    low, high = int(picture.min()), int(picture.max())
    seen = picture if photometric == "minisblack" else (low + high - picture).astype(np.uint16)
    expected = fp32(seen, value_range=(low, high)).astype(int)
    found = pixels.astype(int) if photometric == "minisblack" else low + high - pixels.astype(int)
    assert np.abs(found - expected).max() <= (photometric == "miniswhite")


def test_a_float_result_is_not_rounded(picture: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path) -> None:
    pixels = picture.astype(np.float32) / 4096
    result = tifffile.imread(enlarged(written(tmp_path / "a.tif", pixels), fp32))
    assert result.dtype == np.float32
    assert np.array_equal(result, np.clip(fp32(pixels), pixels.min(), pixels.max()))
    assert len(np.unique(result)) > 5000


def test_large_pages_are_written_in_strips(fp32: lightsr.Upscaler, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 999, (300, 400)).astype(np.uint16)
    with tifffile.TiffFile(enlarged(written(tmp_path / "a.tif", pixels), fp32)) as file:
        counts = file.pages[0].databytecounts
    assert len(counts) > 1
    assert max(counts) <= tiff.STRIP_BYTES
    assert sum(counts) == 4 * pixels.nbytes
    assert np.array_equal(tifffile.imread(tmp_path / "result.tif"), PillowImage.open(tmp_path / "result.tif"))


def test_pages_are_frames_on_one_scale(picture: np.ndarray, tmp_path: Path) -> None:
    int8 = lightsr.load("tiny", scale=2, precision="int8", threads=1)
    stack = np.stack([picture, picture, picture * 20])
    result = tifffile.imread(enlarged(written(tmp_path / "a.tif", stack), int8))
    assert result.shape == (3, 90, 140)
    assert np.array_equal(result[0], result[1])
    assert not np.array_equal(result[0], np.clip(int8(picture), picture.min(), picture.max()))


@pytest.mark.parametrize(
    ("unit", "stated", "expected"),
    [
        (2, (300, 150), (Fraction(600), Fraction(300))),
        (3, ((10, 3), (1, 7)), (Fraction(20, 3), Fraction(2, 7))),
        (1, ((1, 1), (2, 1)), (Fraction(2), Fraction(4))),
        (3, ((4294967295, 3), (4294967295, 4294967294)), None),
    ],
)
def test_a_picture_stays_as_large_as_it_was(
    unit: int, stated: Any, expected: Any, picture: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path
) -> None:
    """Pixels per unit grow as the pixels do, so the size on paper or in the patient is what it was."""
    path = written(tmp_path / "a.tif", picture, resolution=stated, resolutionunit=unit)
    with tifffile.TiffFile(enlarged(path, fp32)) as result, tifffile.TiffFile(path) as source:
        tags, before = result.pages[0].tags, source.pages[0].tags
        assert tags[296].value == unit
        for code, pixels, name in ((282, 256, "across"), (283, 257, "down")):
            found, was = Fraction(*tags[code].value), Fraction(*before[code].value)
            size, size_before = tags[pixels].value / found, before[pixels].value / was
            assert size == pytest.approx(size_before, rel=1e-9), name
        if expected:
            assert tuple(Fraction(*tags[code].value) for code in (282, 283)) == expected


def test_a_resolution_too_large_to_say_is_left_out(picture: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", picture, resolution=((4294967295, 1), (1, 1)), resolutionunit=2)
    with tifffile.TiffFile(enlarged(path, fp32)) as result:
        tags = result.pages[0].tags
        assert [tags[code].value for code in (282, 283, 296)] == [(1, 1), (1, 1), 1]


def test_texts_are_left_out(picture: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path) -> None:
    extra = [(code, 2, 0, SECRET, True) for code in (269, 285, 315, 316, 33432, 34377, 65000, 700)]
    texts = {"description": SECRET, "software": SECRET, "datetime": "1950:01:01 00:00:00", "extratags": extra}
    path = written(tmp_path / "a.tif", picture, **texts, iccprofile=SECRET.encode())
    assert path.read_bytes().count(SECRET.encode()) >= 8
    content = enlarged(path, fp32).read_bytes()
    assert SECRET.encode() not in content
    assert b"1950" not in content
    assert b"not for primary diagnosis" in content


def test_what_imagej_measures_stays_true(picture: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path) -> None:
    stack = np.stack([picture] * 4).reshape(2, 2, 1, 45, 70)
    metadata = {"spacing": 2.5, "unit": "um", "finterval": 0.1, "axes": "TZCYX", "Info": SECRET, "Labels": [SECRET] * 4}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, imagej=True, resolution=(4, 5), metadata=metadata)
    assert SECRET.encode("utf-16-be") in path.read_bytes() or SECRET.encode("utf-16-le") in path.read_bytes()
    result = enlarged(path, fp32)
    with tifffile.TiffFile(result) as file:
        assert file.is_imagej
        found = file.imagej_metadata
        assert found
        kept = {
            "images": 4,
            "slices": 2,
            "frames": 2,
            "hyperstack": True,
            "spacing": 2.5,
            "unit": "um",
            "finterval": 0.1,
        }
        assert {name: found[name] for name in kept} == kept
        assert file.series[0].shape == (2, 2, 90, 140)
        tags = file.pages[0].tags
        assert (Fraction(*tags[282].value), Fraction(*tags[283].value), tags[296].value) == (8, 10, 1)
    for encoding in ("ascii", "utf-16-be", "utf-16-le"):
        assert SECRET.encode(encoding) not in result.read_bytes()


def test_lines_of_imagej_that_could_be_anything_go(picture: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path) -> None:
    lines = [
        "ImageJ=1.53t",
        "images=1",
        "unit=Doe",
        "spacing=Jane",
        "min=-3.5",
        "c0=1E-4",
        "Jane=1",
        "vunit=Doe",
        "mode=Doe",
    ]
    path = written(tmp_path / "a.tif", picture, description="\n".join(lines) + "\n")
    with tifffile.TiffFile(enlarged(path, fp32)) as file:
        assert file.pages[0].description.split() == ["ImageJ=1.53t", "images=1", "min=-3.5", "c0=1E-4"]
    (tmp_path / "result.tif").unlink()
    path = written(tmp_path / "a.tif", picture, description="ImageJ=1.5Doe_Jane\nimages=1\n")
    with tifffile.TiffFile(enlarged(path, fp32)) as file:
        assert file.pages[0].description == ""


def test_a_missing_library_is_named(
    picture: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.tif", picture)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    outcome = enlarge_file(path, tmp_path / "b.tif", fp32)
    assert "pip install tifffile" in outcome.message
    assert (outcome.status, outcome.reason) == ("failed", "package")  # another try, once it is there, succeeds
    assert list(tmp_path.iterdir()) == [path]


def test_large_results_become_bigtiff(
    picture: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff, "MAX_CLASSIC_BYTES", 3 * 4 * picture.nbytes - 1)
    for count, big in ((2, False), (3, True)):
        with tifffile.TiffFile(enlarged(written(tmp_path / "a.tif", np.stack([picture] * count)), fp32)) as file:
            assert file.is_bigtiff == big
        (tmp_path / "result.tif").unlink()
    with tifffile.TiffFile(enlarged(written(tmp_path / "a.tif", picture, bigtiff=True), fp32)) as file:
        assert file.is_bigtiff

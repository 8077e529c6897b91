import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr import pngs, raster, signatures
from lightsr.errors import ImageError
from lightsr.image import Frames
from PIL import Image as PillowImage

from .broken.rasters import chunk, png_of, with_checksums
from .broken_files import mutations, refused


def png(depth: int, colour: int, size: tuple[int, int] = (4, 4)) -> bytes:
    """A PNG made by hand, since Pillow does not write every kind."""
    width, height = size
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = b"\0" + bytes(max(1, width * samples * depth // 8))

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(12)) if colour == 3 else b""
    return (
        raster.PNG_SIGNATURE
        + chunk(b"IHDR", header)
        + palette
        + chunk(b"IDAT", zlib.compress(row * min(height, 5000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("pixels", "photometric"),
    [
        (np.arange(12, dtype=np.uint8).reshape(3, 4), "MONOCHROME2"),
        (np.arange(0, 60000, 5000, dtype=np.uint16).reshape(3, 4), "MONOCHROME2"),
        (np.arange(36, dtype=np.uint8).reshape(3, 4, 3), "RGB"),
    ],
)
def test_values_survive(pixels: np.ndarray, photometric: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        raster.write_png(pixels, file, physical=(3937, 3937, 1))
    image = raster.read(path)
    assert image.pixels.dtype == pixels.dtype
    assert np.array_equal(image.pixels, pixels)
    assert image.photometric == photometric
    assert image.value_range == (0, np.iinfo(pixels.dtype).max)


@pytest.mark.parametrize(
    ("depth", "colour", "name"),
    [
        (16, 2, "16-bit RGB"),
        (16, 6, "16-bit RGB with alpha"),
        (16, 4, "16-bit grey with alpha"),
        (8, 6, "8-bit RGB with alpha"),
        (8, 3, "8-bit palette"),
        (1, 0, "1-bit grey"),
        (4, 0, "4-bit grey"),
    ],
)
def test_what_would_change_is_refused(depth: int, colour: int, name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(depth, colour))
    with pytest.raises(ImageError, match=name):
        raster.read(path)


def test_a_huge_header_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for size in ((60_000, 60_000), (12_000, 12_000)):
        path.write_bytes(png(8, 0, size))
        with pytest.raises(ImageError, match="million"):
            raster.read(path)


def test_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    PillowImage.fromarray(np.full((8, 9), 77, np.uint8)).save(path, format="JPEG")
    assert signatures.is_jpeg(path.read_bytes())
    assert raster.read(path).pixels == pytest.approx(77, abs=1)
    PillowImage.new("CMYK", (8, 8)).save(path, format="JPEG")
    with pytest.raises(ImageError, match="CMYK"):
        raster.read(path)


def test_pixels_that_end_early_are_not_taken_for_black(tmp_path: Path) -> None:
    """The compressed stream is whole, but holds 5 of 8 rows: Pillow would give the rest as zeros."""
    path = tmp_path / "a.png"
    row = b"\0" + bytes(range(1, 11))
    path.write_bytes(png_of(row * 8, size=(8, 10)))
    assert raster.read(path).pixels.tolist() == [list(range(1, 11))] * 8
    path.write_bytes(png_of(row * 5, size=(8, 10)))
    with pytest.raises(ImageError, match="pixels end early"):
        raster.read(path)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (9, 13)])
def test_interlaced_pictures_are_read_whole(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    passes = [(-(-(size[0] - t) // d), -(-(size[1] - s) // a)) for s, t, a, d in pngs.ADAM7]
    rows = b"".join(r * (b"\0" + b"\x07" * c) for r, c in passes if r > 0 and c > 0)
    path.write_bytes(png_of(rows, size=size, interlaced=1))
    assert (raster.read(path).pixels == 7).all()
    path.write_bytes(png_of(rows[:-1], size=size, interlaced=1))
    with pytest.raises(ImageError, match="pixels end early"):
        raster.read(path)


def test_transparency_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_of(b"\0\1\2" * 2, size=(2, 2), extra=chunk(b"tRNS", b"\0\1")))
    with pytest.raises(ImageError, match="transparent"):
        raster.read(path)


@pytest.mark.parametrize(
    ("stated", "written"),
    [((3, 2, 0), (3, 2, 0)), ((3000, 4000, 1), (6000, 8000, 1)), ((2**31 - 1, 9, 1), None), (None, None)],
)
def test_the_size_of_pixels_is_kept_true(
    stated: tuple[int, int, int] | None, written: tuple[int, int, int] | None, tmp_path: Path
) -> None:
    path, result = tmp_path / "a.png", tmp_path / "b.png"
    extra = chunk(b"pHYs", struct.pack(">IIB", *stated)) if stated else b""
    path.write_bytes(png_of(b"\0\1\2" * 2, size=(2, 2), extra=extra))
    with result.open("wb") as file:
        raster.write(Frames.of(raster.read(path)), [np.zeros((4, 4), np.uint8)], scale=2, producer=None, file=file)
    expected = chunk(b"pHYs", struct.pack(">IIB", *written)) if written else b""
    assert result.read_bytes().count(b"pHYs") == (written is not None)
    assert expected in result.read_bytes()
    assert raster.read(result).size == (4, 4)


def test_the_limit_of_pixels_is_the_one_that_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_of(b"", size=(10_001, 12_800)))
    with pytest.raises(ImageError, match=r"12800x10001 pixels; at most 128 million are allowed"):
        raster.read(path)


def test_resolution_grows_and_texts_are_left_out(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    path, result = tmp_path / "a.png", tmp_path / "b.png"
    texts = PngInfo()
    texts.add_text("Patient", "Doe^Jane")
    PillowImage.fromarray(np.zeros((4, 4), np.uint8)).save(path, pnginfo=texts, dpi=(150, 150))
    image = raster.read(path)
    with result.open("wb") as file:
        raster.write(Frames.of(image), [np.zeros((8, 8), np.uint8)], scale=2, producer=None, file=file)
    with PillowImage.open(result) as written:
        assert written.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert "Patient" not in written.info
    assert b"Doe" not in result.read_bytes()


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_damage_is_an_image_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("png") / "a.png"
    with path.open("wb") as file:
        raster.write_png(np.arange(600, dtype=np.uint16).reshape(20, 30), file)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(8, len(content) - 1))]
    else:
        content[data.draw(st.integers(8, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    try:
        raster.read(path)
    except ImageError as error:
        assert "\n" not in str(error)


def upright_exif() -> PillowImage.Exif:
    exif = PillowImage.Exif()
    exif[0x0112], exif[0x010E] = 1, "x" * 30
    return exif


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_damage_of_exif_and_jpeg_is_an_image_error(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    """A PNG's checksums are made right again, so that its EXIF is looked at."""
    path = tmp_path_factory.mktemp("raster") / "a"
    picture = PillowImage.fromarray(np.arange(400, dtype=np.uint8).reshape(16, 25))
    picture.save(path, format=kind, exif=upright_exif(), dpi=(300, 300))
    content = path.read_bytes()
    assert refused(path) is None
    changed = data.draw(mutations(content, begin=4))
    if kind == "PNG" and len(changed) == len(content):
        changed = with_checksums(changed)
    path.write_bytes(changed)
    refused(path)


@pytest.mark.parametrize(
    ("density", "unit", "expected"),
    [
        ((300, 150), 1, (11811, 5906, 1)),
        ((100, 50), 2, (10000, 5000, 1)),
        ((2, 1), 0, (2, 1, 0)),
        ((1, 1), 0, None),
        ((0, 0), 1, None),
    ],
)
def test_density_of_a_jpeg(
    density: tuple[int, int], unit: int, expected: tuple[int, int, int] | None, tmp_path: Path
) -> None:
    """JFIF header: mark, length, name, version, unit, densities."""
    PillowImage.new("L", (8, 8)).save(tmp_path / "a.jpg")
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    assert content[6:11] == b"JFIF\0"
    content[13:18] = struct.pack(">BHH", unit, *density)
    (tmp_path / "a.jpg").write_bytes(content)
    assert raster.read(tmp_path / "a.jpg").header["physical"] == expected

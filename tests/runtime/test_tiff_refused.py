"""TIFF that is refused: damaged, misleading, too large, or not understood."""

import io
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr import directories, files, segments
from lightsr.errors import ImageError
from PIL import Image as PillowImage

from .broken.tiffs import PAGE, a_tiff, deflated_bomb, many_pages
from .broken_files import cuts, mutations, refused
from .test_tiff import written


def test_the_page_of_these_tests_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(a_tiff(PAGE, bytes(range(24))))
    assert np.array_equal(files.read(tmp_path / "a").pixels, np.arange(24).reshape(4, 6))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({259: (3, [5])}, "LZW compression"),
        ({259: (3, [7])}, "JPEG compression"),
        ({259: (3, [77])}, "number 77 compression"),
        ({262: (3, [3])}, "palette colours"),
        ({262: (3, [6])}, "YCbCr colours"),
        ({262: (3, [9999])}, "number 9999 colours"),
        ({262: None}, "number -1 colours"),
        ({258: (3, [1])}, "1 bits in format 1"),
        ({258: (3, [12])}, "12 bits in format 1"),
        ({258: (3, [32])}, "32 bits in format 1"),
        ({258: (3, [64]), 339: (3, [3])}, "64 bits in format 3"),
        ({258: (3, [32]), 339: (3, [3]), 262: (3, [0])}, r"grey \(0 is white\) of 32 bits in format 3"),
        ({339: (3, [6])}, "8 bits in format 6"),
        ({277: (3, [2])}, "2 values a pixel"),
        ({277: (3, [4]), 262: (3, [2])}, "4 values a pixel"),
        ({338: (3, [1])}, "with transparency"),
        ({262: (3, [2]), 277: (3, [3]), 258: (3, [16, 16, 16])}, "RGB of 16 bits"),
        ({262: (3, [2]), 277: (3, [3]), 258: (3, [8, 8, 16])}, "RGB of 8/16 bits"),
        ({266: (3, [2])}, "fill order"),
        ({274: (3, [3])}, "orientation"),
        ({284: (3, [3])}, "planar configuration 3"),
        ({317: (3, [2])}, "predictor 2"),
        ({254: (4, [1])}, "reduced or masking"),
        ({254: (4, [4])}, "reduced or masking"),
        ({255: (3, [2])}, "reduced or masking"),
        ({330: (4, [8])}, "pyramid"),
        ({34412: (1, [1])}, "LSM"),
        ({32997: (4, [5])}, "a volume in one page"),
        ({257: (3, [0])}, "6x0 pixels"),
        ({256: None}, "0x4 pixels"),
        ({257: (4, [100_000_000])}, "million"),
        ({256: (3, [65535]), 257: (3, [65535])}, "million"),
        ({256: (3, [9000]), 257: (3, [9000]), 278: (3, [9000])}, "too short for its pixels"),
        ({256: (3, [9000]), 257: (3, [9000]), 278: (3, [9000]), 259: (3, [8])}, "too short for its pixels"),
        ({278: (3, [1])}, "its size needs 4 of each"),
        ({273: (4, [8, 8]), 279: (4, [24, 24])}, "its size needs 1 of each"),
        ({273: None}, "with 0 offsets and 1 lengths"),
        ({279: None}, "with 1 offsets and 0 lengths"),
        ({273: (4, [4_000_000_000])}, "outside the file"),
        ({279: (4, [4_000_000_000])}, "outside the file"),
        ({279: (4, [23])}, "too short for its pixels"),
        ({278: (3, [0])}, "strips of 6x0"),
        ({322: (3, [16]), 324: (4, [8]), 325: (4, [24])}, "tiles of 16x0"),
        ({322: (4, [2**31]), 323: (4, [2**31]), 324: (4, [8]), 325: (4, [24])}, "tiles of"),
        ({322: (4, [16]), 323: (4, [16]), 324: (4, [8]), 325: (4, [24])}, "too short for its pixels"),
        ({256: (5, [6, 1])}, "no whole numbers"),
        ({259: (3, [8])}, "damaged strip"),
        ({259: (3, [32773])}, "ends early"),
        ({305: (2, list(b"lightsr 0.1.0 AI super-resolution x2\0"))}, "result of lightsr already"),
        ({42113: (2, list(b"7\0"))}, "GDAL_NODATA\\) at row 1, column 1;"),
        ({42113: (2, list(b"Doe\0"))}, "GDAL_NODATA is no number"),
        ({270: (2, list(b"<?xml?><OME>Doe</OME>\0"))}, "an OME-TIFF"),
        ({270: (2, list(b"ImageJ=1\nimages=5\n\0"))}, "more pictures than pages"),
        ({270: (2, list(b'{"shape": [5, 4, 6]}\0'))}, "more pictures than pages"),
        ({270: (2, list(b'{"truncated": true, "shape": [5, 4, 6]}\0'))}, "more pictures than pages"),
    ],
)
def test_what_is_not_understood_is_refused(
    changes: dict[int, tuple[int, list[int]] | None], message: str, tmp_path: Path
) -> None:
    entries = {code: entry for code, entry in {**PAGE, **changes}.items() if entry}
    (tmp_path / "a").write_bytes(a_tiff(entries, bytes(range(24))))
    found = refused(tmp_path / "a")
    assert found
    assert re.search(message, found)
    assert "Doe" not in found


@pytest.mark.parametrize(
    "text",
    [
        b'{"shape": [4, 6]}',
        b'{"shape": [1, 4, 6]}',
        b'{"shape": ["a"]}',
        b'{"shape": 3}',
        b'{"shape": ' + b"[" * 50_000,
    ],
)
def test_descriptions_that_do_not_matter(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(a_tiff({**PAGE, 270: (2, list(text + b"\0"))}, bytes(range(24))))
    assert refused(tmp_path / "a") is None


@pytest.mark.parametrize(
    ("second", "tag"),
    [
        (np.zeros((45, 71), np.uint16), 256),
        (np.zeros((46, 70), np.uint16), 257),
        (np.zeros((45, 70), np.uint8), 258),
        (np.zeros((45, 70), np.int16), 339),
    ],
)
def test_pages_that_differ_are_refused(second: np.ndarray, tag: int, picture: np.ndarray, tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(picture, metadata=None, photometric="minisblack")
        writer.write(second, metadata=None, photometric="minisblack")
    assert f"page 2 differs from the first in tag {tag}" in (refused(tmp_path / "a.tif") or "")


def test_pyramids_and_truncated_series_are_refused(picture: np.ndarray, tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as writer:
        writer.write(picture, subifds=1)
        writer.write(picture[::2, ::2], subfiletype=1)
    assert "a pyramid" in (refused(tmp_path / "pyramid.tif") or "")
    tifffile.imwrite(tmp_path / "shaped.tif", np.stack([picture] * 3), truncate=True, photometric="minisblack")
    assert "more pictures than pages" in (refused(tmp_path / "shaped.tif") or "")
    tifffile.imwrite(tmp_path / "a.ome.tif", np.stack([picture] * 3), photometric="minisblack")
    assert "OME" in (refused(tmp_path / "a.ome.tif") or "")
    tifffile.imwrite(tmp_path / "whole.tif", np.stack([picture] * 3), photometric="minisblack")
    assert refused(tmp_path / "whole.tif") is None


def test_pages_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(a_tiff(PAGE, bytes(range(24)), following=8 + 24))
    assert "round in a circle" in (refused(tmp_path / "a") or "")


def test_missing_values_are_placed(tmp_path: Path) -> None:
    stack = np.ones((2, 8, 6), np.float32)
    stack[1, 5, 2] = np.inf
    with (
        pytest.raises(ImageError, match="infinity at row 5, column 2 of frame 1;"),
        files.opened(written(tmp_path / "a.tif", stack)) as frames,
    ):
        list(frames)


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"compression": "zlib", "predictor": True}], ids=str)
def test_a_file_that_ends_early_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30)).astype(np.uint8)
    if "predictor" in options:
        path = tmp_path / "a.tif"
        PillowImage.fromarray(pixels).save(path, compression="tiff_adobe_deflate", tiffinfo={317: 2})
    else:
        path = written(tmp_path / "a.tif", pixels, **options)
    for part in cuts(path.read_bytes(), end=300):
        path.write_bytes(part)
        assert refused(path), len(part)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda packed: packed, None),
        (lambda packed: packed[:-1], "ends early"),
        (lambda packed: packed[:-1] + b"x", "damaged strip"),
        (lambda packed: zlib.compress(bytes(range(23))), "ends early"),
        (lambda packed: zlib.compress(bytes(range(200))), None),
    ],
)
def test_a_deflated_strip_must_be_whole(change: Callable[[bytes], bytes], message: str | None, tmp_path: Path) -> None:
    """Its checksum too; more rows than are asked for do no harm."""
    packed = change(zlib.compress(bytes(range(24))))
    (tmp_path / "a").write_bytes(a_tiff({**PAGE, 259: (3, [8]), 279: (4, [len(packed)])}, packed))
    found = refused(tmp_path / "a")
    assert (found is None) if message is None else (found and message in found)
    if message is None:
        assert np.array_equal(files.read(tmp_path / "a").pixels, np.arange(24).reshape(4, 6))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory of Linux")
def test_bombs_cost_no_memory(tmp_path: Path) -> None:
    """One holds a readable picture at its begin: what is behind it is never made."""
    (tmp_path / "1.tif").write_bytes(deflated_bomb(400 << 20, (4, 6)))
    (tmp_path / "2.tif").write_bytes(deflated_bomb(1 << 20, (9000, 9000)))
    (tmp_path / "3.tif").write_bytes(deflated_bomb(1 << 20, (65535, 65535)))
    (tmp_path / "4.tif").write_bytes(many_pages(10, 150_000))
    (tmp_path / "5.tif").write_bytes(many_pages(10_001, 1))
    (tmp_path / "6.tif").write_bytes(many_pages(9_000, 1))
    code = (
        "import sys; from pathlib import Path; from lightsr import files, memory\n"
        "from lightsr.errors import ImageError\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        with files.opened(path) as frames: print('read', frames[0].size, frames.count, sep=',')\n"
        "    except ImageError as error:\n"
        "        print(str(error).replace(' ', '-'))\n"
        "print(memory.peak_mib())"
    )
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    *answers, peak = said.stdout.split("\n")[:-1]
    assert answers[0] == "read,(4, 6),1"
    assert "too-short" in answers[1]
    assert "million" in answers[2]
    assert "1,000,000-strips" in answers[3]
    assert "10,000-pages" in answers[4]
    assert answers[5] == "read,(1, 6),9000"
    assert float(peak) < 256


def examples() -> Iterator[bytes]:
    values = np.arange(4 * 6).reshape(4, 6)
    for bits, options in ((8, {}), (16, {"byteorder": ">"}), (16, {"bigtiff": True}), (8, {"compression": "zlib"})):
        file = io.BytesIO()
        tifffile.imwrite(file, values.astype(f"uint{bits}"), metadata=None, rowsperstrip=2, **options)
        yield file.getvalue()
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([values] * 2).astype(np.float32), tile=(16, 16), metadata=None)
    yield file.getvalue()
    yield a_tiff({**PAGE, 259: (3, [32773]), 279: (4, [26])}, b"\x09" + bytes(range(10)) + b"\x0d" + bytes(range(14)))


@pytest.mark.parametrize("content", list(examples()))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_an_image_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("tiff") / "a.tif"
    path.write_bytes(content)
    assert refused(path) is None
    path.write_bytes(data.draw(mutations(content)))
    refused(path)


def test_packed_bytes_end_where_they_should() -> None:
    assert segments.unpacked(b"\x80\x80\xff\x05", 2) == b"\x05\x05"
    assert segments.unpacked(b"\x81\x05", 10) == b"\x05" * 10
    assert segments.unpacked(b"\x7fabc", 10) == b"abc"
    assert segments.unpacked(b"", 10) == b""


def test_directories_know_every_type() -> None:
    assert set(directories.INTEGERS) <= set(directories.TYPE_BYTES)
    assert all(np.dtype(name).itemsize == directories.TYPE_BYTES[code] for code, name in directories.INTEGERS.items())

from pathlib import Path
from typing import Literal

import lightsr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from lightsr import files, npy
from lightsr.errors import ImageError
from lightsr.pipeline import enlarge_file

from .broken.npys import content_of, header
from .broken_files import cuts, mutations, refused


@pytest.fixture(scope="module")
def fp32() -> lightsr.Upscaler:
    return lightsr.load("tiny", scale=2, precision="fp32", threads=1)


def save(array: np.ndarray, path: Path, version: tuple[int, int] = (1, 0)) -> Path:
    path.write_bytes(content_of(array, version))
    return path


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("dtype", ["|u1", "|i1", "<u2", ">u2", "<i2", ">i2", "<f4", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_survive(version: tuple[int, int], dtype: str, order: str, tmp_path: Path) -> None:
    array = np.array(np.arange(35).reshape(5, 7) - 17 * (dtype[1] == "i"), dtype=dtype, order=order)  # type: ignore[call-overload]
    path = save(array, tmp_path / "a.bin", version)
    with files.opened(path) as frames:
        image = frames.only()
        assert np.array_equal(image.pixels, array)
        assert image.pixels.dtype == np.dtype(dtype).newbyteorder("=")
        assert image.value_range == (array.min(), array.max())
        assert (frames.band is None) == (order == "F")
        if frames.band:
            assert np.array_equal(frames.band(0, 2, 4), array[2:4])


@pytest.mark.parametrize("dtype", [">u2", "<f4", "|u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_result_is_of_the_same_type(
    dtype: str, order: str, picture: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path
) -> None:
    array = np.array(picture // (8 if dtype == "|u1" else 1), dtype=dtype, order=order)  # type: ignore[call-overload]
    outcome = enlarge_file(save(array, tmp_path / "a.npy"), tmp_path / "b.npy", fp32)
    assert outcome.status == "done", outcome.message
    result = np.load(tmp_path / "b.npy", allow_pickle=False)
    assert result.dtype == np.dtype(dtype)
    expected = fp32(np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("=")))
    assert np.array_equal(result, np.clip(expected, array.min(), array.max()))
    assert array.min() <= result.min() < result.max() <= array.max()


def test_colour(picture: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path) -> None:
    colour = np.stack([(picture // 8).astype(np.uint8)] * 3, axis=-1)
    assert enlarge_file(save(colour, tmp_path / "a.npy"), tmp_path / "b.npy", fp32).status == "done"
    assert np.load(tmp_path / "b.npy").shape == (90, 140, 3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4), np.int32), "type int32"),
        (np.zeros((4, 4), np.float64), "type float64"),
        (np.zeros((4, 4), bool), "type bool"),
        (np.zeros((4, 4), "U3"), "type str"),
        (np.zeros((4, 4), [("Doe", "u1")]), "type structure"),
        (np.full((4, 4), None), "type object"),
        (np.zeros((5, 4, 6), np.uint8), "3 axes"),
        (np.zeros((4, 6, 3), np.uint16), "3 axes"),
        (np.zeros(6, np.uint8), "1 axes"),
        (np.zeros((), np.uint8), "0 axes"),
        (np.zeros((0, 4), np.uint8), "4x0 pixels"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    found = refused(save(array, tmp_path / "a.npy"))
    assert found
    assert message in found
    assert "Doe" not in found


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (-np.inf, "infinity"), (2e30, "beyond 1e\\+30")])
def test_values_that_are_no_numbers_are_placed(value: float, name: str, tmp_path: Path) -> None:
    array = np.ones((6, 8), np.float32)
    array[4, 3] = value
    with pytest.raises(ImageError, match=f"{name} at row 4, column 3;"):
        files.read(save(array, tmp_path / "a.npy"))


@pytest.mark.parametrize(
    "content",
    [
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (65535, 65535)}\n") + b"1234",
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999, 9999999999999)}\n"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (-2, 4)}\n"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4)}\n") + b"1234",
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2)}\n") + b"12345",
        header("{'descr': '|u1', 'fortran_order': 3, 'shape': (2, 2)}\n") + b"1234",
        header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 2)}\n") + b"cos\nsystem\n(S'x'\ntR.",
        header("__import__('os').abort()\n") + b"1234",
        header("(" * 5000) + b"1234",
        header("{" + " " * 60_000 + "}") + b"1234",
        npy.NPY_MAGIC + b"\2\0\xff\xff\xff\xffabc",
        npy.NPY_MAGIC + b"\1\0\xff\xffabc",
        npy.NPY_MAGIC + b"\4\0\x10\0abc",
        npy.NPY_MAGIC,
    ],
)
def test_lies_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    assert refused(path)


def test_a_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    content = content_of(np.arange(12, dtype=np.uint16).reshape(3, 4))
    path = tmp_path / "a.npy"
    for part in cuts(content, end=len(content)):
        path.write_bytes(part)
        assert refused(path), len(part)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_is_an_image_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    dtype = data.draw(st.sampled_from(["<f4", ">u2", "|u1"]))
    path.write_bytes(data.draw(mutations(content_of(np.arange(20).reshape(4, 5).astype(dtype)), begin=6)))
    refused(path)


@settings(max_examples=150, deadline=None)
@given(
    array=arrays_of.arrays(
        dtype=arrays_of.scalar_dtypes()
        | st.sampled_from([np.dtype(name) for name in (">u2", "<i2", ">f4", "u1", "i1")]),
        shape=arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
    ),
    order=st.sampled_from(["C", "F"]),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
def test_any_array_is_read_as_it_is_or_refused(
    array: np.ndarray, order: Literal["C", "F"], version: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = save(np.array(array, order=order), tmp_path_factory.mktemp("npy") / "a.npy", version)
    if refused(path) is None:
        image = files.read(path)
        assert array.dtype.name in npy.stored.DTYPES
        assert np.array_equal(image.pixels, array)
        assert image.pixels.dtype == array.dtype.newbyteorder("=")
    else:
        colour = array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
        usual = array.ndim == 2 and array.dtype.name in npy.stored.DTYPES
        odd = array.dtype.kind == "f" and not (np.abs(array.astype(np.float64)) <= 1e30).all()
        assert array.size == 0 or odd or not (usual or colour)


def test_an_archive_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.zeros((3, 3), np.uint8))
    assert "a ZIP archive" in (refused(tmp_path / "a.npz") or "")

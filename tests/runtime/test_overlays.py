import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightsr import derive, files, geometry, overlays
from lightsr.errors import ImageError
from lightsr.options import DicomOptions
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from .dicom_files import PRODUCER, a_cine, a_dataset, a_region, save


def packed(bits: np.ndarray) -> bytes:
    content = np.packbits(bits.ravel(), bitorder="little").tobytes()
    return content + b"\0" * (len(content) % 2)


def with_plane(bits: np.ndarray, group: int = 0x6000, dataset: Dataset | None = None, **changes: Any) -> Dataset:
    """A data set with an overlay plane of (n, h, w) bits; `changes` are elements by name, None removes one."""
    dataset = a_dataset() if dataset is None else dataset
    elements = {
        "rows": (0x10, "US", bits.shape[1]),
        "columns": (0x11, "US", bits.shape[2]),
        "frames": (0x15, "IS", len(bits)),
        "type": (0x40, "CS", "R"),
        "origin": (0x50, "SS", [2, -3]),
        "allocated": (0x100, "US", 1),
        "position": (0x102, "US", 0),
        "area": (0x1301, "IS", int(bits.sum())),
        "mean": (0x1302, "DS", 3),
        "data": (0x3000, "OW", packed(bits)),
    }
    for name, (element, vr, value) in elements.items():
        value = changes.get(name, value)
        if value is not None:
            dataset.add_new(group << 16 | element, vr, value)
    return dataset


def some_bits(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 2, shape, dtype=np.uint8)


@given(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)), st.sampled_from([2, 3, 4, 8]))
def test_every_bit_is_repeated(shape: tuple[int, int, int], scale: int) -> None:
    bits = some_bits(*shape)
    found = overlays.repeated(packed(bits), shape, scale)
    assert found == packed(bits.repeat(scale, 1).repeat(scale, 2))


def test_a_drawing_covers_the_same_ground() -> None:
    bits = some_bits(1, 3, 5)
    dataset = with_plane(bits)
    geometry.enlarge(dataset, 3)
    assert (dataset[0x60000010].value, dataset[0x60000011].value) == (9, 15)
    for found, source in zip(dataset[0x60000050].value, (2, -3), strict=True):
        assert (found - 0.5) - 0.5 == 3 * ((source - 0.5) - 0.5)  # outer edges, from the picture's edge
    assert dataset[0x60001301].value == 9 * bits.sum()
    assert 0x60001302 not in dataset
    assert dataset[0x60003000].value == packed(bits.repeat(3, 1).repeat(3, 2))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_planes_survive_in_a_result(syntax: str, tmp_path: Path) -> None:
    """Read back by pydicom; a big-endian source has the bits in big-endian words."""
    first, second = some_bits(1, 5, 7), some_bits(1, 6, 8)
    dataset = with_plane(second, 0x601E, with_plane(first))
    if syntax == ExplicitVRBigEndian:
        for tag in (0x60003000, 0x601E3000, 0x7FE00010):
            dataset[tag].value = np.frombuffer(dataset[tag].value, "<u2").byteswap().tobytes()
    path = save(dataset, tmp_path / "a.dcm", syntax)
    result = result_of(path)
    assert np.array_equal(result.overlay_array(0x6000), first[0].repeat(2, 0).repeat(2, 1))
    assert np.array_equal(result.overlay_array(0x601E), second[0].repeat(2, 0).repeat(2, 1))


def result_of(path: Path, **options: Any) -> Any:
    buffer = io.BytesIO()
    with files.opened(path) as frames:
        pixels = [image.pixels.repeat(2, 0).repeat(2, 1) for image in frames]
        derive.write(frames, pixels, scale=2, producer=PRODUCER, options=DicomOptions(**options), file=buffer)
    buffer.seek(0)
    return pydicom.dcmread(buffer)


def test_a_real_overlay(samples: Path) -> None:
    source, result = (
        pydicom.dcmread(samples / "examples_overlay.dcm"),
        result_of(samples / "examples_overlay.dcm"),
    )
    assert np.array_equal(result.overlay_array(0x6000), source.overlay_array(0x6000).repeat(2, 0).repeat(2, 1))
    assert source.overlay_array(0x6000).any()
    assert list(result[0x60000050].value) == [1, 1]
    assert result[0x60000022].value == source[0x60000022].value


@pytest.mark.parametrize(
    ("group", "changes"), [(0x6000, {"allocated": 16, "position": 12}), (0x6002, {"data": None}), (0x6020, {})]
)
def test_what_is_no_plane_of_its_own_goes(group: int, changes: dict[str, Any]) -> None:
    dataset = with_plane(some_bits(1, 3, 5), group, with_plane(some_bits(1, 4, 4), 0x6004), **changes)
    geometry.enlarge(dataset, 2)
    assert {element.tag.group for element in dataset if element.tag.group >= 0x6000} == {0x6004, 0x7FE0}


@pytest.mark.parametrize(
    "changes",
    [
        {"data": b"\0"},
        {"data": bytes(4)},
        {"rows": 0},
        {"rows": 4},
        {"columns": None},
        {"frames": 0},
        {"frames": 2},
        {"origin": None},
        {"origin": [1, 1, 1]},
    ],
)
def test_a_damaged_plane_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match="overlay plane 6002 is damaged") as caught:
        geometry.enlarge(with_plane(some_bits(1, 3, 5), 0x6002, **changes), 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"origin": [1, 8193]}, {"origin": [-8192, 1]}])
def test_an_origin_that_dicom_cannot_hold_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match="overlay plane 6000 would become larger than allowed"):
        geometry.enlarge(with_plane(some_bits(1, 3, 5), **changes), 4)


def test_planes_too_large_are_refused() -> None:
    wide = with_plane(np.zeros((1, 1, 32768), np.uint8), origin=[1, 1])
    with pytest.raises(ImageError, match="larger than allowed: 65535 a side"):
        geometry.enlarge(wide, 2)
    many = with_plane(np.zeros((1, 1024, 1024), np.uint8), frames=9 * 8, data=bytes(9 * 2**20), origin=[1, 1])
    with pytest.raises(ImageError, match="16 MiB"):
        geometry.enlarge(many, 8)


def test_references_go_with_their_plane() -> None:
    region = a_region(0, 0, 7, 5, ActiveImageAreaOverlayGroup=0x6002)
    dataset = with_plane(some_bits(1, 3, 5), 0x6002, a_dataset(ShutterOverlayGroup=0x6000))
    dataset.SequenceOfUltrasoundRegions = [region]
    geometry.enlarge(dataset, 1)
    assert "ShutterOverlayGroup" not in dataset
    assert region.ActiveImageAreaOverlayGroup == 0x6002
    dataset.ShutterOverlayGroup, region.ActiveImageAreaOverlayGroup = 0x6002, 0x6000
    geometry.enlarge(dataset, 1)
    assert dataset.ShutterOverlayGroup == 0x6002
    assert "ActiveImageAreaOverlayGroup" not in region


def test_captures_of_several_frames_have_no_planes(tmp_path: Path) -> None:
    cine = with_plane(some_bits(1, 3, 5), dataset=a_cine(np.zeros((2, 6, 8), np.uint8)))
    path = save(cine, tmp_path / "a.dcm")
    assert 0x60003000 in result_of(path)
    assert 0x60003000 not in result_of(path, as_capture=True)
    path = save(with_plane(some_bits(1, 3, 5)), tmp_path / "b.dcm")
    assert 0x60003000 in result_of(path, as_capture=True)

import gzip
import itertools
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightsr
import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr import files, nifti, signatures
from lightsr.enlarging import enlarge
from lightsr.errors import ImageError
from lightsr.pipeline import enlarge_file

from .broken.volumes import bomb
from .broken_files import cuts, mutations, refused

NIBABEL_DATA = Path(nibabel.__file__).parent / "tests" / "data"

OBLIQUE = np.array([[-0.78, 0.31, 0.6, 12.5], [0.22, 0.9, -1.3, -47.25], [-0.4, -0.35, 2.6, 110.0], [0, 0, 0, 1]])
"""Voxels of about 0.9 x 1 x 3 mm in no plane of the body; sheared, which a qform cannot say."""

SECRET = "Doe^Jane"


@pytest.fixture(scope="module")
def fp32() -> lightsr.Upscaler:
    return lightsr.load("tiny", scale=2, precision="fp32", threads=1)


@pytest.fixture
def volume(picture: np.ndarray) -> np.ndarray:
    """(70, 45, 3) int16: columns, rows from below, slices."""
    return np.stack([picture[::-1].T + 50 * n for n in range(3)], axis=-1).astype(np.int16)


def an_image(volume: np.ndarray, *, version: int = 1, order: str = "<", affine: Any = OBLIQUE, **fields: Any) -> Any:
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    header = kind.header_class(endianness=order)
    header.set_data_dtype(volume.dtype.newbyteorder(order))
    image = kind(volume, affine, header=header)
    image.header.set_xyzt_units("mm", "sec")
    for name, value in fields.items():
        image.header[name] = value
    return image


def save(image: Any, path: Path) -> Path:
    nibabel.save(image, path)
    return path


def corners_mm(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Outer corners of the first and last voxels."""
    ends = [(-0.5, size - 0.5) for size in shape[:3]]
    return np.array([affine[:3] @ (*corner, 1) for corner in itertools.product(*ends)])


def enlarged(source: Path, upscaler: lightsr.Upscaler) -> Any:
    target = source.with_name("result" + "".join(source.suffixes))
    outcome = enlarge_file(source, target, upscaler)
    assert outcome.status == "done", outcome.message
    return nibabel.load(target)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_volume_keeps_its_place(
    version: int, order: str, suffix: str, volume: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path
) -> None:
    image = an_image(volume, version=version, order=order)
    source = nibabel.load(save(image, tmp_path / f"a{suffix}"))
    result = enlarged(tmp_path / f"a{suffix}", fp32)
    assert type(result) is type(source)
    assert result.header.endianness == order
    assert result.shape == (140, 90, 3)
    assert result.get_data_dtype() == source.get_data_dtype()
    for name in ("sform", "qform"):
        before, after = (getattr(i.header, f"get_{name}")(coded=True) for i in (source, result))
        assert after[1] == before[1]
        if before[1]:
            moved = corners_mm(before[0], source.shape) - corners_mm(after[0], result.shape)
            assert np.abs(moved).max() < 1e-4, name
    assert result.header.get_zooms() == pytest.approx(np.array(source.header.get_zooms()) / (2, 2, 1))
    assert result.header.get_xyzt_units() == ("mm", "sec")


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("codes", [(1, 0), (0, 2), (3, 4), (0, 0)])
def test_both_forms_keep_the_field_of_view(scale: int, codes: tuple[int, int], volume: np.ndarray) -> None:
    image = an_image(volume, affine=np.diag([-0.9, 1.1, 3, 1]))
    rotation = np.array([[0.8, -0.6, 0], [0.36, 0.48, -0.8], [0.48, 0.64, 0.6]]) * (0.9, 1.1, 3)
    turned = np.eye(4)
    turned[:3] = np.column_stack([rotation * (1, 1, -1), (12.5, -47.25, 110)])  # left-handed: qfac is -1
    image.set_qform(turned, code=codes[0])
    image.set_sform(OBLIQUE, code=codes[1])
    source = nifti.Header(image.header, 1, False)
    result = nifti.derived(source, scale=scale, producer=PRODUCER)
    assert (int(result["qform_code"]), int(result["sform_code"])) == codes
    larger = (volume.shape[0] * scale, volume.shape[1] * scale, 3)
    before, after = image.header.get_best_affine(), result.get_best_affine()
    assert np.abs(corners_mm(before, volume.shape) - corners_mm(after, larger)).max() < 1e-4
    if codes[0]:
        moved = corners_mm(turned, volume.shape) - corners_mm(result.get_qform(), larger)
        assert np.abs(moved).max() < 1e-4
    assert image.header["dim"].tolist()[1:4] == [70, 45, 3], "the source's header was changed"


class PRODUCER:
    version = "0.1.0"


@pytest.mark.parametrize("tile", [16, 256])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_slices_are_enlarged_as_they_are_seen(
    tile: int, suffix: str, volume: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path
) -> None:
    """Columns along the first axis, rows from the end of the second; all on one range, in one band or several."""
    path = save(an_image(volume), tmp_path / f"a{suffix}")
    result = np.asanyarray(enlarged(path, lightsr.Upscaler(fp32.model, tile=tile)).dataobj)
    with files.opened(path) as frames:
        assert (frames.count, frames.size) == (3, (45, 70))
        for number in range(3):
            assert np.array_equal(frames[number].pixels, volume[:, ::-1, number].T)
            seen = fp32(frames[number].pixels, value_range=(volume.min(), volume.max()))
            assert np.array_equal(result[:, ::-1, number].T, seen)
        if frames.band:
            assert np.array_equal(frames.band(1, 3, 9), frames[1].pixels[3:9])
        assert (frames.band is None) == (suffix == ".nii.gz")
    assert volume.min() <= result.min()
    assert result.max() <= volume.max()


def test_int8_has_one_scale_for_all_slices(volume: np.ndarray, tmp_path: Path) -> None:
    int8 = lightsr.load("tiny", scale=2, precision="int8", threads=1)
    path = save(an_image(np.stack([volume[..., 0]] * 2 + [volume[..., 0] * 20], axis=-1)), tmp_path / "a.nii")
    result = np.asanyarray(enlarged(path, int8).dataobj)
    with files.opened(path) as frames:
        alone = enlarge(frames[0], int8)
    assert np.array_equal(result[..., 0], result[..., 1])
    assert not np.array_equal(result[:, ::-1, 0].T, alone)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32"])
def test_types_and_four_dimensions(dtype: str, fp32: lightsr.Upscaler, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 100, (16, 12, 2, 3)).astype(dtype)
    result = enlarged(save(an_image(values), tmp_path / "a.nii.gz"), fp32)
    assert result.shape == (32, 24, 2, 3)
    assert result.get_data_dtype() == np.dtype(dtype)
    stored = np.asanyarray(result.dataobj)
    blurred = stored.reshape(16, 2, 12, 2, 2, 3).mean(axis=(1, 3))
    assert np.corrcoef(blurred.ravel(), values.ravel())[0, 1] > 0.95


def test_scaling_stays_and_texts_go(volume: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path) -> None:
    fields = {"scl_slope": 0.25, "scl_inter": -1024, "cal_max": 90, "cal_min": 5, "slice_code": 3, "slice_end": 2}
    texts = {"descrip": SECRET, "aux_file": SECRET, "db_name": SECRET, "data_type": SECRET, "intent_name": SECRET}
    image = an_image(volume, **texts, slice_duration=0.5, toffset=3, dim_info=0x39)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", SECRET.encode()))
    nibabel.save(image, tmp_path / "plain.nii")
    content = bytearray((tmp_path / "plain.nii").read_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    (tmp_path / "a.nii").write_bytes(header.binaryblock + content[348:])
    assert SECRET.encode() in (tmp_path / "a.nii").read_bytes()
    result = enlarged(tmp_path / "a.nii", fp32)
    raw = (tmp_path / "result.nii").read_bytes()
    assert SECRET.encode() not in raw
    written = nibabel.Nifti1Header(raw[:348], check=True)
    for name, value in {**fields, "slice_duration": 0.5, "toffset": 3, "dim_info": 0x39}.items():
        assert written[name] == value, name
    assert b"not for primary diagnosis" in raw[:348]
    assert len(raw) == 352 + result.dataobj.shape[0] * 90 * 3 * 2
    assert result.get_fdata()[0, 0, 0] == result.dataobj.get_unscaled()[0, 0, 0] * 0.25 - 1024


def test_a_compressed_result_names_no_file(volume: np.ndarray, fp32: lightsr.Upscaler, tmp_path: Path) -> None:
    enlarged(save(an_image(volume), tmp_path / "a.nii.gz"), fp32)
    raw = (tmp_path / "result.nii.gz").read_bytes()
    assert raw[:9] == b"\x1f\x8b\x08\0\0\0\0\0\x04" or raw[3:8] == bytes(5), "flags or time in the gzip header"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"intent_code": 1002}, "intent code 1002"),
        ({"intent_code": 3}, "intent code 3"),
        ({"datatype": 8}, "int32 values"),
        ({"datatype": 64}, "float64 values"),
        ({"datatype": 128}, "RGB24 values"),
        ({"datatype": 77}, "type 77 values"),
        ({"bitpix": 8}, "8 bits a voxel"),
        ({"dim": [1, 9, 1, 1, 1, 1, 1, 1]}, "of 1 dimensions"),
        ({"dim": [8, 9, 1, 1, 1, 1, 1, 1]}, "of 8 dimensions"),
        ({"dim": [5, 9, 9, 1, 1, 3, 1, 1]}, "a fifth holds vectors"),
        ({"dim": [3, 0, 9, 1, 1, 1, 1, 1]}, "an axis of 0"),
        ({"dim": [3, 9, -3, 1, 1, 1, 1, 1]}, "an axis of -3"),
        ({"dim": [2, 32767, 32767, 1, 1, 1, 1, 1]}, "million"),
        ({"dim": [4, 9000, 9000, 32767, 32767, 1, 1, 1]}, "ends before"),
        ({"dim": [3, 70, 45, 4, 1, 1, 1, 1]}, "ends before"),
        ({"dim": [3, 70, 45, 2, 1, 1, 1, 1]}, "behind its last value"),
        ({"vox_offset": 0}, "vox_offset"),
        ({"vox_offset": 352.5}, "vox_offset"),
        ({"vox_offset": float("nan")}, "vox_offset"),
        ({"vox_offset": float("inf")}, "vox_offset"),
        ({"vox_offset": 1e15}, "ends before"),
        ({"vox_offset": -1}, "vox_offset"),
        ({"dim_info": 0x10}, "slices lie along axis 1"),
        ({"dim_info": 0x20}, "slices lie along axis 2"),
        ({"pixdim": [1, 5, 0.9, 0.9, 1, 1, 1, 1]}, "slices lie along axis 1"),
        ({"pixdim": [1, 0.8, 1.1, 1.1, 1, 1, 1, 1]}, "slices lie along axis 2"),
        ({"pixdim": [1, float("nan"), 1, 1, 1, 1, 1, 1]}, "pixdim"),
        ({"pixdim": [1, -1, 1, 1, 1, 1, 1, 1]}, "pixdim"),
        ({"qform_code": 1, "quatern_b": 3}, "no rotation"),
        ({"qform_code": 1, "qoffset_x": float("inf")}, "NaN or infinity"),
        ({"sform_code": 1, "srow_x": [1, 0, float("nan"), 0]}, "NaN or infinity"),
        ({"sform_code": -1}, "sform_code -1"),
        ({"scl_slope": 2, "scl_inter": float("nan")}, "scl_inter is no number"),
        ({"scl_slope": -1, "scl_inter": 0}, "scl_slope below 0"),
        ({"descrip": b"lightsr 0.1.0 AI super-resolution x2"}, "result of lightsr already"),
        ({"sizeof_hdr": 349}, "sizeof_hdr"),
        ({"magic": b"ni1"}, "half of a pair"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_not_understood_is_refused(
    fields: dict[str, Any], message: str, packed: bool, volume: np.ndarray, tmp_path: Path
) -> None:
    content = save(an_image(volume), tmp_path / "a.nii").read_bytes()
    header = nibabel.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    broken = header.binaryblock + content[348:]
    path = tmp_path / "b.nii"
    path.write_bytes(gzip.compress(broken) if packed else broken)
    found = refused(path)
    assert found
    assert message in found


@pytest.mark.parametrize("pixdim", [(0.8, 1.1, 3), (0.9, 0.86, 0.86), (0, 0, 0), (1, 1, 0), (2, 0.1, 0)])
def test_voxels_that_say_nothing_about_slices(pixdim: tuple[float, ...], volume: np.ndarray, tmp_path: Path) -> None:
    image = an_image(volume)
    image.header["pixdim"][1:4] = pixdim
    (tmp_path / "a.nii").write_bytes(image.header.binaryblock + bytes(4) + volume.tobytes(order="F"))
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[108:112] = np.float32(352).tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    assert refused(tmp_path / "a.nii") is None


def test_missing_values_are_placed(tmp_path: Path) -> None:
    values = np.ones((8, 6, 3), np.float32)
    values[5, 1, 2] = np.nan
    with (
        pytest.raises(ImageError, match=r"NaN at voxel \(5, 1, 2\);"),
        files.opened(save(an_image(values), tmp_path / "a.nii")) as frames,
    ):
        list(frames)


def test_voxels_are_named_as_in_the_array(tmp_path: Path) -> None:
    values = np.ones((4, 5, 3, 2), np.float32)
    values[3, 1, 2, 1] = np.inf
    nibabel.save(an_image(values), tmp_path / "a.nii.gz")
    with files.opened(tmp_path / "a.nii.gz") as frames:
        for number in range(5):
            frames[number]
        with pytest.raises(ImageError, match=r"infinity at voxel \(3, 1, 2, 1\);"):
            frames[5]


def test_a_side_too_long_for_the_format(fp32: lightsr.Upscaler, tmp_path: Path) -> None:
    path = save(an_image(np.zeros((20_000, 2, 1), np.uint8)), tmp_path / "a.nii")
    outcome = enlarge_file(path, tmp_path / "b.nii", fp32)
    assert "NIfTI-1 holds at most 32,767" in outcome.message
    assert not (tmp_path / "b.nii").exists()


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_file_that_ends_early_is_refused(name: str, version: int, tmp_path: Path) -> None:
    values = np.random.default_rng(2).integers(0, 999, (9, 8, 2)).astype(np.int16)
    path = save(an_image(values, version=version), tmp_path / name)
    for part in cuts(path.read_bytes(), end=352 if version == 1 else 544):
        path.write_bytes(part)
        assert refused(path), len(part)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory of Linux")
def test_bombs_cost_no_memory(tmp_path: Path) -> None:
    (tmp_path / "longer.nii.gz").write_bytes(bomb((64, 64), 400 << 20))
    (tmp_path / "shorter.nii.gz").write_bytes(bomb((8000, 8000, 4000), 1 << 20))
    (tmp_path / "frame.nii.gz").write_bytes(bomb((32767, 32767), 1 << 20))
    code = (
        "import sys; from pathlib import Path; from lightsr import files, memory\n"
        "from lightsr.errors import ImageError\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        files.read(path)\n"
        "    except ImageError:\n"
        "        print('refused')\n"
        "print(memory.peak_mib())"
    )
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    *answers, peak = said.stdout.split()
    assert answers == ["refused"] * 3
    assert float(peak) < 256


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_is_an_image_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("nifti") / "a.nii"
    version = data.draw(st.sampled_from([1, 2]))
    values = np.arange(24).reshape(4, 3, 2).astype(data.draw(st.sampled_from(["<f4", "<i2"])))
    content = save(an_image(values, version=version), path).read_bytes()
    changed = data.draw(mutations(content))
    how = data.draw(st.sampled_from(["plain", "packed", "damaged"]))
    if how == "damaged":
        changed = data.draw(mutations(gzip.compress(content, mtime=0)))
    path.write_bytes(gzip.compress(changed) if how == "packed" else changed)
    refused(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_volume_is_read_as_it_is(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Of any shape, type, order and version, plain or gzipped."""
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=4)))
    dtype = data.draw(st.sampled_from(["uint8", "int8", "uint16", "int16", "float32"]))
    values = np.random.default_rng(shape[0]).integers(-99, 256, shape).astype(dtype)
    path = tmp_path_factory.mktemp("nifti") / data.draw(st.sampled_from(["a.nii", "a.nii.gz"]))
    affine = np.diag([0.8, 0.9, 2.0, 1.0])
    order, version = data.draw(st.sampled_from("<>")), data.draw(st.sampled_from([1, 2]))
    save(an_image(values, version=version, order=order, affine=affine), path)
    assert refused(path) is None
    with files.opened(path) as frames:
        found = np.stack([frame.pixels for frame in frames], axis=-1)
    assert np.array_equal(found, values.reshape(*shape[:2], -1, order="F")[:, ::-1].transpose(1, 0, 2))


@pytest.mark.parametrize("name", ["anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz"])
def test_files_of_nibabel(name: str, fp32: lightsr.Upscaler, tmp_path: Path) -> None:
    path = NIBABEL_DATA / name
    if not path.is_file():
        pytest.skip("nibabel without its test files")
    source = nibabel.load(path)
    with files.opened(path) as frames:
        stored = np.asanyarray(source.dataobj.get_unscaled())
        assert frames.count == np.prod(stored.shape[2:])
        assert np.array_equal(frames[1].pixels, stored.reshape(*stored.shape[:2], -1, order="F")[:, ::-1, 1].T)
    outcome = enlarge_file(path, tmp_path / name, fp32)
    assert outcome.status == "done"
    result = nibabel.load(tmp_path / name)
    moved = corners_mm(source.affine, source.shape) - corners_mm(result.affine, result.shape)
    assert np.abs(moved).max() < 1e-4
    blocks = np.asanyarray(result.dataobj).reshape(source.shape[0], 2, source.shape[1], 2, -1).mean(axis=(1, 3))
    assert np.corrcoef(blocks.ravel(), np.asanyarray(source.dataobj).reshape(blocks.shape).ravel())[0, 1] > 0.95


def test_a_missing_library_is_named(volume: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(an_image(volume), tmp_path / "a.nii")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImageError, match="pip install nibabel"):
        files.read(path)


def test_a_header_is_recognised_in_both_orders() -> None:
    for version, order in itertools.product((1, 2), "<>"):
        kind = nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header
        block = kind(endianness=order).binaryblock
        assert struct.unpack(f"{order}i", block[:4])[0] == signatures.NIFTI_BYTES[version]

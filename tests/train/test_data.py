import dataclasses
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from lightsr import raster
from lightsr.upscaler import IntensityMap
from lightsr_train import data
from lightsr_train.data import DataError
from lightsr_train.patches import PatchSampler
from numpy.typing import NDArray

from tests.runtime.dicom_files import a_mammogram, save


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        raster.write_png(pixels, file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CT of three patients and MR of two of them, told apart by folders."""
    random = np.random.default_rng(0)
    for modality, patients, top in (("CT", 3, 4000), ("MR", 2, 200)):
        for patient in range(patients):
            for number in range(2):
                pixels = random.integers(0, top, (50, 60)).astype(np.uint16)
                write(tmp_path / modality / f"p{patient}" / f"{number}.png", pixels)
    return tmp_path


def test_mammograms_are_learned_from(tmp_path: Path) -> None:
    """On the device they are read only where that was asked for."""
    pixels = np.random.default_rng(1).integers(0, 4096, (96, 96)).astype(np.uint16)
    save(a_mammogram(pixels), tmp_path / "a.dcm")
    (pair,) = data.load([tmp_path], 2, min_side_px=16).pairs
    assert np.array_equal(pair.high, pixels)
    assert pair.origin.modality == "MG"


def test_reads_a_folder(folder: Path) -> None:
    collection = data.load([folder], 2, min_side_px=16)
    assert len(collection.pairs) == 10
    assert {pair.origin.modality for pair in collection.pairs} == {"CT", "MR"}
    assert len({pair.origin.subject for pair in collection.pairs}) == 3
    for pair in collection.pairs:
        assert pair.high.shape == (50, 60)
        assert pair.low.shape == (25, 30)
        assert pair.error > 0


def test_unreadable_images_are_named_and_skipped(folder: Path) -> None:
    (folder / "CT" / "broken.png").write_bytes(raster.PNG_SIGNATURE + b"x" * 40)
    (folder / "CT" / "notes.bin").write_bytes(b"hello")
    (folder / "CT" / "empty.png").write_bytes(b"")
    write(folder / "CT" / "flat.png", np.full((64, 64), 9, np.uint8))
    write(folder / "CT" / "small.png", np.zeros((20, 64), np.uint8))
    collection = data.load([folder], 2, min_side_px=16)
    assert len(collection.pairs) == 10
    assert len(collection.skipped) == 5
    for name in ("broken.png", "notes.bin", "empty.png", "flat.png", "small.png"):
        assert sum(name in reason for reason in collection.skipped) == 1


def test_other_formats_train_as_well(tmp_path: Path) -> None:
    """Floating point and all; of several frames nothing says which to take, so they are named and left out."""
    random = np.random.default_rng(0)
    pixels = random.normal(0, 0.02, (3, 50, 60)).astype(np.float32)
    np.save(tmp_path / "a.npy", pixels[0])
    tifffile.imwrite(tmp_path / "b.tif", pixels[1])
    nibabel.save(nibabel.Nifti1Image(pixels[2].T[:, ::-1, None], np.eye(4)), tmp_path / "c.nii.gz")
    nibabel.save(nibabel.Nifti1Image(pixels.T, np.eye(4)), tmp_path / "volume.nii")
    collection = data.load([tmp_path], 2, min_side_px=16)
    assert [pair.path.name for pair in collection.pairs] == ["a.npy", "b.tif", "c.nii.gz"]
    for pair, expected in zip(collection.pairs, pixels, strict=True):
        assert pair.high.dtype == np.float32
        assert np.array_equal(pair.high, expected)
        assert pair.error > 0
    (skipped,) = collection.skipped
    assert "volume.nii: 3 frames" in skipped


def test_empty_or_missing_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image that can be used"):
        data.load([tmp_path], 2, min_side_px=16)
    with pytest.raises(DataError, match="no such folder"):
        data.load([tmp_path / "x"], 2, min_side_px=16)


def test_a_manifest_names_modality_patient_and_licence(folder: Path) -> None:
    lines = ["path,modality,source,patient_id,licence"]
    lines += [f"{p.relative_to(folder)},US,clinic,Doe,CC0" for p in sorted(folder.rglob("*.png"))]
    (folder / "manifest.csv").write_text("\n".join(lines))
    collection = data.load([folder / "CT"], 2, min_side_px=16)
    assert {(p.origin.modality, p.origin.source, p.origin.licence) for p in collection.pairs} == {
        ("US", "clinic", "CC0")
    }
    assert len({p.origin.subject for p in collection.pairs}) == 1
    assert "Doe" not in repr(collection)
    assert collection.sources == [{"modality": "US", "source": "clinic", "licence": "CC0", "images": 6}]


def test_no_patient_is_on_both_sides(folder: Path) -> None:
    pairs = data.load([folder], 2, min_side_px=16).pairs
    training, held_back = data.hold_back(pairs, 0.1)
    sides = [{pair.origin.subject for pair in side} for side in (training, held_back)]
    assert not sides[0] & sides[1]
    assert {pair.origin.modality for pair in held_back} == {"CT", "MR"}
    assert {pair.origin.modality for pair in training} == {"CT", "MR"}
    assert len(training) + len(held_back) == len(pairs)
    again = data.hold_back(reversed(pairs), 0.1)[1]
    assert {pair.path for pair in again} == {pair.path for pair in held_back}
    assert data.hold_back(pairs, 0.0)[1] == []


def test_no_modality_is_left_without_patients(folder: Path) -> None:
    """A patient of several modalities is held back in all of them."""
    everybody = data.load([folder], 2, min_side_px=16).pairs
    by_modality = {m: [p for p in everybody if p.origin.modality == m] for m in ("CT", "MR")}
    shared = [
        dataclasses.replace(pair, origin=dataclasses.replace(pair.origin, subject=f"s{i % 2}"))
        for modality in by_modality.values()
        for i, pair in enumerate(modality)
    ]
    for share in (0.1, 0.5, 0.9):
        training, held_back = data.hold_back(shared, share)
        assert {pair.origin.modality for pair in training} == {"CT", "MR"}
        assert not {p.origin.subject for p in training} & {p.origin.subject for p in held_back}
    # x alone has CT, y alone has US, both have MR: holding back each in its turn would empty MR
    chain = [
        dataclasses.replace(everybody[0], origin=dataclasses.replace(everybody[0].origin, subject=s, modality=m))
        for s, m in (("x", "CT"), ("z", "CT"), ("y", "US"), ("z", "US"), ("x", "MR"), ("y", "MR"))
    ]
    for share in (0.3, 0.6, 0.9):
        training, _ = data.hold_back(chain, share)
        assert {pair.origin.modality for pair in training} == {"CT", "MR", "US"}


def test_a_manifest_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "manifest.csv").write_bytes(b"path,source\nCT/p0/0.png,Universit\xe4t\n")
    with pytest.raises(DataError, match=r"manifest\.csv: no table in UTF-8"):
        data.load([folder], 2, min_side_px=16)


def test_patches_match_weigh_alike_and_repeat(folder: Path) -> None:
    from lightsr.resample import downsample

    pairs = data.load([folder], 2, min_side_px=16).pairs
    sampler = PatchSampler(pairs, scale=2, patch_px=16, batch=64, seed=3)
    low, high, weight = sampler.draw(5)
    assert low.shape == (64, 1, 16, 16)
    assert high.shape == (64, 1, 32, 32)
    assert np.array_equal(weight, np.ones((64, 1, 1, 1)))
    inner = slice(4, -4)
    for a, b in zip(low[:, 0], high[:, 0], strict=True):
        assert downsample(b, 2)[inner, inner] == pytest.approx(a[inner, inner], abs=0.05)
    spread = low.std(axis=(1, 2, 3))
    assert spread.max() < 2 * spread.min()
    again = PatchSampler(pairs, scale=2, patch_px=16, batch=64, seed=3).draw(5)
    assert np.array_equal(again.low, low)
    assert not np.array_equal(sampler.draw(6).low, low)


def test_patches_reach_over_the_edges_of_their_picture_as_on_the_device(folder: Path) -> None:
    (pair, *_) = data.load([folder], 2, min_side_px=16).pairs
    whole, high = np.pad(pair.low, 3, mode="edge"), np.pad(pair.high, 6, mode="edge")
    last = np.subtract(whole.shape, 16)
    seen = []
    for edge_share in (0.0, 0.9):
        sampler = PatchSampler(
            [pair], scale=2, patch_px=16, batch=64, seed=3, unit=True, margin_px=3, edge_share=edge_share
        )
        batch = sampler.draw(0)
        mapping = IntensityMap.of(pair.low)
        corners = []
        for low, sharp in zip(batch.low[:, 0], batch.high[:, 0], strict=True):
            top, left, turn = place(low * mapping.span + mapping.offset, whole)
            wanted = high[2 * top : 2 * top + 32, 2 * left : 2 * left + 32]
            assert turn(sharp * mapping.span + mapping.offset) == pytest.approx(wanted, abs=0.01)
            corners.append((top, left))
        edges = [
            edge
            for top, left in corners
            for edge in ((0, top == 0), (1, top == last[0]), (2, left == 0), (3, left == last[1]))
            if edge[1]
        ]
        seen.append(len(edges))
        assert edge_share == 0 or {number for number, _ in edges} == {0, 1, 2, 3}
    assert seen[0] == 0
    assert seen[1] > 50


def test_pictures_no_larger_than_a_patch_have_edges_too(folder: Path) -> None:
    (pair, *_) = data.load([folder], 2, min_side_px=16).pairs
    side = min(pair.low.shape)
    settings = {"scale": 2, "batch": 16, "seed": 3, "hard_share": {pair.origin.modality: 0.5}}
    batch = PatchSampler([pair], patch_px=side, margin_px=4, edge_share=0.9, **settings).draw(0)
    assert batch.low.shape == (16, 1, side, side)
    assert np.isfinite(batch.high).all()


Turn = Callable[[NDArray[Any]], NDArray[Any]]


def place(low: NDArray[np.float32], whole: NDArray[Any]) -> tuple[int, int, Turn]:
    """Where a patch was cut, and the turn that brings it back."""
    windows = np.lib.stride_tricks.sliding_window_view(whole, low.shape)
    turns: list[Turn] = [partial(lambda k, a: np.rot90(a, k), k) for k in range(4)]
    turns += [partial(lambda k, a: np.rot90(a.T, k), k) for k in range(4)]
    for turn in turns:
        difference = np.abs(windows - turn(low)).max(axis=(2, 3))
        top, left = np.unravel_index(difference.argmin(), difference.shape)
        if difference[top, left] < 0.01:
            return int(top), int(left), turn
    pytest.fail("a patch that is no part of its picture")


def test_unit_patches_are_the_same_mapped_as_their_whole_image_and_weighted_back(folder: Path) -> None:
    pairs = data.load([folder], 2, min_side_px=16).pairs
    settings = {"scale": 2, "patch_px": 16, "seed": 3}
    plain = PatchSampler(pairs, batch=64, **settings).draw(5)
    unit = PatchSampler(pairs, batch=64, unit=True, **settings).draw(5)
    differences = [batch.weight * (batch.high - batch.low.repeat(2, 2).repeat(2, 3)) for batch in (plain, unit)]
    assert differences[1] == pytest.approx(differences[0], abs=1e-4)
    for pair in pairs:
        batch = PatchSampler([pair], batch=4, unit=True, **settings).draw(0)
        mapping = IntensityMap.of(pair.low)
        assert batch.weight == pytest.approx(mapping.span / pair.error)
        windows = np.lib.stride_tricks.sliding_window_view(pair.low, (16, 16))
        for low in batch.low[:, 0] * mapping.span + mapping.offset:
            turns = [np.rot90(turned, k) for turned in (low, low.T) for k in range(4)]
            assert min(np.abs(windows - turned).max(axis=(2, 3)).min() for turned in turns) < 0.01


def test_a_modality_is_drawn_as_often_as_it_weighs(folder: Path) -> None:
    first, second, *_ = data.load([folder], 2, min_side_px=16).pairs
    pairs = [
        dataclasses.replace(pair, origin=dataclasses.replace(pair.origin, modality=modality))
        for pair, modality in ((first, "CT"), (second, "MR"))
    ]
    settings = {"scale": 2, "patch_px": 16, "batch": 1000, "seed": 3, "unit": True}
    mark = IntensityMap.of(second.low).span / second.error
    for weight, share in ((None, 1 / 2), ({"MR": 3.0}, 3 / 4), ({"CT": 3.0}, 1 / 4), ({"US": 9.0}, 1 / 2)):
        batch = PatchSampler(pairs, modality_weight=weight, **settings).draw(0)
        assert np.isclose(batch.weight.ravel(), mark).mean() == pytest.approx(share, abs=0.05)


def test_tables_and_hidden_files_are_no_images(folder: Path) -> None:
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / ".folder").mkdir()
    (folder / ".folder" / "a.png").write_bytes(b"x")
    (folder / "reader.csv").write_text("a,b")
    assert len(list(data.image_files(folder))) == 10


def test_real_images(medical_data: Path) -> None:
    collection = data.load([medical_data / "train" / "XR"], 2, min_side_px=48)
    assert len(collection.pairs) == 34
    assert {source["licence"] for source in collection.sources} == {"CC BY 4.0"}


def test_a_folder_of_a_patients_name_is_no_source(tmp_path: Path) -> None:
    """The source is published on the model's card."""
    for name in ("Doe_John_19500101", "Roe_Jane_19600101"):
        write(tmp_path / "hospital" / name / "series" / "0.png", np.arange(2500, dtype=np.uint16).reshape(50, 50))
    collection = data.load([tmp_path / "hospital"], 2, min_side_px=16)
    assert {source["source"] for source in collection.sources} == {"hospital"}
    assert len({pair.origin.subject for pair in collection.pairs}) == 2


def test_series_of_one_patient_stay_together(tmp_path: Path) -> None:
    pixels = np.arange(2500, dtype=np.uint16).reshape(50, 50)
    for name in ("p1/ser1", "p1/ser2", "p2/ser1", "CT/p1/ser3", "CT/p3"):
        write(tmp_path / "a" / name / "0.png", pixels)
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "copy")
    first = data.load([tmp_path / "a"], 2, min_side_px=16).pairs
    assert len({pair.origin.subject for pair in first}) == 3
    by_name = {str(pair.path.relative_to(tmp_path / "a")): pair.origin.subject for pair in first}
    assert by_name["p1/ser1/0.png"] == by_name["p1/ser2/0.png"] == by_name["CT/p1/ser3/0.png"]
    elsewhere = data.load([tmp_path / "b" / "copy"], 2, min_side_px=16).pairs
    assert [pair.origin.subject for pair in elsewhere] == [pair.origin.subject for pair in first]


def test_somebody_is_held_back_where_it_can_be(folder: Path) -> None:
    """b is, though c, who comes first, cannot be."""
    (pair, *_) = data.load([folder], 2, min_side_px=16).pairs
    by_name = {"c": next(s for s in ("c1", "c2", "c3", "c4", "c5") if data.digest(s) < data.digest("b"))}
    c = by_name["c"]
    pairs = [
        dataclasses.replace(pair, origin=dataclasses.replace(pair.origin, subject=s, modality=m))
        for s, m in ((c, "CT"), ("b", "CT"), (c, "MR"))
    ]
    _, held_back = data.hold_back(pairs, 0.1)
    assert {p.origin.subject for p in held_back} == {"b"}


def test_a_short_row_of_the_manifest_has_no_licence(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    write(tmp_path / "a.png", random.integers(0, 255, (50, 60)).astype(np.uint8))
    (tmp_path / "manifest.csv").write_text("path,modality,source,patient_id,licence\na.png,CT\n")
    (source,) = data.load([tmp_path], 2, min_side_px=16).sources
    assert (source["modality"], source["source"], source["licence"]) == ("CT", tmp_path.name, "")

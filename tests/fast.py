"""The tests to run at each change: `make test-fast`, that is `pytest -p tests.fast`.

What takes moments and needs no PyTorch. A test that takes long fails, so that none creeps in unnoticed: it is made
faster, or its name is put among those that are left out here, which `make test` runs.
"""

import contextlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

MOST_SECONDS = 2.0
"""Of a processor, for a test and for what is made for it; a busy processor takes twice as long as a quiet one."""

PLACES = (
    "runtime",
    "tests/runtime",
    "tests/train/test_data.py",
    "tests/train/test_degradation.py",
    "tests/train/test_oversampling.py",
    "tests/test_commands.py",
    "tests/test_fast.py",
    "tests/test_pages.py",
    "tests/test_troubleshooting_page.py",
)
"""Folders and files, from the project's; all others are not even imported."""

LONG = "takes long"
MEASURES = "measures processes"
PROCESSES = "starts a process for every case"

LEFT_OUT = {
    "test_attacks.py": MEASURES,
    "test_bands.py::test_bands_are_the_whole_picture": LONG,
    "test_bare.py::test_real_files_are_the_same_without_what_stands_in_front": LONG,
    "test_broken_inputs.py": MEASURES,
    "test_broken_places.py": PROCESSES,
    "test_budget.py::test_a_call_takes_no_more_than_its_limit_beside_the_arrays_of_the_caller": MEASURES,
    "test_budget.py::test_a_picture_larger_than_memory": MEASURES,
    "test_budget.py::test_every_bundled_model_keeps_within_the_least_memory_for_its_largest_tile": MEASURES,
    "test_budget.py::test_wide_bands_count": MEASURES,
    "test_capture.py::test_dciodvfy_finds_no_new_errors": PROCESSES,
    "test_cli_models.py::test_no_picture_without_a_model_that_passes": PROCESSES,
    "test_cli_models.py::test_what_is_made_by_fp32_instead_of_int8_says_so_once": PROCESSES,
    "test_cli_trouble.py::test_being_ended_leaves_no_half_file": PROCESSES,
    "test_cli_trouble.py::test_names_that_the_terminal_cannot_show": PROCESSES,
    "test_data.py::test_patches_reach_over_the_edges_of_their_picture_as_on_the_device": LONG,
    "test_data.py::test_real_images": LONG,
    "test_decoder.py::test_a_decoder_that_was_taken_over": PROCESSES,
    "test_decoder.py::test_damaged_frames_are_decoded_or_refused": PROCESSES,
    "test_decoder.py::test_jpeg_ls": PROCESSES,
    "test_decoder.py::test_native_files_need_no_child": PROCESSES,
    "test_demo.py::test_the_demonstration": LONG,
    "test_derive.py::test_an_independent_validator_finds_no_new_error": PROCESSES,
    "test_derive.py::test_what_was_lost_is_not_forgotten": PROCESSES,
    "test_encoding.py::test_the_memory_of_a_compressed_cine_is_that_of_a_frame": MEASURES,
    "test_ended_early.py": PROCESSES,
    "test_enlarging.py::test_regions_by_rows": LONG,
    "test_gate.py::test_cut_anywhere_a_file_is_refused": LONG,
    "test_gzips.py::test_what_would_take_hours_is_refused_at_once": LONG,
    "test_jobs.py": PROCESSES,
    "test_many.py": PROCESSES,
    "test_memory_limit.py": MEASURES,
    "test_model.py::test_onnxruntime_reports_nothing_to_its_maker": PROCESSES,
    "test_nifti.py::test_bombs_cost_no_memory": MEASURES,
    "test_nifti.py::test_damage_is_an_image_error": LONG,
    "test_npy.py::test_any_array_is_read_as_it_is_or_refused": LONG,
    "test_package.py::test_a_type_checker_sees_types_and_mistakes": LONG,
    "test_pipeline_frames.py::test_the_memory_of_a_cine_is_that_of_a_frame": MEASURES,
    "test_pipeline_frames.py::test_the_memory_of_functional_groups_is_that_of_one_frame": MEASURES,
    "test_privacy.py": PROCESSES,
    "test_raster.py::test_a_huge_header_is_refused_before_it_is_decoded": LONG,
    "test_raster.py::test_damage_of_exif_and_jpeg_is_an_image_error": LONG,
    "test_real_files.py": LONG,
    "test_selftest.py::test_another_process_knows": PROCESSES,
    "test_speed.py": MEASURES,
    "test_tiff_refused.py::test_bombs_cost_no_memory": MEASURES,
    "test_tiff_refused.py::test_damage_is_an_image_error": LONG,
    "test_upscaler.py::test_any_tile_and_any_larger_halo_give_the_whole": LONG,
    "test_upscaler.py::test_eight_threads_share_one_upscaler": LONG,
}
"""Files, or tests with all their parameters, of `PLACES` that do not run, and why."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Look at `PLACES` alone."""
    try:
        path = collection_path.relative_to(config.rootpath).as_posix()
    except ValueError:
        return None
    inside = any(f"{path}/".startswith(f"{place}/") or f"{place}/".startswith(f"{path}/") for place in PLACES)
    return True if not inside or collection_path.name in LEFT_OUT else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of `LEFT_OUT`."""
    left = [item for item in items if f"{item.path.name}::{item.name.partition('[')[0]}" in LEFT_OUT]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def used_seconds() -> float:
    """Of a processor, by this process and by those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail a test that takes longer."""
    before = used_seconds()
    yield
    if (taken := used_seconds() - before) > seconds:
        pytest.fail(
            f"takes {taken:.1f} s of a processor, which is too long for make test-fast: at most {seconds:g} s are "
            "allowed; make it faster, or name it in LEFT_OUT of tests/fast.py",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    """What is made for a test."""
    with at_most(MOST_SECONDS):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """The test itself."""
    with at_most(MOST_SECONDS):
        return (yield)

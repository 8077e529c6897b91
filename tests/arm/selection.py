"""Which of the runtime's tests run on an emulated processor: a plugin of pytest.

    python -m pytest -p tests.arm.selection tests/runtime

What does not run is skipped with its reason, from `EXCLUDED`; everything else runs, with few examples of each
property.
"""

from pathlib import Path

import hypothesis
import pytest

EXAMPLES = 3
"""Of each property: an example takes some twenty times as long."""

MEASURES = "measures memory or seconds of processes, which would be the emulator's"
LIMITS = "needs a limit of address space, which the emulator does not apply to what it emulates"
MINUTES = "would take minutes each on an emulated processor"
PAGE = "compares a page of the documentation with the source"

EXCLUDED = {
    "test_attacks.py": MEASURES,
    "test_broken_inputs.py": MEASURES,
    "test_broken_places.py": MEASURES,
    "test_budget.py::test_a_call_takes_no_more_than_its_limit_beside_the_arrays_of_the_caller": MEASURES,
    "test_budget.py::test_a_picture_larger_than_memory": MEASURES,
    "test_budget.py::test_every_bundled_model_keeps_within_the_least_memory_for_its_largest_tile": MEASURES,
    "test_budget.py::test_wide_bands_count": MEASURES,
    "test_cli_trouble.py::test_being_ended_leaves_no_half_file": MINUTES,
    "test_decoder.py::test_a_decoder_that_needs_too_much_memory": LIMITS,
    "test_decoder.py::test_a_decoder_that_was_taken_over": LIMITS,
    "test_decoder.py::test_damaged_frames_are_decoded_or_refused": MINUTES,
    "test_demo.py::test_the_demonstration": MINUTES,
    "test_dicom_page.py": PAGE,
    "test_encoding.py::test_the_memory_of_a_compressed_cine_is_that_of_a_frame": MEASURES,
    "test_architecture_page.py": PAGE,
    "test_formats_page.py": PAGE,
    "test_library_page.py": PAGE,
    "test_ended_early.py": MINUTES,
    "test_many.py": MINUTES,
    "test_memory_limit.py": MEASURES,
    "test_nifti.py::test_files_of_nibabel": MINUTES,
    "test_pipeline_frames.py::test_the_memory_of_a_cine_is_that_of_a_frame": MEASURES,
    "test_pipeline_frames.py::test_the_memory_of_functional_groups_is_that_of_one_frame": MEASURES,
    "test_privacy.py::test_nothing_is_said": MINUTES,
    "test_privacy.py::test_the_search_can_fail": MINUTES,
    "test_upscaler.py::test_eight_threads_share_one_upscaler": MINUTES,
}
"""Files, or tests with all their parameters, that do not run, and why."""

SHORT = (
    "test_cpus.py",
    "test_intensity.py",
    "test_machine.py",
    "test_model.py",
    "test_onnxfile.py",
    "test_processor.py",
    "test_resample.py",
    "test_selftest.py",
    "test_tiling.py",
)
"""What the short form runs."""


def _ask_for_few() -> None:
    initialise = hypothesis.settings.__init__

    def initialise_with_few(self: hypothesis.settings, *arguments: object, **chosen: object) -> None:
        if isinstance(chosen.get("max_examples"), int):
            chosen["max_examples"] = EXAMPLES
        initialise(self, *arguments, **chosen)  # type: ignore[arg-type]

    hypothesis.settings.__init__ = initialise_with_few  # type: ignore[method-assign]
    hypothesis.settings.register_profile(
        "emulated",
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("emulated")


def pytest_configure(config: pytest.Config) -> None:
    """Before tests say how many examples they want."""
    _ask_for_few()


def reason(path: Path, name: str) -> str | None:
    """Why a test does not run; None if it does.

    >>> reason(Path("tests/runtime/test_budget.py"), "test_wide_bands_count[grey]") == MEASURES
    True
    >>> reason(Path("tests/runtime/test_budget.py"), "test_sizes[1-1]")
    """
    return EXCLUDED.get(path.name) or EXCLUDED.get(f"{path.name}::{name.partition('[')[0]}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what does not run."""
    for item in items:
        if why := reason(item.path, item.name):
            item.add_marker(pytest.mark.skip(reason=f"on an emulated processor: {why}"))

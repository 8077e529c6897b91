"""The tables of what runs on an emulated processor name tests that exist."""

import re

import pytest

from tests.arm import selection
from tests.arm.__main__ import CHECKOUT

RUNTIME = CHECKOUT / "tests/runtime"


@pytest.mark.parametrize("entry", [*selection.EXCLUDED, *selection.SHORT])
def test_what_is_named_exists(entry: str) -> None:
    file, _, name = entry.partition("::")
    text = (RUNTIME / file).read_text(encoding="utf-8")
    assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE)


def test_the_short_form_runs_something() -> None:
    assert not {*selection.SHORT} & {*selection.EXCLUDED}


def test_excluded_tests_are_skipped_with_their_reason(pytestconfig: pytest.Config) -> None:
    assert selection.reason(RUNTIME / "test_attacks.py", "test_anything") == selection.MEASURES
    assert selection.reason(RUNTIME / "test_decoder.py", "test_a_decoder_that_was_taken_over[a]") == selection.LIMITS
    assert selection.reason(RUNTIME / "test_decoder.py", "test_native_files_need_no_child") is None

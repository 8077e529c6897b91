import ast
from pathlib import Path

import pytest

from .fast import LEFT_OUT, PLACES, at_most, used_seconds

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("place", PLACES)
def test_what_is_run_exists(place: str) -> None:
    assert (ROOT / place).exists()


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_exists(name: str) -> None:
    file, _, test = name.partition("::")
    places = [
        path for place in PLACES for path in ([ROOT / place] if place.endswith(".py") else (ROOT / place).iterdir())
    ]
    (path,) = [path for path in places if path.name == file]
    functions = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
    assert not test or test in functions


def test_a_test_that_takes_long_fails() -> None:
    with at_most(0.5):
        pass
    with pytest.raises(pytest.fail.Exception, match=r"takes 0\.\d s of a processor.*at most 0\.05 s are allowed"):  # noqa: SIM117
        with at_most(0.05):
            end = used_seconds() + 0.11
            while used_seconds() < end:
                pass

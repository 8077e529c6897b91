import pytest
from lightsr_bench import curves


def run(name: str, *points: tuple[str, int, float, float]) -> dict[str, object]:
    """A run from stage, step, seconds and gain of its validations, the same in two modalities but for 2 dB."""
    curve = [
        {"stage": stage, "step": step, "seconds": seconds, "gain_db": {"CT": gain + 1, "MR": gain - 1}}
        for stage, step, seconds, gain in points
    ]
    return {"name": name, "curve": curve}


FAST = run("fast", *(("x2", 10 * n, 3.0 * n, 1.0 + n / 10) for n in range(1, 11)))

SLOW = run("slow", ("x2", 50, 40.0, 1.0), ("x2", 100, 80.0, 2.5), ("x4", 50, 30.0, 2.25), ("x4", 100, 60.0, 3.0))


def test_steps_and_seconds_go_on_through_the_stages() -> None:
    assert curves.clock(SLOW["curve"]) == [  # type: ignore[arg-type]
        (40.0, 50, 1.0),
        (80.0, 100, 2.5),
        (110.0, 150, 2.25),
        (140.0, 200, 3.0),
    ]


def test_times_reach_from_the_shortest_training_to_the_longest() -> None:
    assert curves.marks([FAST, SLOW]) == [17.5, 35.0, 70.0, 140.0]
    assert curves.marks([FAST]) == [30.0]


def test_the_gain_is_that_of_the_last_validation_before() -> None:
    found = [curves.gain_at(SLOW["curve"], seconds) for seconds in (39, 40, 79, 80, 1000)]  # type: ignore[arg-type]
    assert found == [None, 1.0, 1.0, 2.5, 3.0]


def test_what_the_last_fifth_brought() -> None:
    assert curves.last_gain(FAST["curve"]) == pytest.approx(0.2)  # type: ignore[arg-type]
    assert curves.last_gain(SLOW["curve"]) == pytest.approx(0.75)  # type: ignore[arg-type]
    assert curves.last_gain(SLOW["curve"][:1]) is None  # type: ignore[index]
    assert curves.last_gain([]) is None


def test_the_table() -> None:
    text = curves.text([FAST, SLOW, run("untold")])
    assert "| network | 18 s | 35 s | 70 s | 140 s | last fifth of the steps |" in text
    assert "| fast | +1.50 | +2.00 | +2.00 | +2.00 | +0.20 |" in text
    assert "| slow |  |  | +1.00 | +3.00 | +0.75 |" in text
    assert "untold" not in text

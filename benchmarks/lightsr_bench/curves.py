"""How far networks have come after equal times of training.

Times are those that the training's process spent on processors: others who share the machine do not count.
"""

from collections.abc import Mapping, Sequence
from typing import Any

LAST_SHARE = 0.2
"""Share of the steps, at the end, whose gain tells whether a curve has flattened."""


def mean_gain(gain_db: Mapping[str, float]) -> float:
    """dB over bicubic interpolation, mean of the modalities."""
    return sum(gain_db.values()) / len(gain_db)


def clock(curve: Sequence[Mapping[str, Any]]) -> list[tuple[float, int, float]]:
    """Seconds, steps and gain of a run's validations, counted through its stages.

    Parameters
    ----------
    curve : sequence of mapping
        ``stage``, ``step``, ``seconds`` and ``gain_db`` of every validation; steps and seconds begin anew with a stage.
    """
    found: list[tuple[float, int, float]] = []
    stage, done, spent = "", 0, 0.0
    for point in curve:
        if point["stage"] != stage:
            stage = point["stage"]
            spent, done = (found[-1][0], found[-1][1]) if found else (0.0, 0)
        found.append((spent + point["seconds"], done + point["step"], mean_gain(point["gain_db"])))
    return found


def marks(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Seconds to compare at: the longest training and halves of it, down to the end of the shortest."""
    ends = [clock(row["curve"])[-1][0] for row in rows if row["curve"]]
    found = [max(ends)]
    while found[-1] > min(ends):
        found.append(found[-1] / 2)
    return found[::-1]


def gain_at(curve: Sequence[Mapping[str, Any]], seconds: float) -> float | None:
    """Gain at the last validation up to a time, None before the first."""
    reached = [gain for spent, _, gain in clock(curve) if spent <= seconds]
    return reached[-1] if reached else None


def last_gain(curve: Sequence[Mapping[str, Any]]) -> float | None:
    """What the last `LAST_SHARE` of the steps brought, dB; None where no validation lies before them."""
    points = clock(curve)
    before = [gain for _, step, gain in points if step <= (1 - LAST_SHARE) * points[-1][1]] if points else []
    return points[-1][2] - before[-1] if before else None


def text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Table of the gain after equal times, in Markdown; "" where nothing was validated."""
    rows = [row for row in rows if row["curve"]]
    if not rows:
        return ""
    columns = marks(rows)
    head = ["network", *(f"{seconds:,.0f} s" for seconds in columns), "last fifth of the steps"]
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    for row in rows:
        gains = [gain_at(row["curve"], seconds) for seconds in columns]
        cells = ["" if gain is None else f"{gain:+.2f}" for gain in (*gains, last_gain(row["curve"]))]
        lines.append(f"| {' | '.join((row['name'], *cells))} |")
    note = (
        "Held back, after equal times of training on processors, validations left out: dB over bicubic at the last "
        "validation up to then, or at the end where the steps were done before"
    )
    return "\n".join([*lines, "", note])

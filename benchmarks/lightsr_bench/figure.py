"""The figure: quality against latency and memory, with the Pareto front."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightsr_bench.compare import Comparison, DeviceRun, QualityRun, shown_ranges

COLOURS = {"lightsr": "#c0392b", "onnxruntime": "#2c6fa6", "opencv": "#4d7c3a"}
"""Of a network's kind; told apart by people who see red and green alike, and by the markers."""

MARKERS = {"lightsr": "D", "onnxruntime": "o", "opencv": "s"}

KINDS = {"lightsr": "lightsr", "onnxruntime": "published, onnxruntime", "opencv": "published, OpenCV dnn"}


@dataclass(frozen=True)
class Point:
    """A network in a panel.

    Parameters
    ----------
    name : str
    kind : {"lightsr", "onnxruntime", "opencv"}
    cost : float
        Milliseconds or MiB.
    psnr_db : float
    """

    name: str
    kind: str
    cost: float
    psnr_db: float


def pareto(points: Sequence[Point]) -> list[Point]:
    """Points that no cheaper one equals or beats, by rising cost.

    >>> [p.name for p in pareto([Point("a", "", 2, 30), Point("b", "", 1, 31), Point("c", "", 3, 32)])]
    ['b', 'c']
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.psnr_db)):
        if not front or point.psnr_db > front[-1].psnr_db:
            front.append(point)
    return front


def points(comparison: Comparison, device: DeviceRun, run: QualityRun, data_range: str, cost: str) -> list[Point]:
    """Networks of a quality run that were also measured on a device, by "ms_per_mpx" or "peak_mib"."""
    lightsr_names = {row.network for row in device.report.rows if row.engine == "lightsr"}
    found = []
    for summary in run.summaries:
        row = device.row(summary.method, comparison.size_px, comparison.threads)
        if summary.group == data_range and row:
            kind = "lightsr" if row.network in lightsr_names else row.engine
            found.append(Point(summary.method, kind, getattr(row, cost), summary.psnr_db))
    return found


def draw(comparison: Comparison) -> bytes | None:
    """Draw the first quality run against the first device, a column for each data range.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    bytes or None
        PNG; None where no network has both.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if not comparison.devices or not comparison.qualities:
        return None
    device, run = comparison.devices[0], comparison.qualities[0]
    data_ranges = shown_ranges(run)
    rows = (("ms_per_mpx", "ms per output megapixel"), ("peak_mib", "peak resident set, MiB"))
    size = (4.2 * len(data_ranges), 8.4)
    figure, axes = pyplot.subplots(len(rows), len(data_ranges), figsize=size, squeeze=False, sharey="col")
    drawn = 0
    for panels, (cost, label) in zip(axes, rows, strict=True):
        for panel, data_range in zip(panels, data_ranges, strict=True):
            found = points(comparison, device, run, data_range, cost)
            drawn += len(found)
            _panel(panel, found, data_range, label)
            bicubic = run.gain(data_range, "bicubic")
            if bicubic:
                panel.axhline(bicubic.psnr_db, color="0.5", linestyle=":", linewidth=1)
                panel.annotate("bicubic", (0.99, bicubic.psnr_db), xycoords=("axes fraction", "data"), ha="right",
                               va="bottom", fontsize=7, color="0.4")  # fmt: skip
    if not drawn:
        pyplot.close(figure)
        return None
    axes[0][0].legend(fontsize=7, loc="lower right")
    place = f"{comparison.size_px}x{comparison.size_px}, threads: {comparison.threads}"
    figure.suptitle(f"x{run.scale}, {run.degradation}, {device.report.target.label}, {place}", fontsize=11)
    figure.tight_layout()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    return file.getvalue()


def _name_points(panel: Any, found: Sequence[Point], front: Sequence[Point]) -> None:
    """Write names to the inside, lightsr's and the front's first, and leave out those that would lie on another."""
    if not found:
        return
    middle = math.sqrt(min(p.cost for p in found) * max(p.cost for p in found))
    panel.figure.canvas.draw()
    taken: list[Any] = []
    for point in sorted(found, key=lambda p: (p.kind != "lightsr", p not in front, -p.psnr_db)):
        right = point.cost > middle
        for above in (3, -9):
            name = panel.annotate(
                point.name,
                (point.cost, point.psnr_db),
                xytext=(-5 if right else 5, above),
                textcoords="offset points",
                ha="right" if right else "left",
                fontsize=6,
            )
            place = name.get_window_extent()
            if not any(place.overlaps(other) for other in taken):
                taken.append(place)
                break
            name.remove()


def _panel(panel: Any, found: Sequence[Point], data_range: str, label: str) -> None:
    from matplotlib import ticker

    for kind, colour in COLOURS.items():
        members = [point for point in found if point.kind == kind]
        if members:
            xs, ys = [point.cost for point in members], [point.psnr_db for point in members]
            panel.scatter(xs, ys, c=colour, marker=MARKERS[kind], s=30, label=KINDS[kind], zorder=3)
    front = pareto(found)
    panel.plot([p.cost for p in front], [p.psnr_db for p in front], color="0.3", linewidth=1, zorder=2)
    panel.set_xscale("log")
    panel.margins(x=0.12, y=0.08)
    _name_points(panel, found, front)
    panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_minor_locator(ticker.NullLocator())
    panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set_xlabel(label, fontsize=8)
    panel.set_ylabel("PSNR, dB", fontsize=8)
    panel.set_title(data_range, fontsize=10)
    panel.tick_params(labelsize=7)
    panel.grid(True, which="both", linewidth=0.3)

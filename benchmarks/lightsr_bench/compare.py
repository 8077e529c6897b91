"""Results of several targets and models beside each other: Markdown tables and a figure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightsr_train.degradation import DESCRIPTIONS

from lightsr_bench import device_report, documents, emulation, quality, quality_report, weights
from lightsr_bench.costs import Costs
from lightsr_bench.device import Row
from lightsr_bench.device_report import Report
from lightsr_bench.documents import DocumentError
from lightsr_bench.quality import Summary

SHOWN_RANGES = ("CT soft tissue", "MR", "US", "XR")
"""Data ranges that the main table and the figure show, if there are results in them."""

PREFERRED_SIZE_PX, PREFERRED_THREADS = 256, 1
"""Where the main table and the figure take latency from, if it was measured there."""


@dataclass(frozen=True)
class QualityRun:
    """Quality results of one protocol.

    Parameters
    ----------
    path : Path
    command : str
    scale : int
    degradation : str
    protocol : dict
    summaries : tuple of Summary
        By data range.
    by_source : tuple of Summary
        Of lightsr's own networks.
    files : dict of str
        sha256 of every network's file, by name.
    failures : tuple of str
    interrupted : bool
    """

    path: Path
    command: str
    scale: int
    degradation: str
    protocol: dict[str, Any]
    summaries: tuple[Summary, ...]
    by_source: tuple[Summary, ...]
    files: dict[str, str]
    failures: tuple[str, ...]
    interrupted: bool

    def gain(self, data_range: str, method: str) -> Summary | None:
        """Summary of a method in a data range."""
        return next((s for s in self.summaries if (s.group, s.method) == (data_range, method)), None)


@dataclass(frozen=True)
class DeviceRun:
    """Latency and memory on one target.

    Parameters
    ----------
    path : Path
    command : str
    report : Report
    former : tuple of str
        Networks that were measured with other weights than elsewhere.
    """

    path: Path
    command: str
    report: Report
    former: tuple[str, ...] = ()

    def row(self, network: str, size_px: int, threads: int, engine: str | None = None) -> Row | None:
        """Row of a network, in a plain session or OpenCV unless an engine is named."""
        for row in self.report.rows:
            if (row.network, row.size_px, row.threads) == (network, size_px, threads) and not row.error:
                if engine is None and row.engine == "lightsr":
                    continue
                if engine in (None, row.engine):
                    return row
        return None


@dataclass(frozen=True)
class Comparison:
    """Results that may stand beside each other.

    Parameters
    ----------
    devices : tuple of DeviceRun
    qualities : tuple of QualityRun
    emulations : tuple of dict
        Documents of emulated targets.
    size_px, threads : int
        Where every target was measured, for the main table.
    """

    devices: tuple[DeviceRun, ...]
    qualities: tuple[QualityRun, ...]
    emulations: tuple[dict[str, Any], ...]
    size_px: int
    threads: int


def load(paths: Sequence[Path]) -> Comparison:
    """Read result files and check that they may be compared.

    Raises
    ------
    DocumentError
        A file is no result, or two of them differ in what must be equal: the pictures and
        the protocol of quality, the network behind a name (see `weights.former`), a place where all
        targets were measured. Also two runs of one target, which did not take turns.
    """
    devices: list[DeviceRun] = []
    qualities: list[QualityRun] = []
    emulations: list[dict[str, Any]] = []
    for path in paths:
        content = documents.read(path)
        try:
            if content["kind"] == "device":
                devices.append(DeviceRun(path, content["command"], device_report.from_document(content)))
            elif content["kind"] == "quality":
                qualities.append(_quality_run(path, content))
            elif content["kind"] == "emulation":
                emulations.append(content)
            else:
                raise DocumentError(
                    f"{path}: results of {content['kind']} stand alone; device and quality are compared"
                )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DocumentError(f"{path}: incomplete ({type(error).__name__}: {error}); measure again") from error
    order = {str(degradation): i for i, degradation in enumerate(DESCRIPTIONS)}
    qualities.sort(key=lambda run: (run.scale, order.get(run.degradation, len(order))))
    _check_targets(devices)
    former = weights.former(
        [(run.path, run.report.costs) for run in devices], [(run.path, run.files) for run in qualities]
    )
    devices = [replace(run, former=tuple(names)) for run, names in zip(devices, former, strict=True)]
    _check_protocols(qualities)
    size_px, threads = _common_place(devices)
    return Comparison(tuple(devices), tuple(qualities), tuple(emulations), size_px, threads)


def _quality_run(path: Path, content: dict[str, Any]) -> QualityRun:
    scores = quality_report.from_document(content)
    protocol = content["protocol"]
    own = {network["name"] for network in content["networks"] if network["engine"] == "lightsr"}
    return QualityRun(
        path,
        content["command"],
        protocol["scale"],
        protocol["degradation"],
        protocol,
        tuple(quality.summarise(scores)),
        tuple(quality.summarise([score for score in scores if score.method in own], by_source=True)),
        {network["name"]: network["sha256"] for network in content["networks"]},
        tuple(f"{name}: {reason}" for name, reason in content["failures"].items()),
        content["interrupted"],
    )


def _check_targets(devices: Sequence[DeviceRun]) -> None:
    for i, run in enumerate(devices):
        for other in devices[:i]:
            if run.report.target.label == other.report.target.label:
                raise DocumentError(
                    f"{other.path} and {run.path}: both of {run.report.target.label}; networks of one target are "
                    "compared within one run, in which they take turns; measure them together"
                )


def _check_protocols(qualities: Sequence[QualityRun]) -> None:
    """All runs are of the same pictures under the same rules; scale and degradation make tables of their own."""
    seen: dict[tuple[int, str], QualityRun] = {}
    for run in qualities:
        first = qualities[0]
        free = {"scale", "degradation", "border_px"}
        differing = sorted(
            key for key in {*run.protocol, *first.protocol} - free if run.protocol.get(key) != first.protocol.get(key)
        )
        if differing:
            raise DocumentError(f"{first.path} and {run.path}: differ in {', '.join(differing)}; not comparable")
        twin = seen.setdefault((run.scale, run.degradation), run)
        if twin is not run:
            raise DocumentError(
                f"{twin.path} and {run.path}: both x{run.scale} with degradation {run.degradation}; "
                "measure the networks together"
            )


def _common_place(devices: Sequence[DeviceRun]) -> tuple[int, int]:
    places = [{(row.size_px, row.threads) for row in run.report.rows if not row.error} for run in devices]
    if not places:
        return PREFERRED_SIZE_PX, PREFERRED_THREADS
    common = set.intersection(*places)
    if not common:
        names = " and ".join(str(run.path) for run in devices)
        raise DocumentError(f"{names}: no size and number of threads that all were measured at; not comparable")
    return min(common, key=lambda place: (abs(place[0] - PREFERRED_SIZE_PX), abs(place[1] - PREFERRED_THREADS)))


def markdown(comparison: Comparison, *, figure: str = "") -> str:
    """The page.

    Parameters
    ----------
    comparison : Comparison
    figure : str
        Address of the figure, from the page.

    Returns
    -------
    str
    """
    parts = [_introduction(comparison), _targets(comparison)]
    if figure and comparison.devices and comparison.qualities:
        parts.append(
            "## Latency, memory and quality\n\n"
            f"![PSNR against latency and memory]({figure})\n\n"
            "Lines are the Pareto fronts: nothing to the left of them is as good."
        )
    firsts = {run.scale: run for run in reversed(comparison.qualities)}  # latency is the same for every degradation
    parts += [_main_table(comparison, run) for _, run in sorted(firsts.items()) if comparison.devices]
    parts += [_quality_section(run) for run in comparison.qualities]
    parts += [_device_section(run) for run in comparison.devices]
    parts += [emulation.section(content) for content in comparison.emulations]
    return "\n\n".join(parts) + "\n"


def _introduction(comparison: Comparison) -> str:
    commands = [run.command for run in comparison.qualities] + [run.command for run in comparison.devices]
    commands += [content["command"] for content in comparison.emulations]
    lines = "\n".join(f"    {command}" for command in commands)
    return (
        "# Benchmarks\n\n"
        "Made by `lightsr-bench compare` from the results of these commands; nothing on this page is written by "
        f"hand.\n\n{lines}\n\n"
        "`$LIGHTSR_DATA` is a folder of medical images, of which `eval` was never trained, calibrated or selected on, "
        "and `$LIGHTSR_PEERS` a folder of published networks; without them, give any folder of PNG, JPEG or DICOM "
        "images and any `.onnx` files. The low-resolution pictures are made from the images by the degradation that is "
        "named; how a real scanner of lower resolution would fare is not measured."
    )


def _targets(comparison: Comparison) -> str:
    if not comparison.devices:
        return ""
    parts = ["## Targets"]
    for run in comparison.devices:
        parts.append(f"**{run.report.target.label}**\n\n" + "\n".join(device_report.target_lines(run.report.target)))
        if warning := device_report.busy_warning(run.report):
            parts.append(f"Note: {warning}.")
        if run.former:
            parts.append(
                f"Measured with other weights of the same networks, which take the same time: {', '.join(run.former)}."
            )
    return "\n\n".join(parts)


def _names(run: QualityRun) -> list[str]:
    return list(dict.fromkeys(summary.method for summary in run.summaries))


def shown_ranges(run: QualityRun) -> list[str]:
    """Data ranges of a run that the main table and the figure show."""
    found = list(dict.fromkeys(summary.group for summary in run.summaries))
    return [name for name in SHOWN_RANGES if name in found] or found


def _main_table(comparison: Comparison, run: QualityRun) -> str:
    """Quality, latency and memory side by side, for one scale and degradation."""
    names = _names(run)
    known = _costs(comparison.devices)
    timed_only = [name for name, costs in known.items() if costs.scale == run.scale and name not in names]
    return (
        f"## x{run.scale}, {run.degradation}: side by side\n\n"
        f"dB are PSNR over bicubic interpolation, mean of {run.protocol['images']} images by modality; latency and "
        f"peak memory at {comparison.size_px}x{comparison.size_px} input pixels with {comparison.threads} "
        f"thread{'s' if comparison.threads > 1 else ''}, the whole picture in one run.\n\n"
        + _side_by_side(comparison, run, [*names, *timed_only], comparison.devices)
    )


def extract(comparison: Comparison, scale: int, networks: Sequence[str]) -> str:
    """Some networks side by side, on the target that knows most of them, under the first degradation measured.

    Parameters
    ----------
    comparison : Comparison
    scale : int
    networks : sequence of str
        Networks and interpolations, in the order of the table.

    Returns
    -------
    str
        A Markdown table.

    Raises
    ------
    DocumentError
        No quality was measured at that scale, or not of one of the networks.
    """
    run = next((run for run in comparison.qualities if run.scale == scale), None)
    if run is None:
        raise DocumentError(f"no file given has quality at x{scale}; give one, or take the table out of the page")
    if unknown := [name for name in networks if name not in _names(run)]:
        raise DocumentError(f"{run.path}: has no results of {', '.join(unknown)}; it has {', '.join(_names(run))}")
    devices = sorted(comparison.devices, key=lambda device: len(set(networks) & device.report.costs.keys()))[-1:]
    return _side_by_side(comparison, run, networks, devices)


def _costs(devices: Sequence[DeviceRun]) -> dict[str, Costs]:
    return {name: costs for device in devices for name, costs in device.report.costs.items()}


def _side_by_side(comparison: Comparison, run: QualityRun, names: Sequence[str], devices: Sequence[DeviceRun]) -> str:
    """A row for each name: costs, latency and memory on each device, gains over bicubic interpolation."""
    ranges = shown_ranges(run)
    header = ["network", "parameters", "MAC per output px", "file KiB"]
    for device in devices:
        label = f", {device.report.target.label}" if len(devices) > 1 else ""
        header += [f"ms per output Mpx{label}", "peak MiB"]
    header += [f"{name} dB" for name in ranges]
    lines = [_cells(header), _cells(["---"] + ["---:"] * (len(header) - 1))]
    known = _costs(devices)
    for name in names:
        costs = known.get(name)
        random = any(name in device.report.random_weights for device in devices)
        cells = [f"{name} (random weights)" if random else name]
        cells += [f"{costs.parameters:,}", f"{costs.macs_per_px:,.0f}", f"{costs.file_kib:,.0f}"] if costs else [""] * 3
        for device in devices:
            row = device.row(name, comparison.size_px, comparison.threads)
            cells += [f"{row.ms_per_mpx:,.0f}", f"{row.peak_mib:.0f}"] if row else ["", ""]
        for data_range in ranges:
            found = run.gain(data_range, name)
            cells.append(f"{found.gain_db:+.2f}" if found else "")
        lines.append(_cells(cells))
    return "\n".join(lines)


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _quality_section(run: QualityRun) -> str:
    parts = [
        f"## x{run.scale}, {run.degradation}: quality",
        quality_report.describe(run.protocol),
        quality.table(run.summaries),
    ]
    if run.by_source:
        parts += ["By source:", quality.table(run.by_source)]
    if run.failures:
        parts.append("\n".join(f"- failed: {failure}" for failure in run.failures))
    if run.interrupted:
        parts.append("This run was interrupted; what it had measured is shown.")
    return "\n\n".join(parts)


def _device_section(run: DeviceRun) -> str:
    report = run.report
    parts = [f"## {report.target.label}: latency and memory", device_report.costs_table(report)]
    parts.append(
        "Median (p50), percentiles and least time of one picture over all rounds; spread is the range of the rounds' "
        "medians; memory is the peak resident set of the process, and what of it came after the imports. Engine "
        "`lightsr` is the runtime with its tiles and checks, the others run the whole picture at once."
    )
    parts.append(device_report.rows_table(report, report.rows))
    if report.interrupted:
        parts.append("This run was interrupted; what it had measured is shown.")
    return "\n\n".join(parts)

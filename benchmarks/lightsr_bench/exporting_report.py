"""What exporting gains: the whole run of `lightsr-bench export`, its document and its tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lightsr import processor
from lightsr.errors import LightsrError
from lightsr_export.profile import Kernel
from lightsr_export.report import KERNELS, versions

from lightsr_bench import device, documents, exporting
from lightsr_bench.documents import DocumentError
from lightsr_bench.exporting import Latency, Measurement, Rate, Subject

FORMS = {"naive": "", "fp32": "naive/fp32", "int8": "fp32/int8", "naive head": "", "fp32 head": "naive head/fp32 head"}
"""Rows of the table of times, and the ratio that stands in each."""

RATES = {"fp32": "fp32, all convolutions", "fp32 body": "fp32, body", "int8": "int8, integer convolutions"}
"""Rows of the table of rates."""

KINDS = {
    "convolutions": ("Conv", "QLinearConv", "FusedConv", "ConvTranspose", "MatMul"),
    "concatenations": ("Concat", "QLinearConcat"),
    "additions": ("Add", "QLinearAdd", "Sum", "Relu"),
    "DepthToSpace, cropping": ("DepthToSpace", "Slice"),
    "changes of layout": ("ReorderInput", "ReorderOutput", "Transpose"),
    "to integers and back": ("QuantizeLinear", "DequantizeLinear"),
}
"""Rows of the table of kernels; what is left is padding and the reckoning of shapes."""

NOTES = """\
naive is the training network through torch.onnx, nothing of it rewritten; fp32 and int8 are what lightsr-export makes \
of it, int8 with ranges of made-up pictures, on which its speed does not depend. All take turns in one process; ratios \
are medians over the rounds. A head is what follows the last learned convolution (skip, sums, consistency step, \
DepthToSpace), as a model of its own. Rates are multiply-adds in the time of the convolutions' kernels, means over the \
rounds; the peak is the fastest float32 matrix product of this process. The body is what int8 has in integers: stem, \
skip and consistency step are left out."""


@dataclass(frozen=True)
class Report:
    """Everything a run found.

    Parameters
    ----------
    processor : str
    versions : dict of str
    side_px : int
        Of the square picture, low-resolution pixels.
    rounds : int
    measurements : tuple of Measurement
    failures : dict of str
        Networks without figures, and why.
    other_load_cpus : float
        Mean work of everybody else meanwhile.
    interrupted : bool
    """

    processor: str
    versions: dict[str, str]
    side_px: int
    rounds: int
    measurements: tuple[Measurement, ...]
    failures: dict[str, str]
    other_load_cpus: float
    interrupted: bool = False


def run(subjects: Sequence[Subject], *, side_px: int, rounds: int, progress: Callable[[str], None]) -> Report:
    """Measure one network after the other.

    Parameters
    ----------
    subjects : sequence of Subject
    side_px, rounds : int
        For `exporting.measure`.
    progress : callable
        Told what is being done.

    Returns
    -------
    Report
        Of what was measured until Ctrl-C, if that came.
    """
    measurements: list[Measurement] = []
    failures: dict[str, str] = {}
    others = device.Bystanders()
    interrupted = False
    try:
        for subject in subjects:
            progress(f"exporting and timing {subject.name}")
            try:
                measurements.append(exporting.measure(subject, side_px=side_px, rounds=rounds))
            except LightsrError as error:
                failures[subject.name] = str(error)
    except KeyboardInterrupt:
        interrupted = True
    return Report(
        processor.describe().label,
        versions(),
        side_px,
        rounds,
        tuple(measurements),
        failures,
        others.cpus(),
        interrupted,
    )


def document(report: Report, arguments: Sequence[str]) -> dict[str, Any]:
    """Result file of a run.

    Parameters
    ----------
    report : Report
    arguments : sequence of str
        Of the command line.
    """
    return documents.measured(
        "export",
        arguments,
        report,
        protocol={"side_px": report.side_px, "rounds": report.rounds, "threads": 1},
        content={
            "networks": [asdict(measurement) for measurement in report.measurements],
            "failures": {name: documents.public(reason) for name, reason in report.failures.items()},
        },
    )


def from_document(content: Mapping[str, Any]) -> Report:
    """Report of a result file.

    Raises
    ------
    DocumentError
        Not what `document` writes.
    """
    try:
        return Report(
            content["processor"],
            dict(content["versions"]),
            content["protocol"]["side_px"],
            content["protocol"]["rounds"],
            tuple(map(_measurement, content["networks"])),
            dict(content["failures"]),
            content["other_load_cpus"],
            content["interrupted"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DocumentError(f"incomplete export results ({type(error).__name__}: {error}); measure again") from error


def _measurement(entry: Mapping[str, Any]) -> Measurement:
    parts = {
        "passes": tuple(entry["passes"]),
        "latencies": {name: Latency(**latency) for name, latency in entry["latencies"].items()},
        "rates": {name: Rate(**rate) for name, rate in entry["rates"].items()},
        "kernels": {name: tuple(Kernel(**kernel) for kernel in found) for name, found in entry["kernels"].items()},
    }
    return Measurement(**{**entry, **parts})


def text(report: Report, *, kernels: int = KERNELS) -> str:
    """Everything, as the terminal shows it, in Markdown.

    Parameters
    ----------
    report : Report
    kernels : int
        Most kernels of a graph that are shown, the slowest first.
    """
    side = f"{report.side_px}x{report.side_px}"
    lines = [
        f"- {report.processor}; one thread, {side} low-resolution pixels, {report.rounds} rounds",
        f"- onnxruntime {report.versions['onnxruntime']}, torch {report.versions['torch']}",
    ]
    parts = ["\n".join(lines), times_table(report), rates_table(report), NOTES]
    for measurement in report.measurements:
        parts += [_kernels(measurement, form, kernels) for form in measurement.kernels]
    return "\n\n".join(parts)


def page_text(content: Mapping[str, Any]) -> str:
    """The tables that a page shows of a result file, in Markdown."""
    report = from_document(content)
    head = (
        f"{report.processor}, one thread, {report.side_px}x{report.side_px} low-resolution pixels, all forms in turns, "
        f"{report.rounds} rounds; onnxruntime {report.versions['onnxruntime']}, torch {report.versions['torch']}"
    )
    kernels = "Kernels, ms, means over the rounds, from onnxruntime's profiler:"
    tables = (times_table(report), rates_table(report), kernels, kinds_table(report))
    return "\n\n".join((f"`{content['command']}`", head, *tables))


def kinds_table(report: Report) -> str:
    """Markdown table of where the time goes, by `KINDS`."""
    columns = [(found, form) for found in report.measurements for form in found.kernels]
    head = ["", *(f"{label(found)} {form}" for found, form in columns)]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * len(columns)}"]
    kind_of = {operator: kind for kind, operators in KINDS.items() for operator in operators}
    other = "padding, shapes"
    for kind in (*KINDS, other):
        cells = []
        for found, form in columns:
            times = [k.mean_ms for k in found.kernels[form] if kind_of.get(k.operator, other) == kind]
            cells.append(f"{sum(times):.2f}" if times else "")
        lines.append(f"| {' | '.join((kind, *cells))} |")
    return "\n".join(lines)


def times_table(report: Report) -> str:
    """Markdown table of latencies and work."""
    lines = [
        "| network | form | ms, minimum | ms, median | multiply-adds per output pixel | times as fast |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for found in report.measurements:
        for form, pair in FORMS.items():
            if latency := found.latencies.get(form):
                macs = f"{found.macs_per_px[form]:,.0f}" if form in found.macs_per_px else ""
                ratio = f"{found.ratios[pair]:.2f}" if pair else ""
                times = f"{latency.minimum_ms:.2f} | {latency.median_ms:.2f}"
                lines.append(f"| {label(found)} | {form} | {times} | {macs} | {ratio} |")
        if found.refusal:
            lines.append(f"| {label(found)} | no int8: {found.refusal} | | | | |")
    lines += [f"| {name} | failed: {reason} | | | | |" for name, reason in report.failures.items()]
    return "\n".join(lines)


def rates_table(report: Report) -> str:
    """Markdown table of what the convolutions reach."""
    lines = [
        "| network | convolutions | 10^9 multiply-adds/s | of the peak | peak |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for found in report.measurements:
        lines += [
            f"| {label(found)} | {what} | {rate.macs_per_s / 1e9:.1f} | {rate.share:.0%} | "
            f"{found.peak_macs_per_s / 1e9:.1f} |"
            for name, what in RATES.items()
            if (rate := found.rates.get(name))
        ]
    return "\n".join(lines)


def label(found: Measurement) -> str:
    """How tables call a network."""
    return found.name if found.sha256 else f"{found.name} (random weights)"


def _kernels(found: Measurement, form: str, most: int) -> str:
    kernels = found.kernels[form]
    shown = kernels[:most]
    lines = [
        f"{label(found)}, {form}: the slowest {len(shown)} of {len(kernels)} kernels, which take "
        f"{sum(kernel.mean_ms for kernel in kernels):.2f} ms together",
        "",
        "| kernel | name | ms | share |",
        "| --- | --- | ---: | ---: |",
    ]
    lines += [f"| {kernel.operator} | {kernel.name} | {kernel.mean_ms:.3f} | {kernel.share:.1%} |" for kernel in shown]
    return "\n".join(lines)

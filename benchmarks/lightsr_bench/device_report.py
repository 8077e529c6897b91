"""Latency and memory: the whole run of `lightsr-bench device`, its document and its tables."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lightsr.errors import LightsrError

from lightsr_bench import costs, device, documents
from lightsr_bench.costs import Costs
from lightsr_bench.device import Row
from lightsr_bench.networks import Network
from lightsr_bench.target import Target


@dataclass(frozen=True)
class Report:
    """Everything a run found.

    Parameters
    ----------
    target : Target
    costs : dict of Costs
        By the network's name.
    random_weights : frozenset of str
        Names of networks whose weights are random.
    rows : tuple of Row
    failures : dict of str
        Networks that could not be loaded, and why.
    other_load_cpus : float
        Mean work of everybody else meanwhile.
    interrupted : bool
    """

    target: Target
    costs: dict[str, Costs]
    random_weights: frozenset[str]
    rows: tuple[Row, ...]
    failures: dict[str, str]
    other_load_cpus: float
    interrupted: bool = False

    @property
    def failed(self) -> bool:
        """Whether anything has no figures."""
        return bool(self.failures) or any(row.error for row in self.rows)


def run(
    networks: Sequence[Network],
    *,
    target: Target,
    progress: Callable[[str], None],
    **options: Any,
) -> Report:
    """Look at every network, then measure those that load.

    Parameters
    ----------
    networks : sequence of Network
    target : Target
    progress : callable
        Told what is being done.
    **options
        For `device.measure`.

    Returns
    -------
    Report
        Of what was measured until Ctrl-C, if that came.
    """
    found: dict[str, Costs] = {}
    failures: dict[str, str] = {}
    rows: list[Row] = []
    others = device.Bystanders()
    interrupted = False
    try:
        for network in networks:
            progress(f"loading {network.name}")
            try:
                found[network.name] = costs.of(network)
            except LightsrError as error:
                failures[network.name] = str(error)
        scaled = [(network, found[network.name].scale) for network in networks if network.name in found]
        others = device.Bystanders()
        for row in device.measure(scaled, progress=progress, **options):
            rows.append(row)
    except KeyboardInterrupt:
        interrupted = True
    random_weights = frozenset(network.name for network in networks if network.random_weights)
    return Report(target, found, random_weights, tuple(rows), failures, others.cpus(), interrupted)


def document(report: Report, arguments: Sequence[str], protocol: dict[str, Any]) -> dict[str, Any]:
    """Result file of a run.

    Parameters
    ----------
    report : Report
    arguments : sequence of str
        Of the command line.
    protocol : dict
        How it was measured.
    """
    content = {
        "protocol": protocol,
        "target": asdict(report.target),
        "other_load_cpus": report.other_load_cpus,
        "networks": [
            {"name": name, "random_weights": name in report.random_weights, **asdict(entry)}
            for name, entry in report.costs.items()
        ],
        "rows": [asdict(row) for row in report.rows],
        "failures": {name: documents.public(reason) for name, reason in report.failures.items()},
    }
    start = documents.new("device", arguments, interrupted=report.interrupted)
    return start | {key: documents.rounded(value) for key, value in content.items()}


def from_document(content: dict[str, Any]) -> Report:
    """Report of a result file.

    Raises
    ------
    KeyError, TypeError
        Not what `document` writes.
    """
    networks = {entry.pop("name"): entry for entry in map(dict, content["networks"])}
    random_weights = frozenset(name for name, entry in networks.items() if entry.pop("random_weights"))
    target = content["target"] | {"features": tuple(content["target"]["features"])}
    return Report(
        Target(**target),
        {name: Costs(**entry) for name, entry in networks.items()},
        random_weights,
        tuple(Row(**row) for row in content["rows"]),
        dict(content["failures"]),
        content["other_load_cpus"],
        content["interrupted"],
    )


def target_lines(target: Target) -> list[str]:
    """The machine in a few lines of Markdown."""
    caches = ", ".join(f"{level} {size}" for level, size in target.caches.items())
    limits = [f"memory limited to {target.memory_limit_mib:.0f} MiB"] if target.memory_limit_mib else []
    limits += [f"CPU time limited to {target.cpu_limit:g} CPUs"] if target.cpu_limit else []
    limits += [f"run {target.limited}"] if target.limited else []
    versions = f"Python {target.python}, onnxruntime {target.onnxruntime}, lightsr {target.lightsr}"
    cores = f" on {target.cores} cores" if target.cores else ""
    lines = [
        f"{target.board or target.cpu}{f' ({target.cpu})' if target.board else ''}, {target.architecture}, "
        f"{target.cpus} CPUs in use{cores}, {caches or 'caches not told'}",
        f"features {', '.join(target.features) or 'not told'}; frequency governor {target.governor or 'not told'}",
        f"memory {target.memory_mib:.0f} MiB, {target.available_mib:.0f} available",
        f"{target.system}; {versions}{f', OpenCV {target.opencv}' if target.opencv else ''}",
    ]
    return [f"- {line}" for line in lines + (["; ".join(limits)] if limits else [])]


def busy_warning(report: Report) -> str:
    """A line to warn with, or "" where the machine had time."""
    return device.busy_warning(report.other_load_cpus)


def costs_table(report: Report) -> str:
    """Markdown table of what does not depend on the machine."""
    lines = [
        "| network | scale | channels | parameters | multiply-adds per output pixel | file KiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {_label(name, report)} | {entry.scale} | {entry.channels} | {entry.parameters:,} | "
        f"{entry.macs_per_px:,.0f} | {entry.file_kib:,.0f} |"
        for name, entry in report.costs.items()
    ]
    lines += [f"| {name} | failed: {reason} | | | | |" for name, reason in report.failures.items()]
    return "\n".join(lines)


def rows_table(report: Report, rows: Iterable[Row]) -> str:
    """Markdown table of latency and memory."""
    lines = [
        "| network | engine | input px | threads | p50 ms | p90 | p99 | min | spread | ms per output Mpx | CPU ms "
        "| load ms | first ms | peak MiB | of it added |",
        "| --- | --- | ---: | ---: " + "| ---: " * 11 + "|",
    ]
    for row in rows:
        start = f"| {_label(row.network, report)} | {row.engine} | {row.size_px} | {row.threads} | "
        if row.error:
            lines.append(f"{start}failed: {row.error} " + "| " * 10 + "|")
            continue
        times = " | ".join(_ms(value) for value in (row.p50_ms, row.p90_ms, row.p99_ms, row.min_ms))
        rest = " | ".join(_ms(value) for value in (row.ms_per_mpx, row.cpu_ms, row.load_ms, row.first_ms))
        lines.append(f"{start}{times} | {row.spread:.0%} | {rest} | {row.peak_mib:.0f} | {row.added_mib:.0f} |")
    return "\n".join(lines)


def _label(name: str, report: Report) -> str:
    return f"{name} (random weights)" if name in report.random_weights else name


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def text(report: Report) -> str:
    """Everything, as the terminal shows it."""
    parts = ["\n".join(target_lines(report.target)), costs_table(report)]
    if report.rows:
        parts.append(rows_table(report, report.rows))
    return "\n\n".join(parts)

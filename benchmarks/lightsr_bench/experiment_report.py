"""The tables of an experiment, of its result file."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightsr_train.degradation import BICUBIC

from lightsr_bench import curves


def on_front(rows: Sequence[Mapping[str, Any]], latency: str) -> set[str]:
    """Names of the variants that no other one beats: as fast and as good in every range, and better somewhere."""

    def key(row: Mapping[str, Any]) -> list[float] | None:
        if row.get(latency) is None or not row["quality"]:
            return None
        return [-row[latency], *(entry["psnr_db"] for entry in row["quality"])]

    keys = {row["name"]: key(row) for row in rows}
    found = set()
    for name, own in keys.items():
        if own is not None and not any(
            other is not None and other != own and all(b >= a for a, b in zip(own, other, strict=True))
            for other in keys.values()
        ):
            found.add(name)
    return found


def text(content: Mapping[str, Any]) -> str:
    """The table of a result file, in Markdown."""
    facts, rows = content["protocol"], content["variants"]
    fronts = {latency: on_front(rows, latency) for latency in ("fp32_ms", "int8_ms")}
    ranges = [entry["range"] for entry in content["interpolation"]["bicubic"]]
    head = ["network", "", "parameters", "MAC per output px", "steps", "train CPU s", "fp32 ms", "int8 ms", "held back"]
    head += [f"{name} dB" for name in ranges] + [f"{name} SSIM" for name in ranges]
    lines = [f"| {' | '.join(head)} |", "| --- | --- |" + " ---: |" * (len(head) - 2)]
    for name, entries in content["interpolation"].items():
        cells = [name, "interpolation", "", "", "", "", "", "", "", *_scores(entries)]
        lines.append(f"| {' | '.join(cells)} |")
    for row in rows:
        times = [_time(row[latency], row["name"] in fronts[latency]) for latency in ("fp32_ms", "int8_ms")]
        cells = [row["name"], row["note"], f"{row['parameters']:,}", f"{row['macs_per_px']:,.0f}"]
        gains = row["held_back_gain_db"]
        held_back = f"{curves.mean_gain(gains):+.2f}" if gains else ""
        cells += [f"{row['steps']:,}", f"{row['seconds']:,.0f}", *times, held_back]
        cells += _scores(row["quality"])
        lines.append(f"| {' | '.join(cells)} |")
    images = ", ".join(f"{entry['range']} {entry['images']}" for entry in content["interpolation"]["bicubic"])
    note = (
        f"x{facts['scale']}, antialiased bicubic reduction, whole images by the protocol of the benchmarks (images: "
        f"{images}); {facts['side_px']}x{facts['side_px']} input, minimum of {facts['rounds']} runs of all in turns, "
        f"one thread of {content['processor']}; * no other variant is as fast and as good in every range; held back: "
        "dB over bicubic on the training set's own held-back patients, mean of the modalities, what choices are made by"
        "; train CPU s: what the training's process spent on processors, validations left out"
    )
    if content["left_out"]:
        note += f". Not in this run: {', '.join(content['left_out'])}"
    if content.get("curves"):
        note += f"\n\n{curves.text(rows)}"
    if content.get("degradations"):
        note += f"\n\n{_under(content)}"
    return "\n".join([f"`{content['command']}`", "", *lines, "", note])


def _scores(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{entry['psnr_db']:.2f}" for entry in entries] + [f"{entry['ssim']:.4f}" for entry in entries]


def _time(value: float | None, front: bool) -> str:
    return "" if value is None else f"{value:.1f}{' *' if front else ''}"


def _under(content: Mapping[str, Any]) -> str:
    """Gains under further degradations."""
    ranges = [entry["range"] for entry in content["interpolation"]["bicubic"]]
    names = [row["name"] for row in content["variants"]]
    lines = [f"| degradation | range | {' | '.join(names)} |", "| --- | --- |" + " ---: |" * len(names)]
    for degradation in (BICUBIC, *content["degradations"]):
        for number, name in enumerate(ranges):
            entries = [
                row["quality"] if degradation == BICUBIC else row["under"][degradation] for row in content["variants"]
            ]
            gains = [f"{found[number]['gain_db']:+.2f}" for found in entries]
            lines.append(f"| {degradation} | {name} | {' | '.join(gains)} |")
    return "\n".join([*lines, "", "dB over bicubic interpolation, the same images, reduced by each degradation."])

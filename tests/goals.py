"""What the bundled models were to reach, and what the result files say: the table of goals in docs/experiments.md.

python -m tests.goals          puts it there
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).parents[1]

RESULTS = ROOT / "docs" / "results"

PAGE = ROOT / "docs" / "experiments.md"

PLACE = re.compile(r"(<!-- goals -->\n).*?(<!-- end -->)", re.DOTALL)

RANGES = ("CT lung", "CT soft tissue", "MR", "US", "XR")

SMALL_PARAMETERS = {2: 60_100, 4: 73_000}
"""Most that a published network has which `base` is to equal, by scale; at x2 the 60,008 of ETDS-M among them."""

LEAST_AHEAD_DB = {"CT lung": 0.5, "CT soft tissue": 0.5, "MR": 0.0, "US": 0.2, "XR": 0.0}
"""By which `base` is to be ahead of it."""

TINY_AHEAD_DB = {"CT lung": 0.5, "CT soft tissue": 0.5, "MR": 0.2, "US": 0.2, "XR": 0.0}
"""By which `tiny` is to be ahead of FSRCNN and ESPCN, trained as it was."""

RESIDUAL_DB = 0.15
"""By which `base` may stay behind the residual network."""

RESIDUAL_TIMES = 10.0

TINY_TIMES = 5.0
"""As fast as one-channel FSRCNN in fp32 `tiny` is to be in int8; `base`, 1."""

WORST_DB = -0.05
"""Bicubic interpolation may be ahead by this in a picture."""

TARGETS = {"device-xeon.json": "Xeon with VNNI", "device-epyc.json": "EPYC without"}
"""Where times were measured."""

Row = tuple[str, str, bool]
"""Goal, what was found, whether it is reached."""


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return content


def quality(scale: int) -> dict[str, dict[str, list[float]]]:
    """PSNR of every image of `eval` under bicubic reduction, by method and range, dB."""
    found: dict[str, dict[str, list[float]]] = {}
    for entry in read(f"quality-x{scale}-bicubic.json")["scores"]:
        found.setdefault(entry["method"], {})[entry["range"]] = entry["psnr_db"]
    return found


def ahead(one: dict[str, list[float]], other: dict[str, list[float]]) -> dict[str, float]:
    """Difference of the mean PSNR by range, dB, as it is printed."""
    return {name: round(fmean(one[name]) - fmean(other[name]), 2) for name in RANGES}


def figures(values: dict[str, float]) -> str:
    return ", ".join(f"{values[name]:+.2f}" for name in RANGES)


def against_published(scale: int) -> Iterator[Row]:
    """`base` against published networks of its size, and against a larger one."""
    parameters = {entry["name"]: entry["parameters"] for entry in read("device-xeon.json")["networks"]}
    found = quality(scale)
    base = found[f"base-x{scale}-fp32"]
    small = [
        name
        for name in found
        if name in parameters and parameters[name] <= SMALL_PARAMETERS[scale] and not name.startswith(("base", "tiny"))
    ]
    best = {name: max(small, key=lambda other: fmean(found[other][name])) for name in RANGES}
    distance = {name: round(fmean(base[name]) - fmean(found[best[name]][name]), 2) for name in RANGES}
    names = ", ".join(dict.fromkeys(best.values()))
    yield (
        f"x{scale}: `base`, fp32, at least equals the best published network of up to "
        f"{SMALL_PARAMETERS[scale] // 1000}K parameters, with 0.5 dB more on CT and 0.2 on US",
        f"{figures(distance)} ({names})",
        all(distance[name] >= LEAST_AHEAD_DB[name] for name in RANGES),
    )
    beyond = ahead(base, found[f"EFDN_x{scale}"])
    count = parameters[f"EFDN_x{scale}"]
    yield (
        f"x{scale}, the goal beyond: EFDN, {count // 1000}K parameters",
        figures(beyond),
        min(beyond.values()) >= 0,
    )


def speed() -> Iterator[Row]:
    """int8 against one-channel FSRCNN in fp32, the whole graph in onnxruntime, one thread."""
    for file, target in TARGETS.items():
        rows = read(file)["rows"]
        fastest = {(row["network"], row["size_px"]): row["min_ms"] for row in rows if row["engine"] == "onnxruntime"}
        sizes = sorted({size for name, size in fastest if name == "FSRCNN-1ch_x2"})
        for name, least, wanted in (
            ("base", 1.0, "no slower than"),
            ("tiny", TINY_TIMES, f"at least {TINY_TIMES:g} times as fast as"),
        ):
            times = [fastest["FSRCNN-1ch_x2", size] / fastest[f"{name}-x2-int8", size] for size in sizes]
            yield (
                f"x2: `{name}`, int8, {wanted} FSRCNN of one channel in fp32, {target}",
                ", ".join(f"{each:.1f} times at {size} px" for each, size in zip(times, sizes, strict=True)),
                min(times) >= least,
            )


def against_baselines(scale: int) -> Iterator[Row]:
    """Networks trained on the same patches for as many steps."""
    variants = {row["name"]: row for row in read(f"experiments/baselines-x{scale}.json")["variants"]}
    psnr = {name: {entry["range"]: [entry["psnr_db"]] for entry in row["quality"]} for name, row in variants.items()}
    for other in ("fsrcnn", "espcn"):
        distance = ahead(psnr["tiny"], psnr[other])
        yield (
            f"x{scale}: `tiny` above our own {other.upper()} by 0.5 dB on CT, 0.2 on MR and US, 0 on XR",
            figures(distance),
            all(distance[name] >= TINY_AHEAD_DB[name] for name in RANGES),
        )
    distance = ahead(psnr["base"], psnr["residual"])
    yield (
        f"x{scale}: `base` within {RESIDUAL_DB:g} dB of the residual network",
        figures(distance),
        min(distance.values()) >= -RESIDUAL_DB,
    )
    times = [variants["residual"]["fp32_ms"] / variants["base"][form] for form in ("fp32_ms", "int8_ms")]
    yield (
        f"x{scale}: at a {RESIDUAL_TIMES:g}th of its time in fp32 or less",
        f"a {times[0]:.1f}th in fp32, a {times[1]:.1f}th in int8",
        max(times) >= RESIDUAL_TIMES,
    )


def worst() -> Iterator[Row]:
    """The picture in which a model stands worst against bicubic interpolation."""
    found: dict[str, float] = {}
    for scale in (2, 3, 4, 8):
        scores = quality(scale)
        for name in scores:
            if name.startswith(("base", "tiny")):
                found[name] = min(
                    own - other
                    for key in RANGES
                    for own, other in zip(scores[name][key], scores["bicubic"][key], strict=True)
                )
    pictures = sum(len(quality(2)["bicubic"][name]) for name in RANGES[1:])
    below = {name: value for name, value in found.items() if round(value, 2) < WORST_DB}
    yield (
        f"no picture of the {pictures} more than {-WORST_DB:g} dB below bicubic interpolation",
        ", ".join(f"`{name}` {value:+.2f}" for name, value in sorted(below.items(), key=lambda item: item[1]))
        or f"none; the worst is {min(found.values()):+.2f}",
        not below,
    )


def rows() -> list[Row]:
    """All goals."""
    found: list[Row] = []
    for scale in (2, 4):
        found += against_published(scale)
    found += speed()
    for scale in (2, 4):
        found += against_baselines(scale)
    return [*found, *worst()]


def table() -> str:
    """In Markdown."""
    lines = ["| goal | found | |", "| --- | --- | --- |"]
    lines += [f"| {goal} | {found} | {'reached' if reached else 'missed'} |" for goal, found, reached in rows()]
    return "\n".join(lines)


def renewed(page: str) -> str:
    """The page with the table in its place."""
    return PLACE.sub(lambda place: f"{place[1]}\n{table()}\n\n{place[2]}", page)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

"""Whether results that stand beside each other are of the same files, or at least of the same work."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightsr_bench.costs import Costs
from lightsr_bench.documents import DocumentError


def former(
    devices: Sequence[tuple[Path, Mapping[str, Costs]]], qualities: Sequence[tuple[Path, Mapping[str, str]]]
) -> list[list[str]]:
    """Names of the networks that each target was measured with other weights of.

    How long a network takes does not depend on its weights. Quality does: there, and on one target at
    least, a name stands for one file; on other targets it may stand for another of the same
    scale, channels, parameters, multiply-adds and, within 2 %, size, so that a network that was trained on
    needs not be measured on every board again.

    Parameters
    ----------
    devices : sequence of (Path, mapping of str to Costs)
        Result files of targets, and what they say of their networks.
    qualities : sequence of (Path, mapping of str to str)
        Result files of quality, and the sha256 of their networks.

    Returns
    -------
    list of list of str
        As many lists as `devices`.

    Raises
    ------
    DocumentError
        Two files of quality, or a target and all the rest, are of different networks.
    """
    current: dict[str, tuple[str, Path]] = {}
    for path, files in qualities:
        for name, sha256 in files.items():
            first, where = current.setdefault(name, (sha256, path))
            if first != sha256:
                raise _differ(name, where, path)
    measured = {path: {(name, entry.sha256): entry for name, entry in costs.items()} for path, costs in devices}
    for path, costs in devices:
        for name, entry in costs.items():
            current.setdefault(name, (entry.sha256, path))
    found: list[list[str]] = []
    for path, costs in devices:
        others: list[str] = []
        for name, entry in costs.items():
            sha256, where = current[name]
            if entry.sha256 == sha256:
                continue
            if not any(_alike(known.get((name, sha256)), entry) for known in measured.values()):
                raise _differ(name, where, path)
            others.append(name)
        found.append(others)
    return found


def _alike(one: Costs | None, other: Costs) -> bool:
    """Whether they do the same work; a layer that is in integers in one of them alone shows in the size."""
    if one is None or not math.isclose(one.file_kib, other.file_kib, rel_tol=0.02):
        return False
    a, b = ((c.scale, c.channels, c.parameters, c.macs_per_px) for c in (one, other))
    return a == b


def _differ(name: str, one: Path, other: Path) -> DocumentError:
    return DocumentError(f"{one} and {other}: {name} is not the same file in both; measure again")

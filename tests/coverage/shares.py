"""Shares of what was reached, from the report of coverage.py."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

LEAST_PERCENT = 90
"""Of the branches of each package."""


@dataclass(frozen=True)
class Share:
    """What was reached of a module, or of a package together.

    Parameters
    ----------
    name : str
    statements, statements_reached : int
    branches, branches_taken : int
        Ways out of lines that have several.
    is_package : bool
    """

    name: str
    statements: int
    statements_reached: int
    branches: int
    branches_taken: int
    is_package: bool = False

    @property
    def branches_percent(self) -> float:
        """Share of the branches, 100 where there are none.

        >>> Share("a", 9, 9, 8, 6).branches_percent
        75.0
        """
        return percent(self.branches_taken, self.branches)


def percent(part: int, whole: int) -> float:
    """Share in percent, 100 of nothing."""
    return 100 * part / whole if whole else 100.0


def shares(report: dict[str, Any]) -> list[Share]:
    """Every module, and behind its modules every package.

    Parameters
    ----------
    report : dict
        As ``coverage json`` writes it, with branches.
    """
    packages: dict[str, list[Share]] = {}
    for path, found in sorted(report["files"].items()):
        counts = found["summary"]
        module = Share(
            PurePosixPath(path).as_posix(),
            counts["num_statements"],
            counts["covered_lines"],
            counts["num_branches"],
            counts["covered_branches"],
        )
        packages.setdefault("/".join(PurePosixPath(path).parts[:2]), []).append(module)
    return [share for name, modules in packages.items() for share in (*modules, together(name, modules))]


def together(name: str, modules: list[Share]) -> Share:
    """A package as the sum of its modules."""
    return Share(
        name,
        sum(module.statements for module in modules),
        sum(module.statements_reached for module in modules),
        sum(module.branches for module in modules),
        sum(module.branches_taken for module in modules),
        is_package=True,
    )


def table(found: list[Share]) -> str:
    """Lines to be read: of each its statements and branches, how many of them were missed, and shares."""
    width = max(len(share.name) for share in found)
    lines = [f"{'':{width}}  statements  missed       %  branches  missed       %"]
    for share in found:
        lines.append(
            f"{share.name:{width}}"
            f"  {share.statements:10}  {share.statements - share.statements_reached:6}"
            f"  {percent(share.statements_reached, share.statements):6.1f}"
            f"  {share.branches:8}  {share.branches - share.branches_taken:6}  {share.branches_percent:6.1f}"
        )
        if share.is_package:
            lines.append("")
    return "\n".join(lines)

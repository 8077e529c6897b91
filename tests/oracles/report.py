"""What the oracles found, as tables for a page."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lightsr import files

from .corpus import Conversion

ORACLES = {
    "dciodvfy": "`dciodvfy`: no error that the source has not",
    "standard": "highdicom's tables: types 1 and 2 there, nothing foreign added",
    "field of view": "`dcm2niix`, nibabel: corners of a series within 1e-4 mm",
    "readers": "DCMTK and GDCM: the pixels that pydicom reads",
    "compression": "`--compress`: the pixels and the UID of the uncompressed result",
    "archive": "Orthanc: both series of a study found, and given back byte for byte",
    "hounsfield": "CT: mean HU of regions within 0.5",
    "privacy": "nothing about a person said or logged",
}
"""Names of the oracles, and what stands for them in a table."""

PLACE = re.compile(r"(<!-- oracles -->\n).*?(<!-- end -->)", re.DOTALL)
"""Where the tables stand in a page."""


@dataclass(frozen=True)
class Entry:
    """What an oracle found.

    Parameters
    ----------
    checked : int
    what : str
        That was checked.
    failures : int
    measured : str
        The largest error that it saw, where it measures one.
    """

    checked: int
    what: str
    failures: int
    measured: str = ""


@dataclass
class Ledger:
    """What each oracle found.

    Parameters
    ----------
    entries : dict of str to Entry
        By oracle.
    """

    entries: dict[str, Entry] = field(default_factory=dict)

    def settle(
        self, oracle: str, checked: int, failures: list[str], *, what: str = "files", measured: str = ""
    ) -> None:
        """Note an oracle's result; an AssertionError names the failures, or says that nothing was checked."""
        assert oracle in ORACLES
        self.entries[oracle] = Entry(checked, what, len(failures), measured)
        assert checked, f"{oracle}: no {what} to check"
        assert not failures, f"{oracle}: {len(failures)} of {checked} {what}:\n" + "\n".join(failures)


def tables(tried: tuple[Conversion, ...], others: int, compressed: int, ledger: Ledger) -> str:
    """Markdown: files by collection and reason, and the oracles."""
    names = list(dict.fromkeys(entry.collection for entry in tried))
    counts = {
        "tried": Counter(entry.collection for entry in tried),
        "**converted**": Counter(entry.collection for entry in tried if entry.converted),
    }
    refused = [entry for entry in tried if not entry.converted]
    reasons = Counter(entry.reason for entry in refused)
    for reason, _ in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0])):
        counts[f"refused: {reason}"] = Counter(entry.collection for entry in refused if entry.reason == reason)
    lines = [
        f"| files | {' | '.join(names)} | all |",
        f"| --- |{' ---: |' * (len(names) + 1)}",
        *(
            f"| {label} | {' | '.join(str(count[name]) for name in names)} | {count.total()} |"
            for label, count in counts.items()
        ),
        "",
        f"The oracles judge {others} more results at x3, x8 (`base`) and x4 (`tiny`), and {compressed} compressed "
        "ones: of one file of each kind and collection.",
        "",
        "| oracle | checked | failures | largest error |",
        "| --- | ---: | ---: | --- |",
    ]
    for name, text in ORACLES.items():
        entry = ledger.entries[name]
        lines.append(f"| {text} | {entry.checked} {entry.what} | {entry.failures} | {entry.measured or '-'} |")
    return "\n".join(lines)


def renew(page: Path, text: str) -> None:
    """Put the tables into their place in a page."""
    before = page.read_text(encoding="utf-8")
    if len(PLACE.findall(before)) != 1:
        raise ValueError(f"{page}: one place <!-- oracles --> to <!-- end --> is needed")
    after = PLACE.sub(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", before)
    with files.new_file(page, overwrite=True) as file:
        file.write(after.encode())

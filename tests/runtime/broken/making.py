"""What every broken file of the corpus says about itself, and how valid ones are cut."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Broken:
    """A broken file.

    Parameters
    ----------
    content : callable
        Makes its bytes.
    says : str
        Part of the one line that refuses it.
    suffix : str
        End of its name.
    length : int
        Of the file, which goes on with a hole of zeros up to there; 0 where it ends with its bytes.
    """

    content: Callable[[], bytes]
    says: str
    suffix: str
    length: int = 0

    def write(self, path: Path) -> Path:
        """Write it."""
        with path.open("wb") as file:
            file.write(self.content())
            if self.length:
                file.truncate(self.length)
        return path


def fixed(content: bytes) -> Callable[[], bytes]:
    """Bytes that are there already."""
    return lambda: content


def patched(content: bytes, at: int, new: bytes) -> bytes:
    """`content` with other bytes at a place."""
    return content[:at] + new + content[at + len(new) :]


def cut(
    what: str, content: bytes, fields: Iterable[tuple[str, int]], suffix: str, pack: Callable[[bytes], bytes] = bytes
) -> dict[str, Broken]:
    """`content` cut in front of every field, and inside of each that is longer than a byte.

    Parameters
    ----------
    what : str
    content : bytes
    fields : iterable of (str, int)
        Name and place of each field.
    suffix : str
    pack : callable
        What is done with the cut bytes.
    """
    places = [*fields, ("the end", len(content))]
    made: dict[str, Broken] = {}
    for (name, start), (_, following) in itertools.pairwise(places):
        if start:
            made[f"{what} cut before {name}"] = Broken(lambda end=start: pack(content[:end]), "", suffix)  # type: ignore[misc]
        if following - start > 1:
            made[f"{what} cut inside {name}"] = Broken(lambda end=following - 1: pack(content[:end]), "", suffix)  # type: ignore[misc]
    return made

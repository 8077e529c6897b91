"""One part of many files, the same on every machine."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`.

    A file's part depends on its path below the input folder alone, so the parts of a folder
    are disjoint and complete whoever computes them, and a file that is added moves no other.

    Parameters
    ----------
    index : int
        From 1 to `count`.
    count : int

    Raises
    ------
    ValueError
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"shard {self.index} of {self.count}; 1 to {self.count} is allowed")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Shard that "I/N" names.

        >>> Shard.parse("2/5")
        Shard(index=2, count=5)

        Raises
        ------
        ValueError
        """
        index, slash, count = text.partition("/")
        if not (slash and index.isascii() and index.isdecimal() and count.isascii() and count.isdecimal()):
            raise ValueError(f"'{text}'; I/N is needed, 1/4 for the first of four")
        return cls(int(index), int(count))

    def holds(self, name: Path) -> bool:
        """Whether a file belongs to this part.

        Parameters
        ----------
        name : Path
            Relative to the input folder. Its bytes, with "/" between the folders, are hashed
            with SHA-256, of which the first eight bytes, the most significant first, are
            divided by `count`; the remainder is the part, counted from 0.
        """
        digest = hashlib.sha256(os.fsencode(name.as_posix())).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

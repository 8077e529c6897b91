"""A gzip file walked through, before Python's gzip module reads it.

That module steps over zeros behind the end byte by byte, and over any number of empty members: a file
of little more than a hole would take hours.

References
----------
RFC 1952: members in 2.2; they may follow each other.
"""

import zlib
from typing import BinaryIO

PART_BYTES = 1 << 16
"""How much is read at a time."""

INFLATE_BYTES = 1 << 20
"""How much is opened at a time."""

MAX_MEMBERS = 200_000
"""Block-wise writers (bgzip) begin a new one every 64 KiB."""

MAX_ZEROS = 1 << 16
"""Behind a member, where a tape or a sector was filled up."""

WITH_GZIP_HEADER = zlib.MAX_WBITS + 16


def head(file: BinaryIO, most: int) -> bytes:
    """First bytes that a gzip file holds, at most `most`, of its first member and 64 KiB.

    Raises
    ------
    zlib.error
    """
    file.seek(0)
    return zlib.decompressobj(WITH_GZIP_HEADER).decompress(file.read(PART_BYTES), most)


def length(file: BinaryIO, limit: int) -> int:
    """How many bytes a gzip file holds, all check sums looked at; nothing is kept.

    Parameters
    ----------
    file : binary file
    limit : int
        The walk ends early where there are more.

    Returns
    -------
    int
        More than `limit` where there are more.

    Raises
    ------
    EOFError
        The last member ends early.
    ValueError
        There are too many members or zeros, or something else behind them.
    zlib.error
        Damaged.
    """
    file.seek(0)
    found, part = 0, file.read(PART_BYTES)
    for _ in range(MAX_MEMBERS):
        inflater = zlib.decompressobj(WITH_GZIP_HEADER)
        while not inflater.eof:
            opened = len(inflater.decompress(part, min(INFLATE_BYTES, limit + 1 - found)))  # it may hold some back
            if not part and not opened and not inflater.eof:
                raise EOFError
            found += opened
            if found > limit:
                return found
            if not inflater.eof:
                part = inflater.unconsumed_tail or file.read(PART_BYTES)
        part = inflater.unused_data
        zeros = 0
        while not (rest := part.lstrip(b"\0")):
            zeros += len(part)
            if zeros > MAX_ZEROS:
                raise ValueError
            part = file.read(PART_BYTES)
            if not part:
                return found
        part = rest
    raise ValueError

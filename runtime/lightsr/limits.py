"""How much a DICOM file may hold before it is refused, be it damaged or meant to be too much.

Real files stay far below; `docs/decisions.md` tells what each limit costs an attacker.
"""

MAX_OTHER_BYTES = 48 * 2**20
"""Length of everything before the pixels above which a file is refused: pydicom holds it in memory."""

MAX_NESTING = 32
"""Depth of sequences in sequences above which a file is refused."""

MAX_ELEMENTS = 100_000
"""Elements and items above which a file is refused; pydicom makes an object of several hundred bytes of each."""

MAX_VALUE_BYTES = 2**20
"""Length of all elements together that may hold many short values, above which a file is refused.

A decimal of two bytes becomes an object of some hundred; binary data and long texts stay what they are.
"""

MAX_FRAME_ELEMENTS = 10_000
"""Elements and items in the functional groups of one frame above which a file is refused.

The groups of one frame at a time become objects, so that theirs do not count as the file's. Scanners write 15 to 160.
"""

MAX_FRAME_VALUE_BYTES = 2**17
"""Length of all short values in the functional groups of one frame above which a file is refused."""

MAX_FRAMES = 16_384
"""Frames above which a file is refused: each costs a third of a millisecond, be it one pixel."""

MAX_ALL_FRAMES_ELEMENTS = 2_000_000
"""Elements and items in the functional groups of all frames above which a file is refused: each takes time."""

MAX_TEXT_BYTES = 4 * 2**20
"""Length of all long texts together above which a file is refused.

They are decoded, and encoded again to see whether they can be written as they were read.
"""

MAX_FRAGMENTS = 200_000
"""Parts of compressed pixels above which a file is refused."""

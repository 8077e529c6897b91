"""A corpus of hostile DICOM files, made when it is asked for: nothing of it is stored anywhere."""

from .frames import FRAMES
from .lengths import LENGTHS
from .making import Attack
from .values import VALUES

ATTACKS: dict[str, Attack] = {**LENGTHS, **FRAMES, **VALUES}
"""All that are files; `test_attacks` adds what only looks like one."""

assert len(ATTACKS) == len(LENGTHS) + len(FRAMES) + len(VALUES)

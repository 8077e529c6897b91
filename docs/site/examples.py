"""Examples that stand behind the sections of a docstring, as a section of their own.

Ours follow the last section without a heading; the parser of numpy's style would take them for its last entry.
"""

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"\n\n(?=>>> )")

SECTION = re.compile(r"^-{3,}$", re.MULTILINE)


class Examples(Extension):
    """Puts the heading in front of the first example that follows a section."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Called for every object that was read."""
        text = obj.docstring.value if obj.docstring else ""
        first = EXAMPLE.search(text)
        if obj.docstring and first and SECTION.search(text, 0, first.start()):
            obj.docstring.value = f"{text[: first.start()]}\n\nExamples\n--------\n{text[first.end() :]}"

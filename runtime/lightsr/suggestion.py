"""What somebody may have meant by a name that there is not."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NEAR = 0.65
"""Least similarity by `difflib.SequenceMatcher.ratio`, from 0 to 1: "tinny" and "tiny" have 0.89."""


def suggestion(word: str, words: Iterable[str]) -> str:
    """What a word may stand for, to be put behind a message; nothing where nothing is near, or where it is known.

    Parameters
    ----------
    word : str
    words : iterable of str
        Those that are known.

    >>> suggestion("tinny", ["tiny", "base"])
    '; did you mean tiny?'
    >>> suggestion("--skip", ["--scale", "--skip-existing"])
    '; did you mean --skip-existing?'
    >>> suggestion("unet", ["tiny", "base"])
    ''
    """
    import difflib  # needed when something is wrong

    known = {name.lstrip("-").lower(): name for name in words}
    plain = word.lstrip("-").lower()
    if not plain or known.get(plain) == word:
        return ""
    longer = [name for name in known if name.startswith(plain)]
    found = longer if len(longer) == 1 else difflib.get_close_matches(plain, known, n=1, cutoff=NEAR)
    return f"; did you mean {known[found[0]]}?" if found else ""

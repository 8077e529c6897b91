"""Released checkpoints, to fine-tune or to start other scales from."""

from pathlib import Path

from lightsr.suggestion import suggestion

from lightsr_train import checkpoint
from lightsr_train.checkpoint import Checkpoint, CheckpointError

FOLDER = Path(__file__).parents[1] / "checkpoints"
"""Beside the package in the repository; the wheel does not hold them."""


def names() -> list[str]:
    """Released models, such as "base-x2"."""
    return sorted(path.stem for path in FOLDER.glob("*-x?.pt"))


def find(text: str, scale: int) -> Checkpoint:
    """The checkpoint that a name or a path stands for.

    Parameters
    ----------
    text : str
        The name of a released model with its scale, such as "base-x2"; or without it, such as
        "base": then that of `scale`, or of x2, which the others start from, where there is
        none; else a checkpoint or a run folder.
    scale : int
        Of the network to be trained.

    Raises
    ------
    CheckpointError
        There is none; the message names those that are.
    """
    for name in (f"{text}-x{scale}", f"{text}-x2", text):
        if name in names():
            return checkpoint.load(FOLDER / f"{name}.pt")
    path = Path(text)
    if path.exists() or path.suffix == ".pt" or len(path.parts) > 1:
        return checkpoint.load(path)
    known = ", ".join(names()) or f"none here: {FOLDER} is part of the repository, not of the wheel"
    meant = suggestion(text, {part for name in names() for part in (name, name.rpartition("-")[0])})
    raise CheckpointError(f"init {text}: no such file, and no released model; released are {known}{meant}")

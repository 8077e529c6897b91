"""Take exported models into the runtime: `python -m lightsr_export.bundle EXPORTED_DIR runtime/lightsr/models`.

The wheel carries that folder with a list of sha256; no file is loaded whose bytes differ from it.
"""

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from lightsr import files, onnxfile
from lightsr.card import ModelCard
from lightsr.errors import LightsrError, ModelError
from lightsr.model import BundledModel

MAX_FILE_BYTES = 1024 * 1024
MAX_FOLDER_BYTES = 6 * 1024 * 1024
"""Limits of what a device downloads with `pip install lightsr`."""


def listing(folder: Path) -> list[BundledModel]:
    """Entries for the models in `folder`.

    Raises
    ------
    ModelError
        A model is too large, or not named after its card.
    """
    entries = []
    total = 0
    for path in sorted(folder.glob("*.onnx")):
        content = path.read_bytes()
        total += len(content)
        card = ModelCard.from_metadata(onnxfile.inspect(content).metadata)
        entry = BundledModel(card.name, card.scale, card.precision, hashlib.sha256(content).hexdigest())
        if entry.file_name != path.name:
            raise ModelError(f"{path}: its card belongs to {entry.file_name}; rename it")
        if len(content) > MAX_FILE_BYTES or total > MAX_FOLDER_BYTES:
            raise ModelError(f"{path}: {len(content)} bytes, {total} so far; 1 MiB each and 6 MiB together are allowed")
        entries.append(entry)
    return entries


def take(source: Path, folder: Path) -> None:
    """Copy the models of an export, and its card under their name, and renew the list.

    Parameters
    ----------
    source : Path
        Folder of lightsr-export.
    folder : Path
        Folder of bundled models.

    Raises
    ------
    LightsrError
        There is no model or card in `source`, or one is refused; nothing is then changed.
    """
    entries = listing(source)
    cards = {f"{entry.name}-x{entry.scale}-card.md" for entry in entries}
    if len(cards) != 1 or not (source / "card.md").is_file():
        raise ModelError(
            f"{source}: holds {len(entries)} models and no card of theirs; export into a folder of its own"
        )
    copies = {entry.file_name: (source / entry.file_name).read_bytes() for entry in entries}
    kept = sum(path.stat().st_size for path in folder.glob("*.onnx") if path.name not in copies)
    total = kept + sum(map(len, copies.values()))
    if total > MAX_FOLDER_BYTES:
        raise ModelError(f"{folder}: would hold {total} bytes of models; {MAX_FOLDER_BYTES} are allowed")
    copies[cards.pop()] = (source / "card.md").read_bytes()
    for name, copied in copies.items():
        with files.new_file(folder / name, overwrite=True) as file:
            file.write(copied)
    content = json.dumps([asdict(entry) for entry in listing(folder)], indent=1) + "\n"
    with files.new_file(folder / "models.json", overwrite=True) as file:
        file.write(content.encode())


def main() -> int:
    """Take the export in the folder that the command line names first into the second."""
    if len(sys.argv) != 3:
        sys.stderr.write("usage: python -m lightsr_export.bundle EXPORTED_DIR MODELS_DIR\n")
        return 2
    source, folder = map(Path, sys.argv[1:])
    try:
        take(source, folder)
    except LightsrError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

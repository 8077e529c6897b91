"""List the models of a folder with their sha256: `python -m lightsr_export.bundle DIR`.

The runtime's wheel carries such a folder; it loads no file whose bytes differ from the list.
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


def main() -> int:
    """Rewrite models.json in the folder named on the command line."""
    folder = Path(sys.argv[1])
    try:
        content = json.dumps([asdict(entry) for entry in listing(folder)], indent=1) + "\n"
        with files.new_file(folder / "models.json", overwrite=True) as file:
            file.write(content.encode())
    except LightsrError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

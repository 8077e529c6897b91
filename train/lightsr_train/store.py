"""Training pictures in one memory-mapped file.

Reading a patch then costs what copying it costs, whatever the format of the images was;
processes on one machine share the pages; and a run that is resumed begins at once.
The file holds pixels of patients: it lies in the run folder, is readable by its owner
alone, and is removed when the run is finished.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from lightsr.errors import OutputError
from numpy.typing import NDArray

from lightsr_train import data, folders
from lightsr_train.data import MANIFEST, Collection, Origin, Pair

FORMAT = 1
"""Version of the layout."""

PIXELS_FILE, INDEX_FILE = "pixels.bin", "index.json"

ALIGNMENT_BYTES = 64
"""Every array begins at a multiple of it."""


def collection(
    store: Path, sources: Sequence[Path], scale: int, *, min_side_px: int, degradations: Sequence[str], readers: int = 0
) -> Collection:
    """What `data.load` gives for the folders `sources`, its arrays mapped from files in the folder `store`.

    The files are made where they are missing, or were made of other images or settings; by as many
    processes as `readers` says.

    Raises
    ------
    data.DataError
        As `data.load`.
    OutputError
        The files cannot be written, or the folder holds something else.
    """
    key = _key(sources, scale, min_side_px, degradations)
    found = _open(store, key)
    if found is not None:
        return found
    with folders.alone(store, wait=True, permissions=0o700):  # another run may be writing just these
        found = _open(store, key)
        if found is None:
            skipped: list[str] = []
            pairs = data.read(
                sources, scale, min_side_px=min_side_px, degradations=degradations, skipped=skipped, readers=readers
            )
            _write(store, key, pairs, skipped)
            found = _open(store, key)
    if found is None:
        raise OutputError(f"{store}: does not hold what was written there; choose another --out")
    return found


def remove(store: Path) -> None:
    """Delete what this module writes into the folder `store`, and the folder if nothing else is in it.

    What another process is writing just now stays.
    """
    if store.is_dir():
        with suppress(OutputError), folders.alone(store), suppress(OSError):
            _clear(store)
            store.rmdir()


def _clear(store: Path) -> None:
    for name in (INDEX_FILE, PIXELS_FILE):
        (store / name).unlink(missing_ok=True)


def _key(sources: Sequence[Path], scale: int, min_side_px: int, degradations: Sequence[str]) -> str:
    """Digest of all that the pictures depend on."""
    seen: list[Any] = [FORMAT, scale, min_side_px, list(degradations)]
    for folder in sources:
        for path in data.image_files(folder):
            try:
                facts = path.stat()
            except OSError:  # such as a link to nowhere; reading skips it by name
                seen.append((str(path), "missing"))
            else:
                seen.append((str(path.resolve()), facts.st_size, facts.st_mtime_ns))
        for home in (folder, *list(folder.resolve().parents)[:2]):
            if (home / MANIFEST).is_file():
                seen.append(hashlib.sha256((home / MANIFEST).read_bytes()).hexdigest())
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _write(store: Path, key: str, pairs: Iterable[Pair], skipped: list[str]) -> None:
    try:
        _clear(store)
        if any(store.iterdir()):
            raise OutputError(f"{store}: holds something that lightsr-train did not write; move it away")
        _write_new(store, key, pairs, skipped)
    except BaseException as error:
        with suppress(OSError):
            _clear(store)
        if isinstance(error, OSError):
            raise OutputError(
                f"{store}: cannot be written: {error.strerror}; free space, or choose another --out"
            ) from error
        raise


def _write_new(store: Path, key: str, pairs: Iterable[Pair], skipped: list[str]) -> None:
    rows = []
    with open(store / PIXELS_FILE, "xb", opener=_private) as file:
        for pair in pairs:
            arrays = []
            for array in (pair.high, *pair.lows, pair.hardness):
                file.write(bytes(-file.tell() % ALIGNMENT_BYTES))
                arrays.append({"offset": file.tell(), "shape": array.shape, "dtype": array.dtype.str})
                file.write(np.ascontiguousarray(array).data)
            rows.append({"path": str(pair.path), "origin": asdict(pair.origin), "error": pair.error, "arrays": arrays})
    index = {"key": key, "pairs": rows, "skipped": skipped}
    with open(store / INDEX_FILE, "x", encoding="utf-8", opener=_private) as file:  # last: it vouches for the pixels
        json.dump(index, file)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _open(store: Path, key: str) -> Collection | None:
    try:
        index = json.loads((store / INDEX_FILE).read_text(encoding="utf-8"))
        if index["key"] != key:
            return None
        pixels = np.memmap(store / PIXELS_FILE, np.uint8, "r")
        pairs = [_pair(row, pixels) for row in index["pairs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Collection(tuple(pairs), tuple(index["skipped"]))


def _pair(row: dict[str, Any], pixels: NDArray[np.uint8]) -> Pair:
    high, *lows, hardness = (_array(facts, pixels) for facts in row["arrays"])
    return Pair(Path(row["path"]), Origin(**row["origin"]), high, tuple(lows), row["error"], hardness)


def _array(facts: dict[str, Any], pixels: NDArray[np.uint8]) -> NDArray[Any]:
    dtype, shape = np.dtype(facts["dtype"]), tuple(facts["shape"])
    length = dtype.itemsize * int(np.prod(shape))
    # A plain view of the map: numpy's own class of mapped arrays is slow to slice.
    flat = np.asarray(pixels)[facts["offset"] : facts["offset"] + length]
    array: NDArray[Any] = flat.view(dtype).reshape(shape)
    return array

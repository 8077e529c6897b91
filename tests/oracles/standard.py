"""Attribute tables of the standard, as highdicom brings them: what an object must hold and may hold."""

import importlib.util
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

RETIRED = {
    "1.2.840.10008.5.1.4.1.1.3": "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.6": "1.2.840.10008.5.1.4.1.1.6.1",
}
"""Storage classes that the tables have no more, and what came after them: older ultrasound, cines too."""

SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"

CONDITIONAL_GROUPS = frozenset({"ConversionSourceAttributesSequence"})
"""Functional groups of one attribute of type 1, of which the tables do not say that they are conditional (A.70.4)."""

Place = tuple[str, ...]
"""Keywords from the data set down to an attribute."""


class Standard:
    """Modules and attributes of every object definition (PS3.3, annex A and C; PS3.4, B.5).

    Parameters
    ----------
    folder : Path
        With `sop_class_iod_map.json`, `iod_module_map.json` and `module_attribute_map.json`.
    """

    def __init__(self, folder: Path) -> None:
        self._objects, self._modules, self._attributes = (
            json.loads((folder / f"{name}.json").read_text())
            for name in ("sop_class_iod_map", "iod_module_map", "module_attribute_map")
        )

    @classmethod
    def of_highdicom(cls) -> "Standard":
        """From the tables inside the highdicom package, which need not be imported; skips without it."""
        package = importlib.util.find_spec("highdicom")
        if package is None or not package.origin:
            pytest.skip("highdicom is not installed (pip install 'lightsr[oracles]')")
        return cls(Path(package.origin).parent / "_standard")

    def missing(self, dataset: Any) -> Counter[str]:
        """Attributes of type 1 or 2 that are not there, of type 1 or 1C that are empty; how often each.

        A module that is not mandatory counts as there when an attribute is that no
        mandatory module has.
        """
        found: Counter[str] = Counter()
        for module, entries in self._present(dataset):
            by_path: dict[Place, list[dict[str, Any]]] = defaultdict(list)
            for entry in entries:
                by_path[tuple(entry["path"])].append(entry)
            for path, expected in by_path.items():
                if path == (SHARED,):  # what may be shared may be of each frame: see there
                    continue
                for item in _frames(dataset) if path == (PER_FRAME,) else _items(dataset, path):
                    elements = _by_keyword(item)
                    for entry in expected:
                        if path == (PER_FRAME,) and entry["keyword"] in CONDITIONAL_GROUPS:
                            continue
                        problem = _problem(elements.get(entry["keyword"]), entry["type"])
                        if problem:
                            place = "/".join([*path, entry["keyword"]])
                            found[f"{place} (type {entry['type']}, {module}) {problem}"] += 1
        return found

    def _present(self, dataset: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        modules = self._modules_of(dataset)
        roots = {
            module["key"]: {entry["keyword"] for entry in self._attributes[module["key"]] if not entry["path"]}
            for module in modules
        }
        always = set().union(*(roots[module["key"]] for module in modules if module["usage"] == "M"))
        there = _by_keyword(dataset).keys()
        for module in modules:
            if module["usage"] == "M" or (roots[module["key"]] - always) & there:
                yield module["key"], self._attributes[module["key"]]

    def foreign(self, source: Any, result: Any) -> list[str]:
        """Attributes that the result has, its source has not, and its object definition does not know."""
        known = {
            (*entry["path"], entry["keyword"])
            for module in self._modules_of(result)
            for entry in self._attributes[module["key"]]
        }
        return ["/".join(place) for place in sorted(places(result) - places(source) - known)]

    def _modules_of(self, dataset: Any) -> Any:
        uid = str(dataset.SOPClassUID)
        return self._modules[self._objects[RETIRED.get(uid, uid)]]


def places(dataset: Any, above: Place = ()) -> set[Place]:
    """Where a data set and the items in it have attributes."""
    found: set[Place] = set()
    for element in dataset:
        here = (*above, element.keyword or str(element.tag))
        found.add(here)
        if element.VR == "SQ":
            for item in element.value or []:
                found |= places(item, here)
    return found


def _items(dataset: Any, path: Place) -> Iterator[Any]:
    if not path:
        yield dataset
    elif path[0] in dataset and dataset[path[0]].VR == "SQ":
        for item in dataset[path[0]].value or []:
            yield from _items(item, path[1:])


def _frames(dataset: Any) -> Iterator[Any]:
    """Functional groups that hold for each frame, its own and the shared ones (C.7.6.16.1.1)."""
    shared = list(dataset.get(SHARED) or [])
    for own in dataset.get(PER_FRAME) or []:
        yield [element for item in (*shared, own) for element in item]


def _by_keyword(dataset: Any) -> dict[str, Any]:
    """Elements by keyword; pydicom itself finds those of repeating groups (60xx) by number only."""
    return {element.keyword: element for element in dataset}


def _problem(element: Any, kind: str) -> str:
    """What is wrong with an attribute of type `kind` (PS3.5, 7.4)."""
    if element is None:
        return "missing" if kind in ("1", "2") else ""
    empty = len(element.value or []) == 0 if element.VR == "SQ" else element.is_empty
    return "empty" if empty and kind in ("1", "1C") else ""

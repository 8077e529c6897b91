"""Schemas of what the commands give as JSON; `python -m tests.schemas` makes the tables of docs/json.md of them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[1]

FOLDER = ROOT / "docs" / "schemas"

PAGE = ROOT / "docs" / "json.md"

PLACE = re.compile(r"(<!-- schema (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

NAMES = sorted(path.name.removesuffix(".schema.json") for path in FOLDER.glob("*.schema.json"))


def schema(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))


def problems(content: Any, name: str) -> list[str]:
    """What differs from a schema; nothing where `content` fits."""
    found = Draft202012Validator(schema(name)).iter_errors(content)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]


def fit(lines: str, name: str) -> list[dict[str, Any]]:
    """JSON lines, each of which fits a schema."""
    content = [json.loads(line) for line in lines.splitlines()]
    assert content
    assert [problem for entry in content for problem in problems(entry, name)] == []
    return content


def rows(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, type and meaning of everything inside an object."""
    for key, value in node.get("properties", {}).items():
        inner, here = value, f"{path}{key}"
        yield here, kind(value), value.get("description", "")
        while True:
            if "items" in inner:
                inner, here = inner["items"], f"{here}[]"
            elif isinstance(inner.get("additionalProperties"), dict):
                inner, here = inner["additionalProperties"], f"{here}.*"
            else:
                break
        yield from rows(inner, f"{here}.")


def kind(node: dict[str, Any]) -> str:
    """Type of a value, in words."""
    if "const" in node:
        return f"`{json.dumps(node['const'])}`"
    if "enum" in node:
        return ", ".join(f"`{json.dumps(value)}`" for value in node["enum"])
    types = node.get("type", "any")
    types = types if isinstance(types, list) else [types]
    if "array" in types:
        types = [f"list of {kind(node['items'])}" if name == "array" else name for name in types]
    elif isinstance(node.get("additionalProperties"), dict):
        types = [f"object of {kind(node['additionalProperties'])}"]
    return " or ".join(types)


def table(name: str) -> str:
    lines = ["| key | type | |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| `{key}` | {what} | {meaning} |" for key, what, meaning in rows(schema(name)))])


def renewed(page: str) -> str:
    """The page with the tables of the schemas as they are."""
    return PLACE.sub(lambda match: f"{match[1]}\n{table(match['name'])}\n\n{match[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

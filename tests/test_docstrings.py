"""Docstrings say what a caller must know of arrays and errors: shapes, dtypes, what is raised.

Judged are the public functions of the four packages, and of their public classes the public methods, properties and
`__call__`; a class itself where its fields or the parameters of its `__init__` hold arrays, or its `__init__` or
`__post_init__` raises. Nobody calls a nested function, and a method that overrides one of a class of ours has the
docstring of that.

- Shape: whoever takes or gives an array (`ndarray`, `NDArray`, `Tensor`) says its shape, in the entry of that name
  where a section has one, else anywhere: "shape (h, w)", "(n, 1, h, w)", "any shape", "a scalar".
- Dtype: of a numpy array the annotation names it, or else the docstring does: "uint8", "any real dtype", "dtype of
  `image`". Tensors have the dtype of their network.
- Errors: whoever raises an error itself, and does not catch it, names it or a class that it is derived from under
  "Raises", or says in the summary that it raises or refuses something.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PACKAGES = ["runtime/lightsr", "train/lightsr_train", "export/lightsr_export", "benchmarks/lightsr_bench"]

ARRAY = re.compile(r"\b(NDArray|ndarray|Tensor)\b")

UNTYPED = re.compile(r"\bndarray\b|\bNDArray\b(?!\[np\.(?!generic)\w+\])")
"""A numpy array whose annotation does not name its dtype."""

AXIS = r"(?:n|h|w|k|rows|columns|channels|filters|inputs|outputs|batch|scale)"

SHAPE = re.compile(rf"\bshapes?\b|\bscalar\b|\((?:[^()]*[ ,])?{AXIS}(?: [^(),]*)?,[^()]*\)|\([^()]*, {AXIS}\)")
"""Words for it, or axes in parentheses."""

DTYPE = re.compile(r"\b(bool|u?int(8|16|32|64)|float(32|64)|dtypes?|types?|DTYPES|a scalar)\b")

REFUSES = re.compile(r"\b(raise|refuse)s?\b", re.IGNORECASE)

SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)


@dataclass(frozen=True)
class Public:
    """A function or class: where it is, what it says, the annotations of what it takes and gives, what it raises."""

    name: str
    doc: str
    takes: dict[str, str]
    gives: str
    raises: frozenset[str]


@cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    """Path and syntax tree of every module."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return tuple((path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


@cache
def classes() -> dict[str, ast.ClassDef]:
    """Classes of all modules by name."""
    return {node.name: node for _, tree in trees() for node in tree.body if isinstance(node, ast.ClassDef)}


@cache
def lineage(name: str) -> frozenset[str]:
    """Names of a class and of those that it is derived from, as far as the packages tell."""
    node = classes().get(name)
    return frozenset({name}.union(*(lineage(last_name(base)) for base in node.bases) if node else ()))


@cache
def makers_of_errors() -> dict[str, str]:
    """Functions that give an error to be raised, and the error's name."""
    bodies = [tree.body for _, tree in trees()] + [node.body for node in classes().values()]
    functions = (node for body in bodies for node in body if isinstance(node, ast.FunctionDef))
    found = {node.name: last_name(node.returns) for node in functions if node.returns}
    return {name: error for name, error in found.items() if error.endswith("Error")}


def last_name(expression: ast.expr) -> str:
    """`ModelError` of `errors.ModelError("text")`, `Network` of `Network[int]`."""
    while isinstance(expression, ast.Call | ast.Subscript):
        expression = expression.func if isinstance(expression, ast.Call) else expression.value
    return expression.attr if isinstance(expression, ast.Attribute) else ast.unparse(expression)


def raised(body: Iterable[ast.AST]) -> Iterator[str]:
    """Names of the errors that statements raise, without those that they catch."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise):
            name = last_name(node.exc) if node.exc else ""
            name = makers_of_errors().get(name, name)
            if name.endswith("Error"):
                yield name
        elif isinstance(node, ast.Try):
            caught = {name for handler in node.handlers for name in caught_by(handler)}
            yield from (name for name in raised(node.body) if not lineage(name) & caught)
            yield from raised((*node.handlers, *node.orelse, *node.finalbody))
        else:
            yield from raised(ast.iter_child_nodes(node))


def caught_by(handler: ast.ExceptHandler) -> list[str]:
    """Names of what a handler catches and does not raise again."""
    again = any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler))
    if handler.type is None or again:
        return []
    return [last_name(kind) for kind in getattr(handler.type, "elts", [handler.type])]


def is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__call__"


def annotations(function: ast.FunctionDef) -> dict[str, str]:
    named = (node for node in ast.walk(function.args) if isinstance(node, ast.arg) and node.annotation)
    return {node.arg: ast.unparse(node.annotation) for node in named if node.annotation}


def of_function(function: ast.FunctionDef, prefix: str) -> Public:
    doc = ast.get_docstring(function) or ""
    gives = ast.unparse(function.returns) if function.returns else ""
    return Public(prefix + function.name, doc, annotations(function), gives, frozenset(raised(function.body)))


def of_class(owner: ast.ClassDef, prefix: str) -> Iterator[Public]:
    """The class, and what is public in it and its own."""
    takes: dict[str, str] = {}
    raises: set[str] = set()
    inherited = {
        node.name
        for base in frozenset().union(*(lineage(last_name(base)) for base in owner.bases))
        for node in getattr(classes().get(base), "body", ())
        if isinstance(node, ast.FunctionDef)
    }
    for node in owner.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and is_public(node.target.id):
            takes[node.target.id] = ast.unparse(node.annotation)
        elif isinstance(node, ast.FunctionDef) and node.name in ("__init__", "__post_init__"):
            takes |= annotations(node)
            raises.update(raised(node.body))
        elif isinstance(node, ast.FunctionDef) and is_public(node.name) and node.name not in inherited:
            yield of_function(node, f"{prefix}{owner.name}.")
    yield Public(prefix + owner.name, ast.get_docstring(owner) or "", takes, "", frozenset(raises))


def public(path: str, tree: ast.Module) -> Iterator[Public]:
    """What is public in a module."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            yield from of_class(node, f"{path}: ")
        elif isinstance(node, ast.FunctionDef) and is_public(node.name):
            yield of_function(node, f"{path}: ")


def sections(doc: str) -> dict[str, str]:
    """Text of every numpydoc section, "" for what stands before them."""
    parts = SECTION.split(doc)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entry(doc: str, name: str) -> str:
    """What a section says of a parameter, the whole docstring where none does."""
    for text in sections(doc).values():
        for block in re.split(r"\n(?=\S)", text):
            names, colon, _ = block.strip().partition(" : ")
            if colon and name in names.split(", "):
                return block
    return doc


def lacking(one: Public) -> set[str]:
    """What a docstring does not say."""
    parts = sections(one.doc)
    told = [(entry(one.doc, name), annotation) for name, annotation in one.takes.items()]
    told.append((parts.get("Returns", parts.get("Yields", one.doc)), one.gives))
    found = set()
    for text, annotation in told:
        if ARRAY.search(annotation) and not SHAPE.search(text):
            found.add("shape")
        if UNTYPED.search(annotation) and not DTYPE.search(text):
            found.add("dtype")
    if not REFUSES.search(one.doc.partition("\n\n")[0]):
        named = set(re.findall(r"\w+", parts.get("Raises", "")))
        found |= {error for error in one.raises if not lineage(error) & named}
    return found


def test_docstrings_say_shapes_dtypes_and_errors() -> None:
    everything = [one for path, tree in trees() for one in public(path, tree)]
    assert len(everything) > 800
    assert {one.name: found for one in everything if (found := lacking(one))} == {}


def documented(signature: str, doc: str, *body: str) -> str:
    """Source of a function or class with a docstring."""
    return "\n    ".join([signature, f'"""{doc}"""', *body])


TAKES = "def f(x: Tensor) -> int:"
TAKES_ANY = "def f(x: NDArray[Any]) -> int:"
RAISES = "Read.\n\n    Raises\n    ------\n    "


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (documented(TAKES, "Of a picture."), {"shape"}),
        (documented(TAKES, "Of a picture (a CT, say, or an MR)."), {"shape"}),
        (documented(TAKES, "Of a picture (n, 1, h, w)."), set()),
        (documented(TAKES, "Its shape.\n\n    Parameters\n    ----------\n    x : Tensor\n    "), {"shape"}),
        (documented("def f(x: NDArray[np.uint8]):", "Of a picture, shape (h, w)."), set()),
        (documented(TAKES_ANY, "Of a picture, shape (h, w)."), {"dtype"}),
        (documented(TAKES_ANY, "Of a picture, shape (h, w), any real dtype."), set()),
        (documented("def f() -> list[NDArray[np.uint8]]:", "Pictures."), {"shape"}),
        (documented("def f() -> tuple[NDArray[np.uint8], NDArray[Any]]:", "Two of shape (h, w)."), {"dtype"}),
        (documented("def f():", "Read.\n\n    It raises.", "raise ValueError"), {"ValueError"}),
        (documented("def f():", "Refuse what is not there.", "raise ValueError"), set()),
        (documented("def f():", RAISES + "OSError", "raise ValueError"), {"ValueError"}),
        (documented("def f():", RAISES + "LightsrError", "raise PackageError"), set()),
        (documented("def f():", RAISES + "PackageError", "raise LightsrError"), {"LightsrError"}),
        (documented("def f(self):", "Read.", "raise self._ends_early()"), {"ImageError"}),
        (documented("def f():", "Read.", "try:", "    raise OSError", "except OSError:", "    pass"), set()),
        (documented("def f():", "Read.", "try:", "    raise OSError", "except OSError:", "    raise"), {"OSError"}),
        (documented("def f():", "Read.", "def g():", "    raise ValueError"), set()),
        (documented("class A:", "Of a picture.", "x: Tensor"), {"shape"}),
        (documented("class A:", "A file.", "def __init__(self):", "    raise ValueError"), {"ValueError"}),
        (documented("class A(nn.Module):", "A network.", "def forward(self, lr: Tensor): ..."), {"shape"}),
        (documented("class A(LightDense):", "A network.", "def forward(self, lr: Tensor): ..."), set()),
    ],
)
def test_what_is_lacking_is_seen(source: str, expected: set[str]) -> None:
    assert set().union(*map(lacking, public("", ast.parse(source)))) == expected

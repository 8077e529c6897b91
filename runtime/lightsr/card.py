"""The card that every lightsr model carries, and its golden self-test."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from lightsr.errors import ModelError

FORMAT = 1
"""Version of the card; a runtime refuses a newer one."""

MAX_TEXT = 32
"""Characters of a text on a card."""

PREFIX = "lightsr."
"""Start of the card's keys in ``metadata_props``."""

MAX_SCALE, MAX_HALO_PX, MAX_ALIGNMENT_PX = 16, 512, 64
"""Bounds within which a card is believed."""

GOLDEN_STRIDE = 7
"""Every so many values of the golden output are stored for fp32; prime, so that all phases are met."""

GOLDEN_STEP = 1 / 64
"""Rounding step under which the golden output of int8 is digested, in units of the input range."""

MAX_TOLERANCE = 0.1
"""Largest tolerance of a golden output, in units of the input range; with more it would show nothing."""

Precision = Literal["fp32", "int8"]

Intensity = Literal["any", "unit"]
"""What a model expects of its input: any unit and range, or values in [0, 1]."""


@dataclass(frozen=True)
class Golden:
    """A seeded input and what the model must make of it.

    Parameters
    ----------
    seed : int
    shape : (int, int)
        Rows and columns of the input.
    values : tuple of float
        fp32: every `GOLDEN_STRIDE`-th output value.
    tolerance : float
        fp32: largest difference allowed.
    digest : str
        int8: sha256 of the output rounded to multiples of `GOLDEN_STEP`.
    """

    seed: int
    shape: tuple[int, int]
    values: tuple[float, ...] = ()
    tolerance: float = 0.0
    digest: str = ""

    def input(self) -> NDArray[np.float32]:
        """The input, shape (1, 1, h, w), float32: multiples of 1/256 in [0, 1)."""
        return golden_input(self.seed, self.shape)

    def agrees(self, output: NDArray[np.float32]) -> bool:
        """Whether `output`, shape (1, 1, s * h, s * w), is what the model gave when it was exported."""
        if self.digest:
            return golden_digest(output) == self.digest
        values = output.reshape(-1)[::GOLDEN_STRIDE]
        expected = np.asarray(self.values, dtype=np.float64)
        return values.shape == expected.shape and bool(np.all(np.abs(values - expected) <= self.tolerance))


def golden_input(seed: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Blocks with fine grain, from a hash: the same on every machine and numpy version.

    >>> golden_input(1, (4, 4)).shape
    (1, 1, 4, 4)
    """
    rows, columns = shape
    stream = hashlib.shake_256(f"lightsr golden {seed}".encode()).digest(2 * rows * columns)
    grain, blocks = np.frombuffer(stream, np.uint8).reshape(2, rows, columns)
    coarse = blocks[::4, ::4].repeat(4, 0).repeat(4, 1)[:rows, :columns]
    levels = coarse.astype(np.uint16) * 3 // 4 + grain // 4
    return (levels / np.float32(256)).astype(np.float32)[None, None]


def golden_digest(output: NDArray[np.float32]) -> str:
    """sha256, in hexadecimal, of an output of any shape, rounded to multiples of `GOLDEN_STEP` (as int32)."""
    return hashlib.sha256(np.rint(output / GOLDEN_STEP).astype("<i4").tobytes()).hexdigest()


def check_name(name: str) -> None:
    """Refuse a model's name that is not fit for a file's name and for a derived image.

    Raises
    ------
    ModelError
        It is not 1 to 32 letters, digits, dots, dashes and underscores, a letter or digit first.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", name):
        raise ModelError(
            f"model name {name[:MAX_TEXT]!a}: 1 to {MAX_TEXT} letters, digits, '.', '-' and '_', "
            "a letter or digit first, are allowed"
        )


def _refuse_constant(name: str) -> Any:
    """NaN and the infinities are no JSON."""
    raise ValueError(name)


@dataclass(frozen=True)
class ModelCard:
    """What a model is, needs and was made from.

    Parameters
    ----------
    name : str
    scale : int
    precision : {"fp32", "int8"}
    halo_px : int
        Low-resolution pixels around a tile that its result depends on.
    alignment_px : int
        Tiles start, and their sides are, multiples of it.
    intensity : {"any", "unit"}
        "unit": the runtime maps every file's own range to [0, 1] and back.
    consistency : float
        Share lambda of the measured residual that the last step gives back.
    degradations : tuple of str
        What it was trained to undo.
    sources : list of dict
        Training collections with modality, licence and image count.
    checkpoint_sha256 : str
    parameters : int
        Learned numbers of the trained network.
    metrics : dict
        What was measured at export.
    float_parts : tuple of str
        int8: parts that stay in float.
    golden : Golden
    """

    name: str
    scale: int
    precision: Precision
    halo_px: int
    alignment_px: int
    intensity: Intensity
    consistency: float
    degradations: tuple[str, ...]
    sources: list[dict[str, Any]]
    checkpoint_sha256: str
    parameters: int
    metrics: dict[str, Any]
    golden: Golden
    float_parts: tuple[str, ...] = field(default=())

    def to_metadata(self) -> dict[str, str]:
        """The card as ``metadata_props``: every value is JSON."""
        golden: dict[str, Any] = {"seed": self.golden.seed, "shape": self.golden.shape}
        if self.golden.digest:
            golden["digest"] = self.golden.digest
        else:
            golden |= {"values": self.golden.values, "tolerance": self.golden.tolerance}
        fields: dict[str, Any] = {
            "format": FORMAT,
            "name": self.name,
            "scale": self.scale,
            "precision": self.precision,
            "halo": self.halo_px,
            "alignment": self.alignment_px,
            "intensity": self.intensity,
            "consistency": self.consistency,
            "degradations": self.degradations,
            "sources": self.sources,
            "checkpoint": self.checkpoint_sha256,
            "parameters": self.parameters,
            "metrics": self.metrics,
            "float_parts": self.float_parts,
            "golden": golden,
        }
        return {PREFIX + key: json.dumps(value) for key, value in fields.items()}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> "ModelCard":
        """Read a card from ``metadata_props``.

        Raises
        ------
        ModelError
            No card, one of a newer format, or one with values out of bounds.
        """
        try:
            found = {
                key[len(PREFIX) :]: json.loads(value, parse_constant=_refuse_constant)
                for key, value in metadata.items()
                if key.startswith(PREFIX)
            }
        except (ValueError, RecursionError) as error:
            raise ModelError("its card is damaged") from error
        if not found:
            raise ModelError("has no lightsr card; lightsr-export writes models with one")
        if found.get("format") != FORMAT:
            raise ModelError(
                f"its card has format {found.get('format')!r}; this version reads {FORMAT}; "
                "install the lightsr that exported it, or export it again"
            )
        try:
            card = cls._from_fields(found)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelError("its card is incomplete or damaged; export it again") from error
        card._check()
        return card

    @classmethod
    def _from_fields(cls, found: dict[str, Any]) -> "ModelCard":
        golden = found["golden"]
        rows, columns = golden["shape"]
        return cls(
            name=str(found["name"]),
            scale=int(found["scale"]),
            precision=cast(Precision, found["precision"]),
            halo_px=int(found["halo"]),
            alignment_px=int(found["alignment"]),
            intensity=cast(Intensity, found["intensity"]),
            consistency=float(found["consistency"]),
            degradations=tuple(map(str, found["degradations"])),
            sources=list(found["sources"]),
            checkpoint_sha256=str(found["checkpoint"]),
            parameters=int(found["parameters"]),
            metrics=dict(found["metrics"]),
            golden=Golden(
                seed=int(golden["seed"]),
                shape=(int(rows), int(columns)),
                values=tuple(map(float, golden.get("values", ()))),
                tolerance=float(golden.get("tolerance", 0.0)),
                digest=str(golden.get("digest", "")),
            ),
            float_parts=tuple(map(str, found["float_parts"])),
        )

    def _check(self) -> None:
        bounds = (
            ("scale", self.scale, 2, MAX_SCALE),
            ("halo", self.halo_px, 0, MAX_HALO_PX),
            ("alignment", self.alignment_px, 1, MAX_ALIGNMENT_PX),
            ("golden rows", self.golden.shape[0], 1, 256),
            ("golden columns", self.golden.shape[1], 1, 256),
        )
        for what, value, low, high in bounds:
            if not low <= value <= high:
                raise ModelError(f"its card says {what} {value}; {low} to {high} is allowed")
        check_name(self.name)
        texts = (*self.degradations, *self.float_parts)
        if not all(0 < len(text) <= MAX_TEXT and text.isprintable() for text in texts):
            raise ModelError(f"its card holds text that is empty, longer than {MAX_TEXT} or not printable")
        if self.precision not in ("fp32", "int8") or self.intensity not in ("any", "unit"):
            raise ModelError(f"its card says precision {self.precision!r}, intensity {self.intensity!r}")
        if self.halo_px % self.alignment_px:
            raise ModelError(f"its card says halo {self.halo_px}, no multiple of alignment {self.alignment_px}")
        if not (self.golden.digest or self.golden.values):
            raise ModelError("its card has no golden self-test")
        if not (self.golden.digest or 0 <= self.golden.tolerance <= MAX_TOLERANCE):
            raise ModelError(
                f"its card allows its self-test to be wrong by {self.golden.tolerance:g}; {MAX_TOLERANCE} is allowed"
            )

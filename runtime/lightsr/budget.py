"""Memory as a budget: from a number of bytes to the tiles that keep within it."""

import itertools
import re
from dataclasses import dataclass

from lightsr.card import Precision
from lightsr.errors import MemoryLimitError
from lightsr.memory import available_bytes

FLOOR_BYTES = 72 * 2**20
"""Interpreter, numpy, onnxruntime and a bundled model, before the first tile.

Measured: 61 to 63 MiB on x86-64 Linux with CPython 3.11, numpy 2.4, onnxruntime 1.32.
"""

BYTES_A_CHANNEL: dict[Precision, float] = {"fp32": 9.0, "int8": 4.0}
"""Bytes that onnxruntime holds for a pixel of a tile and a channel of the model's convolutions.

Measured on the bundled models: 5.2 to 7.9 in fp32, 2.1 to 3.3 in int8 (`tests/runtime/test_budget.py`).
"""

RESULT_COPIES = 3
"""Float copies of a tile's result, as it is brought back to the picture's unit, rounded and counted."""

WINDOWS, BANDS = 4, 2
"""Rows that wait for their context, and bands of the result, that are there at once.

The next ones are read and enlarged while the last ones are used; the others are one whose padding is filled, and one
that is inverted.
"""

LEAST_TILE_PX = 16
"""Smallest side of a tile, and the step in which sides are tried."""

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}
UNITS |= {name: 2 ** (10 * power) for power, letter in enumerate("kmg", 1) for name in (letter, f"{letter}ib")}
"""Bytes of a unit, in lower case: K and KiB are 1024 as everywhere in memory limits, KB is 1000."""


LEAST_DEFAULT_BYTES = 192 * 2**20
"""A limit that nobody chose is no lower: on a device whose memory is full, that is better tried than refused."""


def default_limit() -> int | None:
    """Limit where none is chosen: a quarter of the memory available, None where nothing tells how much that is."""
    available = available_bytes()
    return None if available is None else max(available // 4, LEAST_DEFAULT_BYTES)


def parse_size(size: str | int) -> int:
    """Bytes of a size such as ``256M``.

    Parameters
    ----------
    size : str or int
        A number above 0, and optionally B, K, M, G or KiB, MiB, GiB (1024), KB, MB, GB (1000), in either
        case. An int is a number of bytes.

    Raises
    ------
    ValueError
        Something else.

    >>> parse_size("256M"), parse_size("1.5 GiB"), parse_size("300 MB")
    (268435456, 1610612736, 300000000)
    """
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)", str(size).strip(), re.ASCII)
    unit = UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None or isinstance(size, bool) or float(found[1]) * unit < 1:
        raise ValueError(f"size {str(size)[:40]!a}; a number above 0 with K, M or G is needed, such as 256M")
    return int(float(found[1]) * unit)


@dataclass(frozen=True)
class Budget:
    """How much memory a process that does only this may have at its peak, and what its tiles cost.

    It covers the interpreter, numpy, onnxruntime, the model, one tile and, in
    `lightsr.Upscaler.bands`, the rows that wait for their context and two bands of the
    result. It does not cover what belongs to the caller: arrays that he made, the result of a
    whole picture, other libraries.

    Parameters
    ----------
    total : int
        Bytes.
    scale : int
        Enlargement.
    halo_px : int
        Low-resolution pixels around a tile.
    channels : int
        Maps that all convolutions together compute.
    precision : {"fp32", "int8"}

    Raises
    ------
    ValueError
        `total` is less than the model needs with its smallest tile.
    """

    total: int
    scale: int
    halo_px: int
    channels: int
    precision: Precision

    def __post_init__(self) -> None:
        least = FLOOR_BYTES + self._tile_bytes(LEAST_TILE_PX, LEAST_TILE_PX, 1)
        if self.total < least:
            raise ValueError(f"max_memory is {shown(self.total)}; this model needs at least {shown(least)}")

    def tile(
        self, columns: int, *, samples: int, item_bytes: int, most: int, beside: int = 0, mask_bytes: int = 0
    ) -> tuple[int, int]:
        """Rows and columns of the tiles, the pair that computes least beside the tiles' cores.

        Parameters
        ----------
        columns : int
            Of the picture.
        samples : int
            Values of a pixel: 1 or 3.
        item_bytes : int
            Of a value.
        most : int
            Largest side.
        beside : int
            Bytes that must be left for others.
        mask_bytes : int
            What rows that wait have beside their values, of a pixel: 1 where padding is looked for.

        Raises
        ------
        MemoryLimitError
            Not even the smallest bands fit.
        """

        def peak(tile: tuple[int, int]) -> int:
            found = self.peak_bytes(tile, columns, samples=samples, item_bytes=item_bytes, mask_bytes=mask_bytes)
            return beside + found

        sides = range(LEAST_TILE_PX, max(most, LEAST_TILE_PX) + 1, LEAST_TILE_PX)
        largest = sides[-1], sides[-1]
        if peak(largest) <= self.total:
            return largest
        fitting = [tile for tile in itertools.product(sides, sides) if peak(tile) <= self.total]
        if not fitting:
            least = peak((LEAST_TILE_PX, LEAST_TILE_PX))
            raise MemoryLimitError(
                f"max_memory is {shown(self.total)}; a picture of {columns} columns needs at least {shown(least)}",
                allowed=self.total,
                needed=least,
            )
        return min(fitting, key=self._overhead)

    def peak_bytes(
        self, tile: tuple[int, int], columns: int, *, samples: int, item_bytes: int, mask_bytes: int = 0
    ) -> int:
        """Bytes of a process that enlarges a picture band by band, parameters as those of `tile`."""
        rows, across = tile
        values = samples * item_bytes
        waiting = WINDOWS * (rows + 2 * self.halo_px) * (values + mask_bytes)
        band = BANDS * rows * self.scale**2 * values
        return FLOOR_BYTES + self._tile_bytes(rows, across, samples) + (waiting + band) * columns

    def _overhead(self, tile: tuple[int, int]) -> tuple[float, int]:
        """Pixels computed for a pixel of the core, and the smaller tile first where that is equal."""
        (rows, across), around = tile, 2 * self.halo_px
        return (rows + around) * (across + around) / (rows * across), rows

    def _tile_bytes(self, rows: int, across: int, samples: int) -> int:
        around = 2 * self.halo_px
        network = BYTES_A_CHANNEL[self.precision] * self.channels + 16
        result = 4 * RESULT_COPIES * samples * self.scale**2
        return int((rows + around) * (across + around) * (network + result))


def shown(size: int) -> str:
    """Size in MiB, rounded up, as `parse_size` reads it.

    >>> shown(2**20 + 1)
    '2M'
    """
    return f"{-(-size // 2**20)}M"

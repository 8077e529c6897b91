"""Fixed-size tiles over a picture that goes on beyond its edges.

The picture is extended by edge replication without end; a result is defined as what
the network makes of that. A tile with a halo as wide as the network sees therefore
gives the same values whatever the tile's size, and the whole picture is one tile.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tile:
    """One tile: the core that it contributes, in low-resolution pixels.

    Parameters
    ----------
    top, left : int
        First row and column of the core.
    rows, columns : int
        Size of the part of the core that lies inside the picture.
    """

    top: int
    left: int
    rows: int
    columns: int


@dataclass(frozen=True)
class TilePlan:
    """How a picture is cut: all tiles are read with one shape.

    Parameters
    ----------
    rows, columns : int
        Size of the picture.
    core_rows, core_columns : int
        Size of a tile's core, multiples of the model's alignment.
    halo : int
        Pixels read around the core on each side, a multiple of the alignment.
    """

    rows: int
    columns: int
    core_rows: int
    core_columns: int
    halo: int

    @classmethod
    def for_picture(
        cls, shape: tuple[int, int], *, tile: int | tuple[int, int], halo: int, alignment: int
    ) -> "TilePlan":
        """Plan tiles of at most about `tile` pixels a side.

        The picture is divided into as few tiles as possible and these are made alike,
        so that little is computed beyond the picture's end.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns of the picture.
        tile : int or (int, int)
            Largest side of a core, or largest rows and columns; rounded down to the alignment,
            but at least that.
        halo, alignment : int

        >>> TilePlan.for_picture((300, 100), tile=256, halo=8, alignment=2)
        TilePlan(rows=300, columns=100, core_rows=150, core_columns=100, halo=8)
        """
        tiles = (tile, tile) if isinstance(tile, int) else tile

        def core(length: int, most: int) -> int:
            limit = max(alignment, most // alignment * alignment)
            count = -(-length // limit)
            return -(-length // (count * alignment)) * alignment

        rows, columns = shape
        return cls(rows, columns, core(rows, tiles[0]), core(columns, tiles[1]), halo)

    @property
    def read_shape(self) -> tuple[int, int]:
        """Rows and columns of every array that `pick` and `read` return."""
        return self.core_rows + 2 * self.halo, self.core_columns + 2 * self.halo

    def __iter__(self) -> Iterator[Tile]:
        for top in range(0, self.rows, self.core_rows):
            yield from self.across(top)

    def across(self, top: int) -> Iterator[Tile]:
        """Tiles of the band whose first row is `top`, from left to right."""
        rows = min(self.core_rows, self.rows - top)
        for left in range(0, self.columns, self.core_columns):
            yield Tile(top, left, rows, min(self.core_columns, self.columns - left))

    def pick(self, window: NDArray[Any], tile: Tile, *, first: int = 0) -> NDArray[Any]:
        """Core and halo of a tile in the picture's own dtype; edges replicated.

        Parameters
        ----------
        window : ndarray, shape (n, columns, ...), any dtype
            The picture, or those of its rows that the tile and its halo touch.
        tile : Tile
        first : int
            Row of the picture that is the window's first.

        Returns
        -------
        ndarray, shape (*`read_shape`, ...), dtype of `window`
            A copy.
        """
        height, width = self.read_shape
        rows = np.clip(np.arange(height) + tile.top - self.halo, 0, self.rows - 1) - first
        columns = np.clip(np.arange(width) + tile.left - self.halo, 0, self.columns - 1)
        picked: NDArray[Any] = window[rows[:, None], columns]
        return picked

    def read(self, picture: NDArray[Any], tile: Tile) -> NDArray[np.float32]:
        """Core and halo of a tile, shape `read_shape`, float32; edges replicated."""
        return self.pick(picture, tile).astype(np.float32)

    def core(self, result: NDArray[np.float32], tile: Tile, scale: int) -> NDArray[np.float32]:
        """Part of an enlarged tile that belongs to its core and lies inside the picture, a view.

        Parameters
        ----------
        result : ndarray, shape (scale * h, scale * w, ...), float32
            With (h, w) the plan's `read_shape`.
        tile : Tile
        scale : int

        Returns
        -------
        ndarray, shape (scale * `tile.rows`, scale * `tile.columns`, ...), float32
        """
        start = self.halo * scale
        return result[start : start + tile.rows * scale, start : start + tile.columns * scale]

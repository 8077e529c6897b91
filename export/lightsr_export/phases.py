"""Skip and consistency step on the grid of the network's blocks.

Between the trunk and the output lie linear maps only: the skip from the input, the sum,
and the consistency step ``sr + lambda * up(lr - down(sr))``. On the output's grid they are
convolutions with one channel, which processors run badly, and copies of the largest
pictures there are. Here a block of ``b * b`` output pixels is one pixel with as many
channels (the phases), so that all of it becomes a few small convolutions with many
channels, and one DepthToSpace at the very end. Nothing is approximated:

    sr       = skip(lr) + detail
    residual = lr - down(skip(lr)) - down(detail)        the first two are one convolution of lr
    result   = sr + lambda * up(residual)

A block has a row-major order of phases, as DepthToSpace reads them (mode CRD).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from lightsr.resample import downsampling_start, downsampling_taps, interpolation_phases
from lightsr_train.dimensions import SKIP_KERNEL_PX
from numpy.typing import NDArray
from torch import Tensor, nn

SKIP_REACH_PX = SKIP_KERNEL_PX // 2
"""Low-resolution pixels that the skip, and bicubic interpolation, reads on either side."""

RESIDUAL_REACH_PX = 2 * SKIP_REACH_PX
"""Low-resolution pixels that ``lr - down(skip(lr))`` reads on either side."""


def packed(weight: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """One convolution with stride `factor` for `factor` * `factor` neighbouring positions of another.

    Parameters
    ----------
    weight : ndarray, shape (p * p, channels, k, k)
        Of a convolution that gives p * p phases at every position.
    factor : int

    Returns
    -------
    ndarray, shape ((factor * p) ** 2, channels, k + factor - 1, k + factor - 1)
        Its filters are the phases of the larger block.

    >>> packed(np.ones((1, 1, 1, 1)), 2)[:, 0].astype(int).tolist()
    [[[1, 0], [0, 0]], [[0, 1], [0, 0]], [[0, 0], [1, 0]], [[0, 0], [0, 1]]]
    """
    filters, channels, k, _ = weight.shape
    p = math.isqrt(filters)
    side = k + factor - 1
    result = np.zeros((factor, p, factor, p, channels, side, side))
    split = weight.reshape(p, p, channels, k, k)
    for row in range(factor):
        for column in range(factor):
            result[row, :, column, :, :, row : row + k, column : column + k] = split
    return result.reshape((factor * p) ** 2, channels, side, side)


def on_coarser_grid(weight: Tensor, factor: int) -> Tensor:
    """A convolution to phases, for input that is still in the phases of a coarser grid.

    Parameters
    ----------
    weight : Tensor, shape (p * p, channels, k, k)
        Of a convolution with an odd k that gives p * p phases of every pixel.
    factor : int
        Pixels, along one axis, that a pixel of the coarser grid covers.

    Returns
    -------
    Tensor, shape ((factor * p) ** 2, channels * factor**2, 2 * r + 1, 2 * r + 1)
        It reads what DepthToSpace by `factor` would read, and gives the phases of the coarser pixel.
    """
    filters, channels, k, _ = weight.shape
    p, reach = math.isqrt(filters), k // 2
    coarse = -(-reach // factor)
    side = 2 * coarse + 1
    result = weight.new_zeros(factor, p, factor, p, channels, factor, factor, side, side)
    split = weight.reshape(p, p, channels, k, k)
    for a in range(factor):
        for i in range(k):
            top, row = divmod(a + i - reach, factor)
            for b in range(factor):
                for j in range(k):
                    left, column = divmod(b + j - reach, factor)
                    result[a, :, b, :, :, row, column, top + coarse, left + coarse] = split[:, :, :, i, j]
    return result.reshape((factor * p) ** 2, channels * factor**2, side, side)


def skip_residual(skip: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """The kernel of ``lr - down(skip(lr))``.

    Parameters
    ----------
    skip : ndarray, shape (scale * scale, 1, 5, 5)
        Phase filters that each sum to one.
    scale : int

    Returns
    -------
    ndarray, shape (1, 1, 9, 9)
        It sums to zero: a constant added to the picture changes nothing.
    """
    side = 2 * RESIDUAL_REACH_PX + 1
    kernel = np.zeros((side, side))
    taps, start = downsampling_taps(scale), downsampling_start(scale)
    phases = skip.reshape(scale, scale, SKIP_KERNEL_PX, SKIP_KERNEL_PX)
    for i, row_tap in enumerate(taps):
        for j, column_tap in enumerate(taps):
            (top, row), (left, column) = divmod(start + i, scale), divmod(start + j, scale)
            top, left = top + SKIP_REACH_PX, left + SKIP_REACH_PX
            if row_tap and column_tap:
                rows, columns = slice(top, top + SKIP_KERNEL_PX), slice(left, left + SKIP_KERNEL_PX)
                kernel[rows, columns] -= row_tap * column_tap * phases[row, column]
    kernel[RESIDUAL_REACH_PX, RESIDUAL_REACH_PX] += 1
    return kernel[None, None]


def reduction(scale: int, block: int) -> NDArray[np.float64]:
    """`down` along one axis, from phases to low-resolution pixels.

    Parameters
    ----------
    scale : int
    block : int
        Low-resolution pixels that a block covers.

    Returns
    -------
    ndarray, shape (block, scale * block, 2 * r + 1)
        Weight of output pixel, phase and block, the middle one being the own; r is as small as it can be.
    """
    taps, start = downsampling_taps(scale), downsampling_start(scale)
    phases = scale * block
    reach = max(-(start // phases), (scale * (block - 1) + start + len(taps) - 1) // phases)
    weight = np.zeros((block, phases, 2 * reach + 1))
    for pixel in range(block):
        for k, tap in enumerate(taps):
            if tap:
                of_block, phase = divmod(scale * pixel + start + k, phases)
                weight[pixel, phase, of_block + reach] = tap
    return weight


def enlargement(scale: int, block: int) -> NDArray[np.float64]:
    """`up` (bicubic) along one axis, from low-resolution pixels to phases.

    Returns
    -------
    ndarray, shape (scale * block, block, 2 * r + 1)
        Weight of phase, input pixel and block, the middle one being the own; r is as small as it can be.
    """
    taps = interpolation_phases(scale)
    reach = -(-SKIP_REACH_PX // block)
    weight = np.zeros((scale * block, block, 2 * reach + 1))
    for phase in range(scale * block):
        for k, tap in enumerate(taps[phase % scale]):
            of_block, pixel = divmod(phase // scale + k - SKIP_REACH_PX, block)
            if tap:
                weight[phase, pixel, of_block + reach] = tap
    return weight


def _both_axes(rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two-dimensional kernel of two one-dimensional ones, both (out, in, taps); channels in row-major order."""
    weight: NDArray[np.float64] = np.einsum("abk,cdl->acbdkl", rows, columns)
    a, c, b, d, k, l = weight.shape  # noqa: E741
    return weight.reshape(a * c, b * d, k, l)


class FixedConvolution(nn.Module):
    """A convolution with fixed weights over an edge-padded, a zero-padded or a bare picture.

    Parameters
    ----------
    weight : ndarray or Tensor, shape (outputs, inputs, kh, kw)
        Becomes float32.
    edge : (int, int)
        Pixels by which the picture goes on by its edge: left and above, right and below.
    zeros : (int, int)
        Pixels of zeros around it: above and below, left and right.
    stride : int
    """

    def __init__(
        self,
        weight: NDArray[np.float64] | Tensor,
        *,
        edge: tuple[int, int] = (0, 0),
        zeros: tuple[int, int] = (0, 0),
        stride: int = 1,
    ) -> None:
        super().__init__()
        values = torch.as_tensor(weight).detach().float().contiguous().clone()
        self.weight = nn.Parameter(values, requires_grad=False)
        self.edge = edge
        self.zeros = zeros
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h', w'), h' being (h + both pads - kh) // stride + 1, w' alike."""
        if any(self.edge):
            x = F.pad(x, self.edge * 2, mode="replicate")
        return F.conv2d(x, self.weight, stride=self.stride, padding=self.zeros)


def of_input(weight: NDArray[np.float64], block: int) -> FixedConvolution:
    """Convolution of an edge-padded input that gives phases: `weight`, shape (p * p, 1, k, k), for whole blocks."""
    return FixedConvolution(packed(weight, block), edge=(weight.shape[-1] // 2,) * 2, stride=block)


class PhaseConsistency(nn.Module):
    """The consistency step on phases; lambda is multiplied into `up`.

    The reduction runs over rows first, then over columns.

    Parameters
    ----------
    skip : ndarray, shape (scale * scale, 1, 5, 5), float64
        See `skip_residual`.
    scale : int
    block : int
        Low-resolution pixels that a block covers, along one axis.
    weight : float
        Lambda.
    """

    def __init__(self, skip: NDArray[np.float64], scale: int, block: int, weight: float) -> None:
        super().__init__()
        down, up = reduction(scale, block), enlargement(scale, block)
        same = np.eye(scale * block)[:, :, None]
        through = np.eye(block)[:, :, None]
        reach = down.shape[-1] // 2
        self.expected = of_input(skip_residual(skip, scale), block)
        self.down_rows = FixedConvolution(_both_axes(-down, same), zeros=(reach, 0))
        self.down_columns = FixedConvolution(_both_axes(through, down), zeros=(0, reach))
        self.up = FixedConvolution(weight * _both_axes(up, up), zeros=(up.shape[-1] // 2,) * 2)

    def forward(self, sr: Tensor, detail: Tensor, lr: Tensor) -> Tensor:
        """Phases of the sum and of the detail, and the input -> phases of the result.

        Shapes: twice (n, p * p, h / block, w / block), with p = scale * block, and (n, 1, h, w) -> the first again.
        """
        residual = self.expected(lr) + self.down_columns(self.down_rows(detail))
        result: Tensor = sr + self.up(residual)
        return result

"""Skip and consistency on phases against what training computes; the whole is in test_rewrite."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightsr_export import phases
from lightsr_train.picture import ConsistencyStep, PolyphaseSkip


@pytest.mark.parametrize("factor", [1, 2, 3])
@torch.no_grad()
def test_packed_is_the_same_convolution_for_neighbouring_positions(factor: int) -> None:
    weight = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    picture = torch.randn(1, 2, 6 * factor + 2, 6 * factor + 2, dtype=torch.float64)
    expected = F.pixel_shuffle(F.conv2d(picture, weight), 2)
    packed = torch.from_numpy(phases.packed(weight.numpy(), factor))
    found = F.pixel_shuffle(F.conv2d(picture, packed, stride=factor), 2 * factor)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("side", [1, 3, 5])
@torch.no_grad()
def test_on_a_coarser_grid_it_is_the_same_convolution(side: int, factor: int) -> None:
    weight = torch.randn(4, 2, side, side, dtype=torch.float64)
    features = torch.randn(1, 2 * factor**2, 6, 7, dtype=torch.float64)
    expected = F.pixel_shuffle(F.conv2d(F.pixel_shuffle(features, factor), weight, padding=side // 2), 2)
    coarse = phases.on_coarser_grid(weight, factor)
    found = F.pixel_shuffle(F.conv2d(features, coarse, padding=coarse.shape[-1] // 2), 2 * factor)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@torch.no_grad()
def test_the_residual_of_the_skip_is_one_convolution(scale: int) -> None:
    skip = PolyphaseSkip(scale)
    skip.raw.add_(0.05 * torch.randn_like(skip.raw))
    step = ConsistencyStep(scale, 1.0)
    lr = torch.rand(1, 1, 20, 23)
    margin = step.margin_px
    upsampled = skip(F.pad(lr, (margin,) * 4, mode="replicate"))
    kernel = torch.from_numpy(phases.skip_residual(skip.weight.double().numpy(), scale)).float()
    found = F.conv2d(F.pad(lr, (phases.RESIDUAL_REACH_PX,) * 4, mode="replicate"), kernel)
    assert torch.allclose(found, lr - step.down(upsampled), atol=2e-6)
    assert abs(float(kernel.sum())) < 1e-6


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("block", [1, 2])
def test_reduction_and_enlargement_keep_constants(scale: int, block: int) -> None:
    down, up = phases.reduction(scale, block), phases.enlargement(scale, block)
    assert np.allclose(down.sum(axis=(1, 2)), 1)
    assert np.allclose(up.sum(axis=(1, 2)), 1)
    assert down.shape[2] % 2 == up.shape[2] % 2 == 1
    # No wider than needed: an outermost block counts.
    assert all(np.abs(weight[..., [0, -1]]).max() > 0 for weight in (down, up))

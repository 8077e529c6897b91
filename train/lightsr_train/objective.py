"""What training minimises: reconstruction at the final scale, and a second task beside it.

The second task is reconstruction at the intermediate scale, or that the result,
degraded again, gives the input. Its weight decays over a stage.

References
----------
W.-S. Lai, J.-B. Huang, N. Ahuja, M.-H. Yang, "Deep Laplacian pyramid networks for fast and
accurate super-resolution", CVPR 2017 (a loss at every scale; the Charbonnier penalty).
Y. Guo et al., "Closed-loop matters: dual regression networks for single image
super-resolution", CVPR 2020.
"""

import torch
import torch.nn.functional as F
from lightsr.resample import downsampling_start, downsampling_taps
from torch import Tensor, nn

from lightsr_train.contract import Network
from lightsr_train.dense import LightDense
from lightsr_train.picture import ConsistencyStep, PolyphaseSkip, separable, with_skip
from lightsr_train.settings import Dual, Loss, SettingsError, TrainingConfig
from lightsr_train.upsampling import StagedDeconvolution

CHARBONNIER_EPSILON = 0.01
"""Where the Charbonnier penalty turns from square to absolute, in bicubic errors of the image: our choice."""


def penalty(difference: Tensor, kind: Loss) -> Tensor:
    """Mean of the absolute, the squared or the Charbonnier penalty of a difference of any shape, a scalar.

    >>> float(penalty(torch.tensor([3.0, -4.0]), "squared"))
    12.5
    """
    if kind == "absolute":
        return difference.abs().mean()
    if kind == "squared":
        return difference.square().mean()
    return (difference.square() + CHARBONNIER_EPSILON**2).sqrt().mean()


def without_border(picture: Tensor, margin_px: int) -> Tensor:
    """A picture, shape (..., h, w), without `margin_px` on every side.

    There the network misses context that it always has on the device.
    """
    inner = slice(margin_px, -margin_px or None)
    return picture[..., inner, inner]


class Reduction(nn.Module):
    """Antialiased bicubic reduction; of what lies beyond the picture's border nothing is known.

    Parameters
    ----------
    factor : int

    Attributes
    ----------
    taps : Tensor, shape (4 * factor,), float32
    """

    taps: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        taps = torch.from_numpy(downsampling_taps(factor)).float()
        self.register_buffer("taps", taps, persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        """(n, 1, factor * h, factor * w) -> (n, 1, h, w), extended by its edge."""
        before = -downsampling_start(self.factor)
        after = len(self.taps) - self.factor - before
        padded = F.pad(picture, (before, after) * 2, mode="replicate")
        return separable(padded, self.taps, self.factor)


class IntermediateTask(nn.Module):
    """Head for the picture at the scale before the last; training has it, the device does not.

    With the weights of a network of that scale it gives what that network gives.

    Parameters
    ----------
    network : LightDense
        With two stages of deconvolution or more.
    """

    def __init__(self, network: LightDense) -> None:
        super().__init__()
        config = network.config
        self.factor = config.strides[-1]
        scale = config.scale // self.factor
        self.picture = nn.Conv2d(config.stage_channels, 1, 1, bias=not config.equivariant)
        nn.init.normal_(self.picture.weight, std=1e-2)
        self.skip = None if network.skip is None else PolyphaseSkip(scale, learned=config.skip == "learned")
        self.consistency_step = ConsistencyStep(scale, config.consistency)

    def forward(self, before: Tensor, lr: Tensor) -> Tensor:
        """Output of the deconvolution before the last, and the input -> the intermediate picture.

        Shapes: (n, stage_channels, s * h, s * w) and (n, 1, h, w) -> (n, 1, s * h, s * w), s its scale.
        """
        return with_skip(self.picture(before), lr, self.skip, self.consistency_step)


class Objective(nn.Module):
    """A network with all that its loss needs.

    Parameters
    ----------
    network : Network
    training : TrainingConfig

    Raises
    ------
    SettingsError
        The second task needs another network.
    """

    def __init__(self, network: Network, training: TrainingConfig) -> None:
        super().__init__()
        self.network = network
        self.margin_px = training.margin_px
        self.dual: Dual = training.dual
        self.intermediate: IntermediateTask | None = None
        self.reduction: Reduction | None = None
        if training.dual == "scales":
            if not has_intermediate(network):
                raise SettingsError(
                    'dual is "scales", which needs a light-dense network of x4 or x8 with stage_channels above 0; '
                    '"regression" and "none" go with every network'
                )
            assert isinstance(network, LightDense)
            if training.patch_px % network.alignment_px:
                raise SettingsError(
                    f"patch_px is {training.patch_px}; a multiple of {network.alignment_px} (unshuffle) is needed with "
                    'dual = "scales"'
                )
            self.intermediate = IntermediateTask(network)
            self.reduction = Reduction(self.intermediate.factor)
        elif training.dual == "regression":
            self.reduction = Reduction(network.config.scale)

    def forward(self, low: Tensor, high: Tensor, weight: Tensor, kind: Loss, second_weight: float) -> Tensor:
        """The loss of a batch, a scalar.

        Parameters
        ----------
        low, high, weight : Tensor
            The shapes of a `patches.Batch`, float32.
        kind : {"absolute", "charbonnier", "squared"}
        second_weight : float
            Weight of the second task, 0 to 1; the first has the rest.
        """
        scale = self.network.config.scale
        if self.intermediate is not None and self.reduction is not None:
            assert isinstance(self.network, LightDense)
            sr, before = self.network.enlarge(low)
            final = self._penalty(sr, high, weight, kind, scale)
            middle = self._penalty(
                self.intermediate(before, low), self.reduction(high), weight, kind, scale // self.intermediate.factor
            )
            return (1 - second_weight) * final + second_weight * middle
        sr = self.network(low)
        final = self._penalty(sr, high, weight, kind, scale)
        if self.reduction is None:
            return final
        again = self._penalty(self.reduction(sr), low, weight, kind, 1)
        return (1 - second_weight) * final + second_weight * again

    def _penalty(self, found: Tensor, wanted: Tensor, weight: Tensor, kind: Loss, scale: int) -> Tensor:
        margin = self.margin_px * scale
        return penalty(weight * (without_border(found, margin) - without_border(wanted, margin)), kind)


def has_intermediate(network: nn.Module) -> bool:
    """Whether a network has a stage of deconvolution before the last."""
    part = getattr(network, "deconvolution", None)
    return isinstance(part, StagedDeconvolution) and len(part.stages) > 1


def warm_start(objective: Objective, initial: dict[str, Tensor], *, scale: int) -> list[str]:
    """Give a network, and its head for the intermediate scale, the weights of another.

    Parameters
    ----------
    objective : Objective
    initial : dict of Tensor
        State of a network of the same family: tensors of any shape by their name.
    scale : int
        Of that network. One of the same scale gives all it has; one of another gives what
        does not belong to its scale: the trunk, and the stages of deconvolution that both have.

    Returns
    -------
    list of str
        Names of the parameters that were given.
    """
    network = objective.network
    own = network.state_dict()
    same = scale == network.config.scale
    # A stage's kernel has the same size for x2 and x4, x8; the picture's 1x1 convolution belongs to a scale.
    given = {
        name: value
        for name, value in initial.items()
        if name in own
        and own[name].shape == value.shape
        and (same or not name.startswith(("skip.", "deconvolution.picture", "deconvolution.weight")))
    }
    network.load_state_dict({**own, **given})
    task = objective.intermediate
    if task is not None and scale * task.factor == network.config.scale:
        head = {
            f"{part}.{name}": initial[f"{prefix}.{name}"]
            for part, prefix, module in (
                ("picture", "deconvolution.picture", task.picture),
                ("skip", "skip", task.skip),
            )
            if module is not None
            for name in module.state_dict()
            if f"{prefix}.{name}" in initial
        }
        task.load_state_dict({**task.state_dict(), **head})
    return sorted(given)

import dataclasses

import pytest
import torch
from lightsr.resample import downsample
from lightsr_train.baselines import ESPCN
from lightsr_train.contract import ScaleConfig
from lightsr_train.dense import LightDense
from lightsr_train.dimensions import NetworkConfig
from lightsr_train.objective import CHARBONNIER_EPSILON, Objective, Reduction, penalty, warm_start
from lightsr_train.settings import Loss, SettingsError, TrainingConfig

X4 = NetworkConfig(4, channels=16, layers=1, blocks=1, stage_channels=4)
TRAINING = TrainingConfig(margin_px=1, dual="scales")
ONE = torch.ones(1, 1, 1, 1)


class Constant(ESPCN):
    """Gives the same picture for every input."""

    def __init__(self, value: float) -> None:
        super().__init__(ScaleConfig(2))
        self.value = value

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        sr = torch.full((*lr.shape[:2], 2 * lr.shape[2], 2 * lr.shape[3]), self.value)
        sr[..., 0] = 100  # in the margin
        return sr


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("absolute", 5.0),
        ("squared", 26.0),
        ("charbonnier", ((16 + CHARBONNIER_EPSILON**2) ** 0.5 + (36 + CHARBONNIER_EPSILON**2) ** 0.5) / 2),
    ],
)
def test_the_loss_weighs_differences_and_leaves_the_border_out(kind: Loss, expected: float) -> None:
    objective = Objective(Constant(3.0), TrainingConfig(margin_px=1))
    weight = torch.tensor([2.0, 3.0]).view(2, 1, 1, 1)
    loss = objective(torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 16, 16), weight, kind, 0.0)
    assert loss.item() == pytest.approx(expected)


def test_reduction_is_that_of_the_data() -> None:
    picture = torch.rand(1, 1, 24, 36)
    for factor in (2, 3, 4):
        expected = downsample(picture[0, 0].numpy(), factor)
        assert Reduction(factor)(picture)[0, 0].numpy() == pytest.approx(expected, abs=1e-6)


def test_two_scales_weigh_as_told() -> None:
    torch.manual_seed(0)
    objective = Objective(LightDense(X4), TRAINING)
    low, high = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 64, 64)
    losses = [objective(low, high, ONE, "absolute", share).item() for share in (0.0, 0.25, 1.0)]
    assert losses[1] == pytest.approx(0.75 * losses[0] + 0.25 * losses[2], rel=1e-5)
    assert losses[0] != pytest.approx(losses[2], rel=1e-3)
    assert objective.intermediate is not None
    sr, before = objective.network.enlarge(low)
    assert objective.intermediate(before, low).shape == (2, 1, 32, 32)
    expected = penalty((sr - high)[..., 4:-4, 4:-4], "absolute").item()
    assert losses[0] == pytest.approx(expected, rel=1e-5)


def test_down_sampling_regression_asks_for_the_input() -> None:
    objective = Objective(Constant(3.0), TrainingConfig(margin_px=2, dual="regression"))
    low = torch.full((1, 1, 12, 12), 1.0)
    loss = objective(low, torch.full((1, 1, 24, 24), 3.0), ONE, "absolute", 0.5)
    assert loss.item() == pytest.approx(0.5 * 2.0, abs=1e-4)


def test_the_second_task_needs_a_stage_before_the_last() -> None:
    for network in (
        LightDense(NetworkConfig(2, stage_channels=4)),
        LightDense(NetworkConfig(4)),
        ESPCN(ScaleConfig(4)),
    ):
        with pytest.raises(SettingsError, match="dual is .scales., which needs"):
            Objective(network, TRAINING)


@pytest.mark.parametrize("unshuffle", [1, 2])
def test_the_intermediate_picture_starts_as_that_of_the_network_before(unshuffle: int) -> None:
    """x4 that starts from x2 gives at its intermediate scale what the x2 network gives; so does x8 from x4."""
    torch.manual_seed(0)
    networks = {}
    for scale in (2, 4, 8):
        network = LightDense(dataclasses.replace(X4, scale=scale, unshuffle=unshuffle))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        networks[scale] = network
    lr = torch.rand(1, 1, 12, 14)
    for scale in (4, 8):
        objective = Objective(networks[scale], TRAINING)
        given = warm_start(objective, networks[scale // 2].state_dict(), scale=scale // 2)
        assert "stem.raw" in given
        assert "deconvolution.stages.0.weight" in given
        assert "skip.raw" not in given
        assert objective.intermediate is not None
        middle = objective.intermediate(networks[scale].enlarge(lr)[1], lr)
        torch.testing.assert_close(middle, networks[scale // 2](lr), atol=1e-5, rtol=0)


def test_a_network_of_the_same_scale_gives_everything() -> None:
    torch.manual_seed(0)
    first, second = LightDense(X4), LightDense(X4)
    given = warm_start(Objective(second, TRAINING), first.state_dict(), scale=4)
    assert given == sorted(first.state_dict())
    lr = torch.rand(1, 1, 8, 8)
    assert torch.equal(first(lr), second(lr))


def test_x3_takes_the_trunk_of_x2() -> None:
    torch.manual_seed(0)
    first, second = (LightDense(dataclasses.replace(X4, scale=scale)) for scale in (2, 3))
    given = warm_start(Objective(second, TrainingConfig()), first.state_dict(), scale=2)
    assert {name.split(".")[0] for name in given} == {"stem", "blocks", "fuse"}
    lr = torch.rand(1, 1, 8, 8)
    assert torch.equal(first.stem(lr), second.stem(lr))

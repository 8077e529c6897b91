import dataclasses
import math

import numpy as np
import pytest
from lightsr_export.gate import Judge, verdict
from lightsr_train import protocol
from lightsr_train.data import Pair
from lightsr_train.protocol import Score

from .conftest import a_folder, pairs_of


def scores(*values: tuple[str, float]) -> list[Score]:
    return [Score(name, db, 0.9, 1.0) for name, db in values]


def test_the_mean_of_every_range_counts() -> None:
    before = scores(("CT", 40.0), ("CT", 42.0), ("MR", 30.0))
    found = verdict(before, scores(("CT", 39.98), ("CT", 41.94), ("MR", 30.02)), allowed_db=0.05)
    assert [(loss.range, loss.images) for loss in found.losses] == [("CT", 2), ("MR", 1)]
    assert found.losses[0].mean_db == pytest.approx(0.04)
    assert found.losses[0].worst_db == pytest.approx(0.06)
    assert found.losses[1].mean_db == pytest.approx(-0.02)
    assert found.passes
    assert not dataclasses.replace(found, allowed_db=0.03).passes


def test_a_single_image_may_lose_three_times_as_much() -> None:
    before = scores(*[("US", 40.0)] * 10)
    for worst, passes in ((0.14, True), (0.16, False)):
        after = scores(*[("US", 40.0)] * 9, ("US", 40.0 - worst))
        assert verdict(before, after, allowed_db=0.05).passes is passes


def test_nothing_judged_is_nothing_passed() -> None:
    assert not verdict([], []).passes


def test_other_images_are_not_compared() -> None:
    with pytest.raises(ValueError, match="shorter"):
        verdict(scores(("CT", 40.0), ("CT", 41.0)), scores(("CT", 40.0)))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return pairs_of(a_folder(tmp_path_factory.mktemp("images")))


def test_the_truth_itself_is_perfect_and_an_offset_costs_what_it_is(pairs: list[Pair]) -> None:
    judge = Judge(pairs, 2)
    truths = iter([pair.high for pair in pairs] * 2)
    perfect = judge.scores(lambda low: next(truths), with_ssim=True)
    assert len(perfect) == len(pairs)
    assert all(score.psnr_db == 100 and score.ssim == 1 and score.rmse == 0 for score in perfect)
    shifted = judge.scores(lambda low: next(truths).astype(np.float64) + 3)
    assert all(score.rmse == pytest.approx(3) for score in shifted)
    assert all(np.isnan(score.ssim) for score in shifted)


def test_ct_is_judged_within_its_windows_by_their_width(pairs: list[Pair]) -> None:
    """What lies outside a window is not seen there, and PSNR is of the window's width."""
    pair = dataclasses.replace(pairs[0], origin=dataclasses.replace(pairs[0].origin, modality="CT"))
    random = np.random.default_rng(0)
    wrong = pair.high + random.integers(-30, 31, pair.high.shape)
    found = Judge([pair], 2).scores(lambda low: wrong)
    assert [score.range for score in found] == ["CT soft tissue", "CT lung"]
    border = protocol.border_px(2)
    inside = (slice(border, -border),) * 2
    for score, (low, high) in zip(found, (protocol.SOFT_TISSUE_HU, protocol.LUNG_HU), strict=True):
        hu = (np.clip(picture[inside] - 1024.0, low, high) for picture in (pair.high, wrong))
        rmse = float(np.sqrt(np.mean((next(hu) - next(hu)) ** 2)))
        assert 0 < rmse < 30
        assert score.rmse == pytest.approx(rmse)
        assert score.psnr_db == pytest.approx(20 * math.log10((high - low) / rmse))

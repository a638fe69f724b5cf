"""Verdicts: what differs is shown, what does not is not, and intervals cover what they should."""

import numpy as np
import pytest

from model.finetune import contrast
from model.finetune.contrast import Way
from model.finetune.tasks import Metric

N_EXAMPLES = 200


def way(accuracies: list[float], rng: np.random.Generator, metric: Metric = "accuracy") -> Way:
    labels = np.tile([0.0, 1.0], N_EXAMPLES // 2)
    right = rng.random((len(accuracies), N_EXAMPLES)) < np.array(accuracies)[:, None]
    return Way(predicted=np.where(right, labels, 1 - labels), labels=labels, metric=metric)


def test_large_gain_is_shown_and_its_opposite_is_reversed() -> None:
    rng = np.random.default_rng(1)
    good, bad = way([0.9] * 5, rng), way([0.7] * 5, rng)
    told = contrast.compare(good, bad, seed=1)
    assert told["verdict"] == "shown"
    assert told["gain"] == pytest.approx(np.mean(good.by_seed) - np.mean(bad.by_seed), rel=1e-5)
    back = contrast.compare(bad, good, seed=1)
    assert back["verdict"] == "reversed"
    assert back["gain"] == pytest.approx(-told["gain"])


@pytest.mark.parametrize("metric", ["accuracy", "matthews", "f1", "pearson", "spearman"])
def test_way_compared_with_itself_shows_nothing(metric: Metric) -> None:
    one = way([0.8] * 5, np.random.default_rng(2), metric)
    told = contrast.compare(one, one, seed=1)
    assert (told["gain"], told["verdict"]) == (0, "not shown")
    assert told["gain_low"] < 0 < told["gain_high"]


def test_gain_that_only_one_lucky_seed_has_is_not_shown() -> None:
    """Over examples alone, it would be."""
    rng = np.random.default_rng(3)
    lucky, base = way([1.0, 0.7, 0.7, 0.7, 0.7], rng), way([0.7] * 5, rng)
    assert contrast.compare(lucky, base, seed=1)["verdict"] == "not shown"
    hits = [(each.predicted == each.labels).mean(axis=0) for each in (lucky, base)]
    gains = hits[0] - hits[1]  # (examples,)
    drawn = gains[rng.integers(N_EXAMPLES, size=(1000, N_EXAMPLES))].mean(axis=1)
    assert np.quantile(drawn, 0.025) > 0


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for trial in range(20):
        one, other = way([0.8] * 5, rng), way([0.8] * 5, rng)
        told = contrast.compare(one, other, seed=trial)
        hits += told["verdict"] == "not shown"
    assert hits >= 16  # 95 % of 20 are 19; fewer than 16 of 20 happens once in 400 times


def test_summary_is_the_mean_and_spread_of_the_seeds() -> None:
    one = way([0.6, 0.7, 0.8], np.random.default_rng(5))
    told = contrast.summary(one, seed=1)
    assert told["mean"] == pytest.approx(np.mean(one.by_seed), rel=1e-5)
    assert told["seed_std"] == pytest.approx(np.std(one.by_seed, ddof=1), rel=1e-5)
    assert told["mean_low"] < told["mean"] < told["mean_high"]
    assert told == contrast.summary(one, seed=1)


def test_one_seed_has_no_spread() -> None:
    assert "seed_std" not in contrast.summary(way([0.6], np.random.default_rng(6)), seed=1)


def test_other_examples_are_refused() -> None:
    rng = np.random.default_rng(7)
    one = way([0.8], rng)
    other = Way(predicted=one.predicted, labels=1 - one.labels, metric="accuracy")
    with pytest.raises(ValueError, match="other examples"):
        contrast.compare(one, other, seed=1)

"""What a ladder says: intervals by simulation, the prediction out of sample, scores by hand."""

import math

import numpy as np
import pytest

from model.capacity import figures, fits
from model.capacity.figures import Grid
from model.capacity.fits import Floats

SIZES = np.array([1.2e4, 5e4, 2e5, 8e5, 3e6])
LAW = 20 * SIZES**-0.15 + 2.5  # (S,) nats per token


def ladder(
    losses: Floats, *, seeds: int = 2, documents: int = 40, noise: float = 0.0, seed: int = 0
) -> Grid:
    """A ladder of these true losses; documents differ in difficulty, alike for all sizes."""
    chance = np.random.default_rng(seed)
    tokens = chance.integers(50, 2000, documents).astype(float)
    hardness = chance.normal(1, 0.1, documents)
    hardness /= (hardness @ tokens) / tokens.sum()  # so that the mean is the true loss
    models = losses[:, np.newaxis] + noise * chance.normal(size=(len(losses), seeds))
    nats = models[..., np.newaxis] * hardness * tokens
    count = {"non_embedding": SIZES[: len(losses)], "total": SIZES[: len(losses)] * 3}
    score = {"words": {"accuracy": 0.1 * models, "perplexity": np.exp(models)}}
    return Grid(
        counts=count,
        nats={"train": nats, "valid": nats + 0.1 * tokens},
        tokens={"train": tokens, "valid": tokens},
        scores=score,
    )


def test_figures_of_a_law_are_the_law_and_foretell_the_largest() -> None:
    told = figures.figures(ladder(LAW), n_tokens=1000)
    law = told["fits"]["train_loss"]["non_embedding"]
    assert (law["a"], law["alpha"], law["c"]) == pytest.approx((20, 0.15, 2.5), rel=1e-3)
    assert law["degrees_of_freedom"] == 2
    assert law["max_relative_error"] < 1e-6
    assert law["at_bound"] == []
    assert told["fit"]["c"] == pytest.approx(2.6, rel=1e-3)  # held out: 0.1 nats harder
    assert {"unit": "nats per token", "n_tokens": 1000, "parameters": "non_embedding"}.items() <= (
        told["fit"].items()
    )
    foretold = told["predictions"]["train_loss"]["non_embedding"]
    assert foretold["from_sizes"] == 4
    assert foretold["predicted"] == pytest.approx(LAW[-1], rel=1e-4)
    assert foretold["measured"] == pytest.approx(LAW[-1], rel=1e-5)
    assert abs(foretold["error"]) < 1e-3
    assert told["fits"]["train_loss"]["total"]["alpha"] == pytest.approx(0.15, rel=1e-3)


def test_curve_is_the_law_of_the_fit_with_an_interval_around_it() -> None:
    told = figures.figures(ladder(LAW, noise=0.01), n_tokens=1)
    law, curve = told["fit"], told["curve"]
    assert [curve[0]["n_parameters"], curve[-1]["n_parameters"]] == [SIZES[0], SIZES[-1]]
    for point in curve:
        low, high = point["interval"]
        expected = law["a"] * point["n_parameters"] ** -law["alpha"] + law["c"]
        assert point["loss"] == pytest.approx(expected, rel=1e-4)
        assert low < point["loss"] < high


def test_prediction_does_not_look_at_the_size_that_it_foretells() -> None:
    off = LAW + np.array([0, 0, 0, 0, 0.3])
    told = figures.figures(ladder(off), n_tokens=1)["predictions"]["train_loss"]["non_embedding"]
    assert told["predicted"] == pytest.approx(LAW[-1], rel=1e-4)
    assert told["error"] == pytest.approx(-0.3, abs=1e-3)
    assert told["within"] is False


def test_prediction_from_too_few_sizes_is_absent_with_the_reason() -> None:
    told = figures.figures(ladder(LAW[:3]), n_tokens=1)
    assert told["fit"]["degrees_of_freedom"] == 0
    assert "3 parameters" in told["predictions"]["valid_loss"]["total"]["absent"]


def test_interval_of_the_law_holds_the_truth_about_as_often_as_it_says() -> None:
    """Seeds move each size on its own: the pooled bootstrap must see it from two per size."""
    hits, n_worlds = 0, 120
    for world in range(n_worlds):
        grid = ladder(LAW, noise=0.004, seed=world, documents=12)
        draws = figures.resampled(grid, "train", n_draws=200)
        low, high = np.quantile(fits.laws(SIZES, draws).alpha, [0.025, 0.975])
        hits += low <= 0.15 <= high
    assert 0.85 * n_worlds <= hits <= 0.995 * n_worlds


def test_resampled_seeds_move_as_far_as_they_do() -> None:
    grid = ladder(np.full(5, 3.0), seeds=3, noise=0.05, documents=2)
    draws = figures.resampled(grid, "train", n_draws=4000)
    differences = draws[:, 0] - draws[:, 1]  # documents move both alike
    left = grid.losses("train") - grid.losses("train").mean(axis=1, keepdims=True)
    pooled = (left**2).sum() / (5 * 2)  # unbiased variance of one model
    assert differences.var() == pytest.approx(2 * pooled / 3, rel=0.1)


def test_seed_noise_is_the_pooled_deviation_of_one_model() -> None:
    grid = ladder(np.full(5, 3.0), seeds=4, noise=0.05, seed=2)
    told = figures.figures(grid, n_tokens=1)["interval"]["seed_noise"]["train_loss"]
    each = grid.losses("train")
    assert told == pytest.approx(np.sqrt(each.var(axis=1, ddof=1).mean()), rel=1e-5)


def test_resampled_one_seed_leaves_the_documents_alone() -> None:
    grid = ladder(LAW, seeds=1)
    draws = figures.resampled(grid, "train", n_draws=50)
    shares = draws / grid.losses("train").mean(axis=1)
    assert np.ptp(shares, axis=1).max() < 1e-12  # every size by the same factor
    assert np.ptp(shares[:, 0]) > 0.01
    assert "noise is unknown" in figures.figures(grid, 1)["interval"]["method"]


def test_score_lines_are_in_log_parameters_perplexities_after_a_logarithm() -> None:
    straight = 6 - 0.5 * np.log10(SIZES)
    told = figures.figures(ladder(straight), n_tokens=1)["scores"]["words"]
    assert told["accuracy"]["scale"] == "linear"
    assert told["accuracy"]["non_embedding"]["per_decade"] == pytest.approx(-0.05)
    assert told["perplexity"]["scale"] == "ln"
    line = told["perplexity"]["total"]
    assert line["per_decade"] == pytest.approx(-0.5)
    assert line["interval"] == pytest.approx([-0.5, -0.5])
    assert line["at_largest"] == pytest.approx(6 - 0.5 * math.log10(SIZES[-1]))


def test_figures_bootstrap_is_the_same_each_time() -> None:
    assert figures.figures(ladder(LAW, noise=0.1), 1) == figures.figures(ladder(LAW, noise=0.1), 1)

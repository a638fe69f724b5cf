"""The fits against known laws and against all others, and their intervals by simulation."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.capacity import fits
from model.capacity.fits import Floats

SIZES = np.array([1.2e4, 5e4, 2e5, 8e5, 3e6])


def squared_error(law: tuple[float, float, float], losses: Floats) -> float:
    a, alpha, c = law
    return float((((a * SIZES**-alpha + c) / losses - 1) ** 2).sum())


@given(
    scale=st.floats(0.5, 5.0),
    alpha=st.floats(0.05, 1.0),
    c=st.floats(0.0, 4.0),
    unit=st.floats(1, 1e6),
)
def test_laws_points_on_a_law_give_it_back(
    scale: float, alpha: float, c: float, unit: float
) -> None:
    a = scale * (SIZES[2] * unit) ** alpha  # the middle size is `scale` above the floor
    losses = a * (SIZES * unit) ** -alpha + c
    found = fits.laws(SIZES * unit, losses[np.newaxis])
    assert found.alpha[0] == pytest.approx(alpha, rel=1e-3)
    assert found.a[0] == pytest.approx(a, rel=2e-2)
    assert found.c[0] == pytest.approx(c, abs=2e-2)
    assert found.at(1e9 * unit)[0] == pytest.approx(a * (1e9 * unit) ** -alpha + c, rel=1e-3)


@given(seed=st.integers(0, 2**32 - 1))
def test_laws_no_other_law_is_nearer_to_noisy_losses(seed: int) -> None:
    chance = np.random.default_rng(seed)
    losses = (20 * SIZES**-0.15 + 2) * np.exp(chance.normal(0, 0.02, SIZES.shape))
    found = fits.laws(SIZES, losses[np.newaxis])
    least = squared_error((found.a[0], found.alpha[0], found.c[0]), losses)
    for _ in range(300):
        near = np.array([found.a[0], found.alpha[0], found.c[0]]) * np.exp(chance.normal(0, 0.1, 3))
        far = np.exp(chance.uniform([0, np.log(0.01), -5], [7, np.log(4), 2]))
        for law in (near, far):
            if fits.ALPHAS[0] <= law[1] <= fits.ALPHAS[1]:
                assert squared_error(tuple(law), losses) >= least * (1 - 1e-6)


def descended(losses: Floats) -> tuple[float, float, float]:
    """The law of least squared error of log L, by L-BFGS from many starts, as Chinchilla's authors.

    Paper: Hoffmann et al. 2022, appendix D.2; squares in place of Huber's loss.
    """
    n, target = torch.from_numpy(np.log(SIZES)), torch.from_numpy(np.log(losses))
    best, least = None, math.inf
    for start in itertools.product((0.0, 3.0), (0.1, 0.5), (-1.0, 1.0)):
        told = torch.tensor(start, dtype=torch.float64, requires_grad=True)  # ln a, alpha, ln c
        search = torch.optim.LBFGS(
            [told],
            max_iter=500,
            tolerance_grad=1e-12,
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )

        def error(told: Tensor = told, search: torch.optim.LBFGS = search) -> Tensor:
            search.zero_grad()
            both = torch.stack([told[0] - told[1] * n, told[2].expand(len(n))])
            lost = ((torch.logsumexp(both, 0) - target) ** 2).sum()
            lost.backward()
            return lost

        search.step(error)
        if (found := float(error().detach())) < least:
            best, least = told.detach().clone(), found
    assert best is not None
    return math.exp(best[0]), float(best[1]), math.exp(best[2])


@pytest.mark.parametrize("seed", range(2))
def test_laws_are_those_that_descent_on_log_losses_finds(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.002, SIZES.shape)
    losses = (30 * SIZES**-0.25 + 2) * np.exp(noise)
    found = fits.laws(SIZES, losses[np.newaxis])
    a, alpha, c = descended(losses)
    assert found.alpha[0] == pytest.approx(alpha, rel=0.01)
    assert found.c[0] == pytest.approx(c, rel=0.01)
    for n in (*SIZES, 1.2e7):
        assert found.at(n)[0] == pytest.approx(a * n**-alpha + c, rel=1e-4)


def test_laws_rows_do_not_touch_each_other() -> None:
    chance = np.random.default_rng(3)
    losses = (20 * SIZES**-0.15 + 2) * np.exp(chance.normal(0, 0.02, (7, 5)))
    together = fits.laws(SIZES, losses)
    for row, single in enumerate(losses):
        alone = fits.laws(SIZES, single[np.newaxis])
        assert [value[row] for value in together] == [value[0] for value in alone]


def test_laws_losses_that_bend_the_other_way_stop_at_the_bounds() -> None:
    falling = 10.0 - np.log10(SIZES)  # faster than any power with a floor: c may not be negative
    assert fits.laws(SIZES, falling[np.newaxis]).c[0] == 0
    rising = np.linspace(3.0, 4.0, 5)
    found = fits.laws(SIZES, rising[np.newaxis])
    assert found.a[0] == 0
    assert found.c[0] == pytest.approx(np.sum(1 / rising) / np.sum(1 / rising**2))


@given(seed=st.integers(0, 2**32 - 1))
def test_line_is_that_of_numpy(seed: int) -> None:
    chance = np.random.default_rng(seed)
    x, y = chance.normal(0, 3, 6), chance.normal(5, 2, 6)
    slope, intercept = np.polyfit(x, y, 1)
    found = fits.line(x, y)
    assert found.slope == pytest.approx(slope, rel=1e-6, abs=1e-9)
    assert found.intercept == pytest.approx(intercept, rel=1e-6, abs=1e-9)


def test_line_interval_holds_the_truth_as_often_as_it_says() -> None:
    chance, x = np.random.default_rng(5), np.arange(5.0)
    hits = 0
    for _ in range(2000):
        found = fits.line(x, 3 + 0.7 * x + chance.normal(0, 1, 5))
        hits += found.slope_low <= 0.7 <= found.slope_high
    assert 1870 <= hits <= 1930  # 1900, twice the standard deviation of 9.7, and a bit


# Student 1908; the values of any printed table.
@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.7062), (2, 4.3027), (5, 2.5706), (8, 2.3060), (30, 2.0423)]
)
def test_student_t_is_the_printed_value(freedom: int, t: float) -> None:
    assert fits.student_t(0.975, freedom) == pytest.approx(t, abs=5e-5)


def test_student_t_of_many_degrees_is_the_normal_quantile() -> None:
    assert fits.student_t(0.975, 100_000) == pytest.approx(1.959964, abs=1e-4)
    assert fits.student_t(0.75, 1) == pytest.approx(math.tan(math.pi / 4))

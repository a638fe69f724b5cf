"""The fits against known laws and against all others, and their intervals by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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

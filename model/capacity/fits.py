"""Two fits with intervals: a power law with a floor for losses, a straight line for scores.

    loss                             score
     │ .                               │            .
     │   `.                            │        .
     │       ` - . _  _                │    .
     │ c ─────────────────             │.
     └──────────────────> log N        └──────────────────> log N

Decisions
- `L(N) = a N^-alpha + c` with a, c >= 0: bounded least squares of relative errors, which are to
  first order errors of log L. For a given alpha that is linear in (a, c) and solved exactly; alpha
  alone is searched, so there is no start value and no local minimum to fall into.
- N is divided by its geometric mean while fitting: a and c then have one magnitude.
- The line's interval is Student's t. Its distribution function is a finite sum for whole degrees of
  freedom, so no statistics library is needed.

Paper: Kaplan et al. 2020, Scaling Laws, section 3; the floor: Henighan et al. 2020, equation 1.1.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

N_PARAMETERS = 3  # of the law: fewer points leave it open, as many leave nothing that tests it
ALPHAS = (0.01, 4.0)  # published exponents lie between 0.05 and 0.6
_GRID = 160  # exponents tried at first, in geometric steps of 4 %
_ZOOMS, _FINE = 6, 17  # then between the neighbours of the best, 8 times closer each time


class Laws(NamedTuple):
    """Laws by row: `a`, `alpha`, `c`, each (R,)."""

    a: Floats
    alpha: Floats
    c: Floats

    def at(self, n: float) -> Floats:
        """Returns (R,) what the laws say of N."""
        return self.a * n**-self.alpha + self.c


class Line(NamedTuple):
    """A straight line: slope with its 95 % interval, and value at x = 0."""

    slope: float
    slope_low: float
    slope_high: float
    intercept: float


def laws(n: Floats, losses: Floats) -> Laws:
    """Returns for each row of losses the law of least squared relative error.

    Args:
        n: (S,) sizes, S >= 3, not all equal.
        losses: (R, S) positive losses.

    >>> sizes = np.array([1e4, 1e5, 1e6, 1e7])
    >>> found = laws(sizes, (30 * sizes**-0.25 + 2)[np.newaxis])
    >>> [round(float(value[0]), 4) for value in found]
    [30.0, 0.25, 2.0]
    """
    scale = math.exp(np.log(n).mean())
    low, high = ALPHAS
    grid = np.broadcast_to(np.geomspace(low, high, _GRID), (len(losses), _GRID))
    for _ in range(_ZOOMS):
        best = _errors(n / scale, losses, grid)[2].argmin(axis=1)  # (R,)
        rows = np.arange(len(losses))
        left = grid[rows, np.maximum(best - 1, 0)]
        right = grid[rows, np.minimum(best + 1, grid.shape[1] - 1)]
        grid = np.geomspace(left, right, _FINE, axis=1)
    a, c, error = _errors(n / scale, losses, grid)
    rows, best = np.arange(len(losses)), error.argmin(axis=1)
    alpha = grid[rows, best]
    return Laws(a[rows, best] * scale**alpha, alpha, c[rows, best])


def _errors(n: Floats, losses: Floats, alphas: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns (R, K) a, c and squared errors of the best law for each of (R, K) exponents."""
    # (a x + c) / L - 1 -> min, i.e. a u + c v = 1 with u = x / L and v = 1 / L
    v = 1 / losses[:, np.newaxis, :]  # (R, 1, S)
    u = n ** -alphas[..., np.newaxis] * v  # (R, K, S)
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    u1, v1 = u.sum(-1), v.sum(-1)
    determinant = uu * vv - uv * uv
    inner = (u1 * vv - v1 * uv) / determinant, (v1 * uu - u1 * uv) / determinant
    floorless = u1 / uu, np.zeros_like(uu)
    flat = np.zeros_like(uu), v1 / vv + np.zeros_like(uu)
    a, c = (np.stack(each) for each in zip(inner, floorless, flat, strict=True))  # (3, R, K)
    error = ((a[..., np.newaxis] * u + c[..., np.newaxis] * v - 1) ** 2).sum(-1)
    error = np.where((a < 0) | (c < 0), np.inf, error)
    chosen = error.argmin(axis=0)[np.newaxis]
    a, c, error = (np.take_along_axis(each, chosen, 0)[0] for each in (a, c, error))
    return a, c, error


def line(x: Floats, y: Floats) -> Line:
    """Returns the line of least squares through at least three points.

    >>> line(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]))
    Line(slope=2.0, slope_low=2.0, slope_high=2.0, intercept=1.0)
    """
    away = x - x.mean()
    slope = float(away @ y / (away @ away))
    intercept = float(y.mean() - slope * x.mean())
    left = y - intercept - slope * x
    freedom = len(x) - 2
    error = math.sqrt(float(left @ left) / freedom / float(away @ away))
    reach = student_t(0.975, freedom) * error
    return Line(slope, slope - reach, slope + reach, intercept)


def student_t(quantile: float, freedom: int) -> float:
    """Returns a quantile, above one half, of Student's t for whole degrees of freedom.

    >>> [round(student_t(0.975, freedom), 3) for freedom in (1, 2, 3, 8)]
    [12.706, 4.303, 3.182, 2.306]
    """
    low, high = 0.0, math.pi / 2  # of theta, t = sqrt(freedom) tan(theta)
    for _ in range(60):
        middle = (low + high) / 2
        if (1 + _within(middle, freedom)) / 2 < quantile:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def _within(theta: float, freedom: int) -> float:
    """Returns P(|t| < sqrt(freedom) tan(theta)).

    Paper: Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.
    """
    odd = freedom % 2
    term = math.cos(theta) if odd else 1.0
    total = 0.0
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= math.cos(theta) ** 2 * (k - 1) / k
    if odd:
        return 2 / math.pi * (theta + math.sin(theta) * total)
    return math.sin(theta) * total

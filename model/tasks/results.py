"""What a task gets, and what it reports: figures, and the protocol that they hold under."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.score import Scorer
from pipeline.tokens.codec import Codec

Chosen = npt.NDArray[np.bool_]
"""(n_examples,) bool: which examples count."""
Floats = npt.NDArray[np.float64]

N_RESAMPLES = 1000
LOW, HIGH = 0.025, 0.975  # quantiles of the reported interval
DIGITS = 6  # of a figure; more than that is rounding of fp32 sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a task gets.

    Attributes:
        scorer: The model.
        coder: Its vocabulary.
        stride: By how much windows advance.
        more_strides: Further strides at which published running texts are scored.
        seed: Of the bootstrap, and of what is generated at random.
        max_generated: Examples of a set that are answered by generating, at most; None for all.
    """

    scorer: Scorer
    coder: Codec
    stride: int
    more_strides: tuple[int, ...]
    seed: int
    max_generated: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One protocol's outcome.

    Attributes:
        name: The set, and the protocol's variant where there are several.
        figures: By name; no figure is missing a unit that its name does not tell.
        protocol: What must be equal for another figure to be comparable.
        among: Returns the figures of some examples alone; None for a running text, which has none.
    """

    name: str
    figures: dict[str, float]
    protocol: dict[str, Any]
    among: Callable[[Chosen], dict[str, float]] | None = None


def rounded(value: float) -> float:
    """Returns a figure with `DIGITS` significant digits.

    >>> rounded(1234.56789), rounded(0.00012345678)
    (1234.57, 0.000123457)
    """
    return float(f"{value:.{DIGITS}g}")


def proportion(name: str, hits: npt.ArrayLike, seed: int) -> dict[str, float]:
    """Returns the mean of hits and a 95 % interval: `name`, `name_low`, `name_high`.

    The interval is the percentile bootstrap over examples. Paper: Efron, Bootstrap Methods (1979).

    >>> proportion("accuracy", [True, True, False, True], seed=1)
    {'accuracy': 0.75, 'accuracy_low': 0.25, 'accuracy_high': 1.0}
    """
    return interval(name, hits, seed)


def interval(name: str, scores: npt.ArrayLike, seed: int) -> dict[str, float]:
    """Returns the mean of scores by example and a 95 % interval, as `proportion` does.

    >>> interval("f1", [50.0, 50.0], seed=1)
    {'f1': 50.0, 'f1_low': 50.0, 'f1_high': 50.0}
    """
    values = np.asarray(scores, np.float64)
    rng = np.random.default_rng(seed)
    means = [rng.choice(values, len(values)).mean() for _ in range(N_RESAMPLES)]
    low, high = np.quantile(means, [LOW, HIGH])
    found = {name: values.mean(), f"{name}_low": low, f"{name}_high": high}
    return {key: rounded(value) for key, value in found.items()}

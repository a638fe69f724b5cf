"""What a task gets, and what it reports: figures, and the protocol that they hold under.

Decisions:
- Every figure of quality has a 95 % interval, the percentile bootstrap. What is drawn again is what
  can be thought of as drawn: examples, documents, pages; of a running text its articles, or blocks
  of it where it has none marked. A protocol says which (`resampled`).
- Tokens are never drawn one by one: a token depends on those before it, so that intervals over
  tokens are too narrow. Blocks lie side by side and keep what is dependent together. Where articles
  are longer than blocks (enwik8), the interval is still somewhat too narrow.
- A perplexity is a ratio of sums, so sums are drawn, not perplexities of examples.

Paper: Efron, Bootstrap Methods (1979). Carlstein, The Use of Subseries Values for Estimating the
Variance of a General Statistic from a Stationary Sequence (1986), blocks side by side; Künsch, The
Jackknife and the Bootstrap for General Stationary Observations (1989), blocks that overlap.
"""

import math
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
MAX_DRAWN = 1 << 18  # rows drawn at once
LOW, HIGH = 0.025, 0.975  # quantiles of the reported interval
MAX_EXPONENT = math.log(1e300)  # a perplexity beyond the range of a float is left out
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
        among: Returns the figures of some examples alone.
    """

    name: str
    figures: dict[str, float]
    protocol: dict[str, Any]
    among: Callable[[Chosen], dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A ratio of two sums over the same units, and its interval; None for fewer than two units."""

    value: float
    low: float | None
    high: float | None


def rounded(value: float) -> float:
    """Returns a figure with `DIGITS` significant digits.

    >>> rounded(1234.56789), rounded(0.00012345678)
    (1234.57, 0.000123457)
    """
    return float(f"{value:.{DIGITS}g}")


def proportion(name: str, hits: npt.ArrayLike, seed: int) -> dict[str, float]:
    """Returns the mean of hits and a 95 % interval: `name`, `name_low`, `name_high`.

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
    means = resampled(values[:, np.newaxis], seed)[:, 0] / len(values)
    low, high = np.quantile(means, [LOW, HIGH])
    found = {name: values.mean(), f"{name}_low": low, f"{name}_high": high}
    return {key: rounded(value) for key, value in found.items()}


def resampled(table: Floats, seed: int) -> Floats:
    """Returns (N_RESAMPLES, k): sums of n rows drawn from an (n, k) table, with replacement."""
    rng, n = np.random.default_rng(seed), len(table)
    step = max(1, MAX_DRAWN // n)
    counts = [min(step, N_RESAMPLES - start) for start in range(0, N_RESAMPLES, step)]
    return np.concatenate([table[rng.integers(0, n, (k, n))].sum(axis=1) for k in counts])


def rates(nll: npt.ArrayLike, counts: npt.ArrayLike, seed: int) -> list[Rate]:
    """Returns sum(nll) / sum(count) for each kind of count, with 95 % intervals.

    Args:
        nll: (n,) negative log-likelihood of each unit that is drawn again, nats.
        counts: (n, k) tokens, words, bytes of it; a ratio without any is infinite.
        seed: Of the draws; all ratios see the same ones.

    >>> rates([2.0, 2.0, 2.0], [[1.0], [1.0], [1.0]], seed=1)
    [Rate(value=2.0, low=2.0, high=2.0)]
    """
    table = np.column_stack([np.asarray(nll, np.float64), np.asarray(counts, np.float64)])
    draws, whole = resampled(table, seed), table.sum(axis=0)
    found = []
    for column in range(1, table.shape[1]):
        value = whole[0] / whole[column] if whole[column] else math.inf
        usable = draws[draws[:, column] > 0]
        if len(table) < 2 or not len(usable):
            found.append(Rate(value=float(value), low=None, high=None))
            continue
        low, high = np.quantile(usable[:, 0] / usable[:, column], [LOW, HIGH])
        found.append(Rate(value=float(value), low=float(low), high=float(high)))
    return found


def perplexity(name: str, rate: Rate) -> dict[str, float]:
    """Returns exp of a rate and of its interval's ends, as far as floats can hold them.

    >>> perplexity("perplexity", Rate(value=math.log(8), low=math.log(4), high=math.log(16)))
    {'perplexity': 8.0, 'perplexity_low': 4.0, 'perplexity_high': 16.0}
    >>> perplexity("perplexity", Rate(value=math.log(8), low=math.log(4), high=1000.0))
    {'perplexity': 8.0}
    """
    return _figures(name, rate, lambda x: math.exp(x) if x < MAX_EXPONENT else None)


def bits(name: str, rate: Rate) -> dict[str, float]:
    """Returns a rate and its interval in bits.

    >>> bits("bits_per_byte", Rate(value=math.log(4), low=None, high=None))
    {'bits_per_byte': 2.0}
    """
    return _figures(name, rate, lambda x: x / math.log(2) if math.isfinite(x) else None)


def _figures(name: str, rate: Rate, scale: Callable[[float], float | None]) -> dict[str, float]:
    keys, found = (name, f"{name}_low", f"{name}_high"), (rate.value, rate.low, rate.high)
    made = [None if each is None else scale(each) for each in found]
    n = 3 if None not in made else 1  # an interval with one end would look like a whole one
    told = zip(keys[:n], made[:n], strict=True)
    return {key: rounded(each) for key, each in told if each is not None}

"""Whether one way of training is better than another: means over seeds, intervals, a verdict.

                 example 0   1   2  ...
    seed 1            c      w   c          resampled with replacement: the seeds of each way by
    seed 2            c      c   w          themselves, the examples for both ways alike
     ...

Decisions:
- Seeds are drawn anew for either way: seed 1 of one has nothing in common with seed 1 of the other.
  Examples are shared: a hard one is hard for both.
- "shown" needs the whole 95 % interval on the claimed side of 0; "reversed", on the other. Anything
  else is "not shown", which is no proof of equality: the interval says how large an effect may be.

Paper: Efron, Bootstrap Methods (1979); both levels at once as in Bouthillier et al., Accounting for
Variance in Machine Learning Benchmarks (2021), section 4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from model.finetune import metrics
from model.finetune.tasks import Metric
from model.tasks.results import HIGH, LOW, N_RESAMPLES, rounded

Floats = npt.NDArray[np.float64]
Verdict = Literal["shown", "not shown", "reversed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What one way of training predicts.

    Attributes:
        predicted: (seeds, examples) classes, answers or scores.
        labels: (examples,) what is right.
        metric: How it is judged.
    """

    predicted: Floats
    labels: Floats
    metric: Metric

    @property
    def by_seed(self) -> list[float]:
        """(seeds,) values."""
        return [metrics.value(self.metric, each, self.labels) for each in self.predicted]

    def mean(self, seeds: npt.NDArray[np.int64], examples: npt.NDArray[np.int64]) -> float:
        """Returns the mean over some seeds of the value on some examples, repeats included."""
        labels = self.labels[examples]
        counts = np.bincount(seeds, minlength=len(self.predicted))
        values = [
            count * metrics.value(self.metric, each[examples], labels)
            for count, each in zip(counts, self.predicted, strict=True)
            if count
        ]
        return float(sum(values) / len(seeds))


def summary(way: Way, seed: int) -> dict[str, float]:
    """Returns `mean`, `mean_low`, `mean_high` over seeds and examples, and `seed_std`."""
    low, high = _interval(lambda rng, some: way.mean(_drawn(rng, way), some), way, seed)
    values = way.by_seed
    found = {"mean": float(np.mean(values)), "mean_low": low, "mean_high": high}
    if len(values) > 1:
        found["seed_std"] = float(np.std(values, ddof=1))
    return {name: rounded(value) for name, value in found.items()}


def compare(way: Way, base: Way, seed: int) -> dict[str, float | Verdict]:
    """Returns by how much a way is better than another, with its 95 % interval and a verdict.

    Args:
        way: The one that is claimed to be better.
        base: The other, on the same examples.
        seed: Of the resampling.

    Raises:
        ValueError: If the examples are not the same.
    """
    if way.metric != base.metric or not np.array_equal(way.labels, base.labels):
        raise ValueError("two ways are compared on other examples or by other metrics")
    gain = float(np.mean(way.by_seed) - np.mean(base.by_seed))
    low, high = _interval(
        lambda rng, some: way.mean(_drawn(rng, way), some) - base.mean(_drawn(rng, base), some),
        way,
        seed,
    )
    told = {"gain": gain, "gain_low": low, "gain_high": high}
    return {**{name: rounded(value) for name, value in told.items()}, "verdict": verdict(low, high)}


def verdict(low: float, high: float) -> Verdict:
    """Returns what an interval of a gain shows.

    >>> verdict(0.01, 0.05), verdict(-0.01, 0.05), verdict(-0.05, -0.01)
    ('shown', 'not shown', 'reversed')
    """
    if low > 0:
        return "shown"
    return "reversed" if high < 0 else "not shown"


def _drawn(rng: np.random.Generator, way: Way) -> npt.NDArray[np.int64]:
    n = len(way.predicted)
    return rng.integers(n, size=n)


def _interval(
    value: Callable[[np.random.Generator, npt.NDArray[np.int64]], float], way: Way, seed: int
) -> tuple[float, float]:
    """Returns the 95 % interval of a value over resampled examples, and what it draws itself."""
    rng = np.random.default_rng(seed)
    n = len(way.labels)
    values = [value(rng, rng.integers(n, size=n)) for _ in range(N_RESAMPLES)]
    low, high = np.quantile(values, [LOW, HIGH])
    return float(low), float(high)

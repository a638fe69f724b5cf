"""The paper's metrics: values, intervals, and what guessing would reach.

    accuracy    share of right classes or answers
    f1          of the second class: 2 TP / (2 TP + FP + FN); 0 where it is neither met nor said
    matthews    (TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN)); 0 where a factor is 0
    pearson     of scores, 0 where one side does not vary
    spearman    pearson of ranks, equal values share the mean of theirs

All are fractions or coefficients; papers print them times 100.

Paper: GPT-1, section 4.2 and table 4: accuracy, Matthews correlation (CoLA), F1 (MRPC, QQP),
Pearson correlation (STS-B).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from model.finetune.tasks import Metric, Task
from model.tasks.results import HIGH, LOW, N_RESAMPLES, rounded

Floats = npt.NDArray[np.float64]


def value(metric: Metric, predicted: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Returns a metric of predictions.

    Args:
        metric: Which one.
        predicted: (n,) classes, answers or scores.
        labels: (n,) what is right.

    Raises:
        ValueError: If there is no example, or the sides have other lengths.

    >>> value("accuracy", [0, 1, 1, 1], [0, 1, 1, 0])
    0.75
    >>> value("f1", [0, 1, 1, 1], [0, 1, 1, 0])
    0.8
    """
    sides = np.asarray(predicted, np.float64), np.asarray(labels, np.float64)
    if sides[0].shape != sides[1].shape or sides[0].ndim != 1 or not len(sides[0]):
        raise ValueError(f"{sides[0].shape} predictions of {sides[1].shape} labels; expected (n,)")
    return _METRICS[metric](*sides)


def figures(
    task: Task, predicted: npt.ArrayLike, labels: npt.ArrayLike, seed: int
) -> dict[str, float]:
    """Returns each metric of a task with its 95 % interval: `f1`, `f1_low`, `f1_high`.

    The interval is the percentile bootstrap over examples. Paper: Efron, Bootstrap Methods (1979).

    Args:
        task: Names the metrics.
        predicted: (n,) classes, answers or scores.
        labels: (n,) what is right.
        seed: Of the resampling.
    """
    sides = np.asarray(predicted, np.float64), np.asarray(labels, np.float64)
    found: dict[str, float] = {}
    for metric in task.metrics:
        rng = np.random.default_rng(seed)  # the same resamples for every metric
        drawn = (rng.integers(len(sides[0]), size=len(sides[0])) for _ in range(N_RESAMPLES))
        again = [value(metric, sides[0][some], sides[1][some]) for some in drawn]
        low, high = np.quantile(again, [LOW, HIGH])
        found |= {metric: value(metric, *sides), f"{metric}_low": low, f"{metric}_high": high}
    return {name: rounded(figure) for name, figure in found.items()}


def majority(task: Task, trained: npt.ArrayLike, labels: npt.ArrayLike) -> dict[str, float]:
    """Returns each metric of always saying what is most frequent in the training labels.

    Args:
        task: Names the metrics; of a graded task the mean is said, which correlates with nothing.
        trained: (m,) labels of the training split.
        labels: (n,) labels of the scored split.
    """
    known = np.asarray(trained, np.float64)
    values, counts = np.unique(known, return_counts=True)
    said = known.mean() if task.grades is not None else values[counts.argmax()]
    always = np.full(len(np.asarray(labels)), said)
    return {metric: rounded(value(metric, always, labels)) for metric in task.metrics}


def _accuracy(predicted: Floats, labels: Floats) -> float:
    return float((predicted == labels).mean())


def _counts(predicted: Floats, labels: Floats) -> tuple[int, int, int, int]:
    """Returns true positives, false positives, false negatives, true negatives; 1 is positive."""
    said, right = predicted == 1, labels == 1
    both = ((said & right), (said & ~right), (~said & right), (~said & ~right))
    tp, fp, fn, tn = (int(each.sum()) for each in both)
    return tp, fp, fn, tn


def _f1(predicted: Floats, labels: Floats) -> float:
    tp, fp, fn, _ = _counts(predicted, labels)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def _matthews(predicted: Floats, labels: Floats) -> float:
    tp, fp, fn, tn = _counts(predicted, labels)
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return float((tp * tn - fp * fn) / product**0.5) if product else 0.0


def _pearson(predicted: Floats, labels: Floats) -> float:
    one, other = predicted - predicted.mean(), labels - labels.mean()
    # A constant side may be off zero by rounding, which would then be correlated.
    if np.ptp(predicted) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float((one @ other) / np.sqrt((one @ one) * (other @ other)))


def _spearman(predicted: Floats, labels: Floats) -> float:
    return _pearson(ranks(predicted), ranks(labels))


def ranks(values: Floats) -> Floats:
    """Returns ranks from 1; equal values share the mean of theirs.

    >>> ranks(np.array([10.0, 20.0, 10.0])).tolist()
    [1.5, 3.0, 1.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


_METRICS: dict[Metric, Callable[[Floats, Floats], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}

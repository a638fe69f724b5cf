"""Metrics: by hand, beside scikit-learn and scipy, and what a bootstrap must keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.finetune import metrics
from model.finetune.published import TASKS
from model.finetune.tasks import Metric, Task

BY_NAME = {each.task.name: each.task for each in TASKS}

PREDICTED = [1, 1, 1, 0, 0, 0, 1, 0]
LABELS = [1, 0, 1, 1, 0, 0, 1, 0]  # TP 3, FP 1, FN 1, TN 3


@pytest.mark.parametrize(
    ("metric", "value"),
    [("accuracy", 6 / 8), ("f1", 6 / 8), ("matthews", (3 * 3 - 1) / 16)],
)
def test_counts_by_hand(metric: Metric, value: float) -> None:
    assert metrics.value(metric, PREDICTED, LABELS) == pytest.approx(value, abs=1e-15)


def test_correlations_by_hand() -> None:
    one, other = [1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 10.0]
    # deviations -1.5 -.5 .5 1.5 and -3 -1 -2 6: products 4.5 .5 -1 9; squares 5 and 50
    assert metrics.value("pearson", one, other) == pytest.approx(13 / 250**0.5, abs=1e-15)
    # ranks 1 2 3 4 and 1 3 2 4: 1 - 6 * 2 / (4 * 15)
    assert metrics.value("spearman", one, other) == pytest.approx(0.8, abs=1e-15)


@pytest.mark.parametrize(
    ("metric", "predicted", "labels"),
    [
        ("f1", [0, 0], [0, 0]),
        ("matthews", [1, 1, 1], [1, 0, 1]),
        ("pearson", [0.1, 0.1, 0.1], [1, 2, 3]),
        ("spearman", [1, 2, 3], [4, 4, 4]),
    ],
)
def test_value_that_is_not_defined_is_zero(
    metric: Metric, predicted: list[float], labels: list[float]
) -> None:
    assert metrics.value(metric, predicted, labels) == 0


@pytest.mark.parametrize(("predicted", "labels"), [([], []), ([1], [1, 0])])
def test_sides_that_do_not_fit_are_refused(predicted: list[int], labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"expected \(n,\)"):
        metrics.value("accuracy", predicted, labels)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60))
def test_classes_agree_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    predicted, labels = (np.array(side) for side in zip(*pairs, strict=True))
    ours = {name: metrics.value(name, predicted, labels) for name in ("accuracy", "f1", "matthews")}
    assert ours["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, predicted))
    assert ours["f1"] == pytest.approx(sklearn.f1_score(labels, predicted, zero_division=0))
    if len(np.unique(labels)) > 1 and len(np.unique(predicted)) > 1:
        assert ours["matthews"] == pytest.approx(sklearn.matthews_corrcoef(labels, predicted))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=60))
def test_correlations_agree_with_scipy(pairs: list[tuple[int, int]]) -> None:
    scipy = pytest.importorskip("scipy.stats")
    one, other = (np.array(side, np.float64) for side in zip(*pairs, strict=True))
    if np.ptp(one) and np.ptp(other):
        assert metrics.value("pearson", one, other) == pytest.approx(scipy.pearsonr(one, other)[0])
        expected = scipy.spearmanr(one, other)[0]
        assert metrics.value("spearman", one, other) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["sst2", "cola", "mrpc", "stsb"])
def test_interval_holds_the_value_and_is_reproducible(name: str) -> None:
    task: Task = BY_NAME[name]
    rng = np.random.default_rng(5)
    labels = rng.integers(2, size=200).astype(np.float64)
    predicted = np.where(rng.random(200) < 0.8, labels, 1 - labels)
    found = metrics.figures(task, predicted, labels, seed=1)
    assert set(found) == {f"{m}{end}" for m in task.metrics for end in ("", "_low", "_high")}
    for metric in task.metrics:
        assert found[f"{metric}_low"] < found[metric] < found[f"{metric}_high"]
        assert found[metric] == pytest.approx(metrics.value(metric, predicted, labels), rel=1e-5)
    assert found == metrics.figures(task, predicted, labels, seed=1)


def test_accuracy_s_interval_is_that_of_a_proportion() -> None:
    labels = np.array([1.0] * 100)
    predicted = np.array([1.0] * 80 + [0.0] * 20)
    found = metrics.figures(BY_NAME["sst2"], predicted, labels, seed=2)
    half = 1.96 * (0.8 * 0.2 / 100) ** 0.5
    assert found["accuracy_low"] == pytest.approx(0.8 - half, abs=0.015)
    assert found["accuracy_high"] == pytest.approx(0.8 + half, abs=0.015)


def test_majority_says_the_training_split_s_most_frequent_label() -> None:
    assert metrics.majority(BY_NAME["cola"], [1, 1, 0], [1, 0, 0, 0]) == {
        "matthews": 0.0,
        "accuracy": 0.25,
    }
    assert metrics.majority(BY_NAME["mrpc"], [1, 1, 0], [1, 0])["f1"] == pytest.approx(2 / 3)
    assert metrics.majority(BY_NAME["stsb"], [1.0, 5.0], [0.0, 5.0])["pearson"] == 0

"""The whole graph as a benchmark; its small run is what tests/e2e runs once already."""

import pytest

from benchmarks import graph
from benchmarks.harness import Run


def test_another_root_in_one_round_is_told() -> None:
    same = dict.fromkeys(graph._DATA, "a")
    assert graph._equal([same, same]) == 1.0
    other = {**same, "clean": "b"}
    assert graph._equal([same, other]) == pytest.approx(1 - 1 / len(graph._DATA))


def test_ratio_is_to_the_clock() -> None:
    runs = [Run(500.0, 160.0, 0, {"first_s": seconds}) for seconds in (100.0, 150.0, 600.0)]
    assert graph._to_limit(runs) == {
        "against": "300 s by the clock",
        "ratio": 2.0,
        "spread": [0.5, 3.0],
    }

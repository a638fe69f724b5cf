"""The change that a rule makes, by hand; the stage on a graph is in tests/e2e/test_ablate.py."""

import numpy as np
import pytest

from model import ablation


def test_change_is_the_mean_over_seeds_of_the_documents_bits_per_byte() -> None:
    base = np.array([[10.0, 20.0], [12.0, 22.0]])  # (seeds, documents) nats
    variant = base + np.array([[1.0, 3.0], [3.0, 5.0]])
    told = ablation.change(variant, base, np.array([4.0, 8.0]))
    assert told["change"] == pytest.approx((2 + 4) / 12 / np.log(2), rel=1e-5)
    assert told["change_low"] == told["change_high"] == told["change"]  # 2 / 4 = 4 / 8


def test_change_interval_holds_the_truth_as_often_as_it_says() -> None:
    chance = np.random.default_rng(7)
    n_bytes = np.full(60, 100.0)
    hits = 0
    for _ in range(200):
        gained = chance.normal(0.5, 4.0, size=(1, 60))
        told = ablation.change(gained, np.zeros((1, 60)), n_bytes)
        hits += told["change_low"] <= 0.5 / 100 / np.log(2) <= told["change_high"]
    assert 175 <= hits <= 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": ()}, "seeds is"),
        ({"warmup_steps": 9}, "warmup_steps is 9"),
        ({"steps": 0}, "steps"),
    ],
)
def test_config_out_of_range_is_refused(change: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"steps": 9, "warmup_steps": 2, "seeds": (1,), "rules": ()}
    with pytest.raises(ValueError, match=message):
        ablation.Config(**{**values, **change})  # type: ignore[arg-type]

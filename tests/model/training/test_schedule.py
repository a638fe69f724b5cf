"""The learning rate."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.schedule import Schedule, learning_rate

SCHEDULES = st.integers(1, 400).flatmap(
    lambda steps: st.builds(
        Schedule,
        lr=st.floats(1e-6, 1.0),
        min_lr_frac=st.floats(0, 1),
        warmup_steps=st.integers(0, steps - 1),
        steps=st.just(steps),
    )
)


def test_learning_rate_matches_hand_computation() -> None:
    """Warm-up 2 of 6; then cosine of 1/4, 2/4, 3/4, 4/4 of the way: .854, .5, .146, 0."""
    plan = Schedule(lr=2.0, min_lr_frac=0.0, warmup_steps=2, steps=6)
    found = [learning_rate(step, plan) for step in range(6)]
    assert found == pytest.approx([1.0, 2.0, 1.707107, 1.0, 0.292893, 0.0], abs=1e-6)


@given(SCHEDULES)
def test_learning_rate_rises_then_falls_and_ends_at_its_minimum(plan: Schedule) -> None:
    rates = [learning_rate(step, plan) for step in range(plan.steps)]
    top = plan.warmup_steps
    assert all(a < b for a, b in pairwise(rates[:top]))
    assert all(a >= b for a, b in pairwise(rates[top:]))
    assert max(rates) <= plan.lr * (1 + 1e-12)
    assert rates[-1] == pytest.approx(plan.lr * plan.min_lr_frac)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.0}, "lr is 0.0"),
        ({"min_lr_frac": 1.5}, "min_lr_frac is 1.5"),
        ({"warmup_steps": 10}, "warmup_steps is 10; expected 0 <= x < steps = 10"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_schedule_refuses_impossible_settings(changes: dict[str, float], message: str) -> None:
    fields = {"lr": 1e-3, "min_lr_frac": 0.1, "warmup_steps": 2, "steps": 10}
    with pytest.raises(ValueError, match=message):
        Schedule(**{**fields, **changes})

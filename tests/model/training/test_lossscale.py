"""fp16's loss scale: halved by an overflow, doubled after a thousand steps without one."""

from hypothesis import given
from hypothesis import strategies as st

from model.training.lossscale import FIRST, LossScale


def test_scale_doubles_after_a_thousand_good_steps_and_an_overflow_starts_the_count_anew() -> None:
    scale = LossScale()
    for _ in range(999):
        scale.update(overflow=False)
    assert scale.value == FIRST
    scale.update(overflow=False)
    assert scale.value == 2 * FIRST
    for _ in range(999):
        scale.update(overflow=False)
    scale.update(overflow=True)
    assert scale.value == FIRST
    for _ in range(999):
        scale.update(overflow=False)
    assert scale.value == FIRST


def test_scale_stays_within_its_bounds() -> None:
    scale = LossScale()
    for _ in range(40):
        scale.update(overflow=True)
    assert scale.value == 1.0
    for _ in range(30_000):
        scale.update(overflow=False)
    assert scale.value == 2.0**24


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 30))
def test_scale_resumed_at_any_step_goes_on_alike(overflows: list[bool], cut: int) -> None:
    straight, first, second = LossScale(), LossScale(), LossScale()
    for overflow in overflows:
        straight.update(overflow=overflow)
    for overflow in overflows[:cut]:
        first.update(overflow=overflow)
    second.load(first.state())
    for overflow in overflows[cut:]:
        second.update(overflow=overflow)
    assert second.state() == straight.state()

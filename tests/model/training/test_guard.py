"""Which steps count: what is not finite, spikes, the policy, and a state that resumes."""

import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.guard import Fault, Guard, few, suspects, zscore
from tests.model.training.small_runs import config

finite = st.floats(-1e6, 1e6)
NAN, INF = math.nan, math.inf


def guard(*, scaled: bool = False, **changes: Any) -> Guard:
    return Guard(config(**{"spike_window": 4, **changes}).guard(), scaled=scaled)


def feed(judge: Guard, losses: list[float]) -> list[str | None]:
    """The kind of each step's fault; the norm is a tenth of the loss."""
    kinds = []
    for step, loss in enumerate(losses):
        fault = judge.judge(loss, abs(loss) / 10)
        judge.count(step, loss, abs(loss) / 10, fault)
        kinds.append(fault and fault.kind)
    return kinds


@pytest.mark.parametrize(
    ("loss", "norm", "scaled", "kind"),
    [
        (5.0, 1.0, False, None),
        (NAN, 1.0, False, "loss"),
        (INF, 1.0, True, "loss"),
        (5.0, INF, False, "gradient"),
        (5.0, NAN, False, "gradient"),
        (5.0, INF, True, "overflow"),
    ],
)
def test_judge_refuses_what_is_not_finite(
    loss: float, norm: float, scaled: bool, kind: str | None
) -> None:
    fault = guard(scaled=scaled).judge(loss, norm)
    assert (fault and fault.kind) == kind


@given(finite, st.lists(finite, min_size=2, max_size=50))
def test_zscore_is_that_of_the_statistics_module(value: float, past: list[float]) -> None:
    deviation = statistics.pstdev(past)
    if deviation < 1e-9:
        return
    expected = (value - statistics.mean(past)) / deviation
    assert zscore(value, past) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_spike_is_judged_against_the_full_window_before_it() -> None:
    """Mean 5 and deviation 1 of 4, 6, 4, 6: 8 has z = 3, 8.1 has 3.1."""
    losses = [4.0, 6.0, 4.0, 6.0]
    assert feed(guard(max_spike_zscore=3.05), [*losses, 8.0]) == [None] * 5
    assert feed(guard(max_spike_zscore=3.05), [*losses, 8.1]) == [None] * 4 + ["loss_spike"]
    assert feed(guard(max_spike_zscore=3.05), [4.0, 6.0, 4.0, 80.0]) == [None] * 4
    assert feed(guard(max_spike_zscore=3.05), [*losses, 0.5]) == [None] * 5
    assert feed(guard(max_spike_zscore=None), [*losses, 80.0]) == [None] * 5


def test_spike_of_the_gradient_alone_is_seen() -> None:
    judge = guard(max_spike_zscore=3.0)
    for step, norm in enumerate([0.9, 1.1, 0.9, 1.1]):
        judge.count(step, 5.0, norm, None)
    assert judge.judge(5.0, 1.2) is None
    fault = judge.judge(5.0, 1.5)
    assert fault is not None
    assert fault.kind == "gradient_spike"
    assert "z = 5.0 (train.max_spike_zscore is 3.0)" in fault.text


def test_skipped_spikes_stay_out_of_the_window_until_they_are_a_level() -> None:
    calm = [4.0, 6.0, 4.0, 6.0]
    spike = "loss_spike"
    judge = guard(max_spike_zscore=3.0, max_skipped_steps=9)
    assert feed(judge, [*calm, 50.0, 50.0, 5.0, 50.0]) == [None] * 4 + [spike, spike, None, spike]
    assert max(judge.state()["losses"]) == 6.0
    assert feed(judge, [50.0, 50.0]) == [spike, spike]
    assert judge.judge(50.0, 5.0) is None, "the third in a row is in the window"


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.data())
def test_guard_resumed_at_any_step_judges_alike(losses: list[float], data: st.DataObject) -> None:
    straight = guard(max_spike_zscore=2.0)
    kinds = feed(straight, losses)
    cut = data.draw(st.integers(0, len(losses)))
    first, second = guard(max_spike_zscore=2.0), guard(max_spike_zscore=2.0)
    began = feed(first, losses[:cut])
    second.load(first.state())
    assert began + feed(second, losses[cut:]) == kinds
    numbers = [each["kind"] for each in second.skipped]
    assert numbers == [kind for kind in kinds if kind]
    assert second.in_row == straight.in_row


def test_policy_stop_ends_at_the_first_fault_but_for_fp16_s_overflows() -> None:
    judge = guard(scaled=True, on_bad_step="stop", max_skipped_steps=2)
    overflow = Fault("overflow", "")
    for step in range(2):
        judge.count(step, 5.0, INF, overflow)
        assert not judge.must_stop(overflow)
    judge.count(2, 5.0, INF, overflow)
    assert judge.must_stop(overflow)
    assert "3 such steps in a row, train.max_skipped_steps is 2" in judge.remedy(overflow)
    assert guard(on_bad_step="stop").must_stop(Fault("loss", ""))


def test_policy_skip_forgives_so_many_in_a_row_and_a_good_step_forgives_all() -> None:
    judge = guard(on_bad_step="skip", max_skipped_steps=2)
    fault = Fault("loss", "")
    for step, bad in enumerate([True, True, False, True, True]):
        judge.count(step, NAN if bad else 5.0, 1.0, fault if bad else None)
        assert not judge.must_stop(fault)
    judge.count(5, NAN, 1.0, fault)
    assert judge.must_stop(fault)
    assert [each["step"] for each in judge.skipped] == [0, 1, 3, 4, 5]


def test_suspects_are_the_bad_micro_batches_windows_else_the_highest_loss_s() -> None:
    windows = list(range(10, 18))
    loss, spike, gradient = (Fault(kind, "") for kind in ("loss", "loss_spike", "gradient"))
    assert suspects(windows, [5.0, NAN, 5.0, INF], loss) == [12, 13, 16, 17]
    assert suspects(windows, [5.0, 6.0, 9.0, 7.0], spike) == [14, 15]
    assert suspects(windows, [5.0, 6.0, 9.0, 7.0], gradient) == windows
    assert few(windows) == "10 11 12 13 14 15 16 17"

"""What a task may hold: told in words, the node goes on, and what fits is left alone."""

import time
from itertools import pairwise

import pytest
import ray

from pipeline.engine import memory
from pipeline.engine.cluster import RayEngine
from pipeline.engine.tasks import Engine
from pipeline.store.errors import ShardError

MB = 1_000_000


def hold(n_mb: int) -> int:
    """Holds so much, 20 MB at a time, and returns how often."""
    held: list[bytes] = []
    while len(held) * 20 < n_mb:
        held.append(b"x" * (20 * MB))
        time.sleep(0.02)
    return len(held)


def at_work(_item: int) -> float:
    time.sleep(0.5)
    return time.monotonic()


def test_what_is_held_is_seen() -> None:
    before = memory.held_bytes()
    held = b"x" * (200 * MB)
    assert 190 * MB < memory.held_bytes() - before < 260 * MB
    assert len(held) == 200 * MB


def test_nothing_is_watched_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(memory.SETTING, raising=False)
    assert memory.limit_bytes() is None
    with memory.limited(None):
        assert hold(60) == 3


def test_a_block_that_holds_more_ends_with_what_to_do() -> None:
    limit = memory.held_bytes() + 200 * MB
    with (
        pytest.raises(ShardError, match=r"holds \d\.\d\d GB, OUTBOUND_TASK_MEMORY is .*plan"),
        memory.limited(limit),
    ):
        hold(2_000)
    with memory.limited(limit):  # the process goes on, and nothing is raised late
        assert hold(60) == 3


def test_a_block_that_passes_the_limit_at_its_end_raises_nothing_later() -> None:
    for n_mb in (100, 120, 140, 160):
        try:
            with memory.limited(memory.held_bytes() + n_mb * MB):
                hold(160)
        except ShardError:
            continue
    time.sleep(0.3)
    assert sum(range(100_000)) == 4_999_950_000


@pytest.mark.parametrize("given", ["much", "0", "-1", "nan", "inf", "0.1"])
def test_a_limit_that_is_none_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory.SETTING, given)
    with pytest.raises(ValueError, match=rf"OUTBOUND_TASK_MEMORY is {given}; expected GB"):
        memory.limit_bytes()


def test_a_task_over_the_limit_fails_and_the_next_one_runs(
    ray_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ray_engine
    monkeypatch.setenv(memory.SETTING, "0.6")
    engine = RayEngine()
    with pytest.raises(ShardError, match=r"OUTBOUND_TASK_MEMORY is 0\.6"):
        list(engine.map(hold, [40, 3_000]))
    assert sorted(engine.map(hold, [40, 60])) == [(0, 2), (1, 3)]


def test_a_limit_that_no_node_has_is_refused_at_once(
    ray_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ray_engine
    monkeypatch.setenv(memory.SETTING, "100000")
    with pytest.raises(ValueError, match=r"expected at most .* what the largest node has"):
        RayEngine()


def test_no_more_tasks_run_than_have_their_memory(
    ray_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ray_engine
    most = max(node["Resources"]["memory"] for node in ray.nodes()) / 1e9
    monkeypatch.setenv(memory.SETTING, f"{most * 0.6:.3f}")  # two would need more than there is
    ends = sorted(end for _, end in RayEngine().map(at_work, [0, 1, 2]))
    assert all(later - earlier >= 0.45 for earlier, later in pairwise(ends))

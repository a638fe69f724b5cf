"""Ray: loopback only, a second process joins, errors arrive as they were raised."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from pipeline.engine.identity import ROOT
from pipeline.engine.tasks import Engine
from pipeline.store.errors import RetryableError, ShardError

JOIN = """
from pipeline.engine import parallel
with parallel.engine() as engine:
    print(sorted(engine.map(str, [1, 2, 3])))
"""


def fail(item: int) -> int:
    if item == 2:
        raise ValueError("item two is odd")
    return item


def fail_once(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        raise RetryableError("not yet")
    return "done"


def die(_item: int) -> None:
    os._exit(9)


def address() -> str:
    return str(ray.get_runtime_context().gcs_address)


def test_engine_of_this_machine_listens_on_loopback(ray_engine: Engine) -> None:
    assert ray_engine
    assert address().startswith("127.0.0.1:")


def test_engine_of_another_process_joins_by_address(ray_engine: Engine) -> None:
    assert ray_engine
    done = subprocess.run(
        [sys.executable, "-c", JOIN],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": address()},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "[(0, '1'), (1, '2'), (2, '3')]\n", done.stderr


def test_map_error_of_the_function_is_raised_as_it_was(ray_engine: Engine) -> None:
    with pytest.raises(ValueError, match="item two is odd"):
        list(ray_engine.map(fail, [1, 2, 3]))


def test_map_retryable_error_is_tried_again(ray_engine: Engine, tmp_path: Path) -> None:
    assert list(ray_engine.map(fail_once, [tmp_path / "marker"])) == [(0, "done")]


def test_map_dying_worker_is_a_stated_failure(ray_engine: Engine) -> None:
    with pytest.raises(ShardError, match=r"task 0: its worker died 3 times"):
        list(ray_engine.map(die, [1]))


def test_map_takes_more_items_than_fit_in_flight(ray_engine: Engine) -> None:
    assert dict(ray_engine.map(abs, list(range(0, -40, -1)))) == {i: i for i in range(40)}

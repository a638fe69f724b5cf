"""The sandbox: answers come back, whatever a page does stays inside."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.store.errors import RetryableError, ShardError
from pipeline.store.records import Drop
from pipeline.text.sandbox import Limits, Sandbox, lend

_WORKER = "tests.pipeline.text.misbehaving_worker"
_LIMITS = Limits(max_cpu_s=0.3, max_memory_bytes=256 << 20, recycle_pages=100)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(_WORKER, {"colour": "blue"}, _LIMITS) as running:
        yield running


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_for_end(pid: int) -> bool:
    """Returns whether a process that is no child of ours ends within ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return True
        os.sched_yield()
    return False


def test_run_question_and_page_arrive_and_answer_returns(sandbox: Sandbox) -> None:
    answer = sandbox.run({"do": "", "text": "Grüße \ud83d\x00"}, bytes(3_000_000))
    assert isinstance(answer, dict)
    assert (answer["size"], answer["text"]) == (3_000_000, "Grüße \ud83d\x00")
    assert answer["setup"] == {"colour": "blue"}


def test_run_worker_prints_frames_are_not_disturbed(sandbox: Sandbox) -> None:
    for _ in range(3):
        assert isinstance(sandbox.run({"do": "chatter"}, b""), dict)


def test_run_user_environment_does_not_reach_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("PYTHONHASHSEED", "5")
    monkeypatch.setenv("SECRET_TOKEN", "x" * 100)
    with Sandbox(_WORKER, {}, _LIMITS) as running:
        answer = running.run({"do": ""}, b"")
    assert isinstance(answer, dict)
    assert answer["zone"] == "UTC"
    assert answer["env"] <= 8


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        ("spin", Drop("cpu_limit")),
        ("spin_in_c", Drop("cpu_limit")),
        ("hoard", Drop("memory_limit", "MemoryError")),
        ("segfault", Drop("crashed", "SIGSEGV")),
        ("raise", Drop("crashed", "KeyError")),
        ("exit", Drop("crashed", "exit status 7")),
        ("garble", Drop("crashed", "no readable answer")),
    ],
)
def test_run_bad_page_is_named_and_the_next_one_works(
    sandbox: Sandbox, deed: str, expected: Drop
) -> None:
    before = sandbox.run({"do": ""}, b"")
    assert sandbox.run({"do": deed, "text": "x"}, b"") == expected
    after = sandbox.run({"do": "", "text": "next"}, b"")
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert (after["text"], after["seen"]) == ("next", 1)
    assert not _is_alive(before["pid"])


def test_run_page_that_fails_once_is_tried_again_in_a_fresh_worker(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    first = sandbox.run({"do": ""}, b"")
    second = sandbox.run({"do": "spin_once", "mark": str(tmp_path / "mark")}, b"")
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert second["seen"] == 1
    assert second["pid"] != first["pid"]


def test_run_cpu_limit_is_per_page_not_per_worker(sandbox: Sandbox) -> None:
    pids = set()
    for _ in range(40):  # together more CPU time than one page may use
        answer = sandbox.run({"do": ""}, os.urandom(2_000_000))
        assert isinstance(answer, dict)
        pids.add(answer["pid"])
    assert len(pids) == 1


def test_run_many_pages_worker_is_replaced_after_its_share() -> None:
    with Sandbox(_WORKER, {}, replace(_LIMITS, recycle_pages=3)) as running:
        answers = [running.run({"do": ""}, b"") for _ in range(7)]
    assert [answer["seen"] for answer in answers if isinstance(answer, dict)] == [
        1,
        2,
        3,
        1,
        2,
        3,
        1,
    ]
    assert not any(_is_alive(answer["pid"]) for answer in answers if isinstance(answer, dict))


def test_run_worker_killed_from_outside_is_a_crash_only_for_its_page(sandbox: Sandbox) -> None:
    answer = sandbox.run({"do": ""}, b"")
    assert isinstance(answer, dict)
    os.kill(answer["pid"], signal.SIGKILL)
    assert isinstance(sandbox.run({"do": "", "text": "again"}, b""), dict)  # the second try


def test_run_worker_killed_from_outside_twice_is_no_verdict_on_the_page(sandbox: Sandbox) -> None:
    with pytest.raises(RetryableError, match="was ended by SIGKILL twice"):
        sandbox.run({"do": "be_killed"}, b"")


def test_run_worker_that_cannot_start_stops_the_shard(capfd: pytest.CaptureFixture[str]) -> None:
    with Sandbox(_WORKER, {"broken": True}, _LIMITS) as running, pytest.raises(ShardError) as error:
        running.run({"do": ""}, b"")
    assert "ended with status 1 before its first page" in str(error.value)
    assert "this worker cannot start" in capfd.readouterr().err


def _lent_pid(setup: dict[str, str]) -> int:
    with lend(_WORKER, setup, _LIMITS) as running:
        answer = running.run({"do": ""}, b"")
    assert isinstance(answer, dict)
    assert answer["setup"] == setup
    pid: int = answer["pid"]
    return pid


def test_lend_same_setup_twice_is_the_same_worker_another_setup_ends_it() -> None:
    first = _lent_pid({"a": "1"})
    assert _lent_pid({"a": "1"}) == first
    second = _lent_pid({"a": "2"})
    assert second != first
    assert not _is_alive(first)


def test_lend_error_in_the_task_ends_the_worker() -> None:
    pid = _lent_pid({"a": "3"})
    with pytest.raises(KeyError), lend(_WORKER, {"a": "3"}, _LIMITS):
        raise KeyError
    assert not _is_alive(pid)


def test_worker_parent_is_killed_worker_ends_too(tmp_path: Path) -> None:
    code = f"""
        import os, signal, sys
        from pipeline.text.sandbox import Limits, Sandbox
        limits = Limits(max_cpu_s=100.0, max_memory_bytes=1 << 28, recycle_pages=9)
        sandbox = Sandbox({_WORKER!r}, {{}}, limits)
        print(sandbox.run({{"do": ""}}, b"")["pid"], flush=True)
        if os.fork() == 0:
            signal.pause()  # holds the pipes open, so that only the death signal can end the worker
        sandbox.run({{"do": "spin"}}, b"")
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait()
        assert _wait_for_end(worker)
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.stdout.close()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"max_cpu_s": 0.0}, "max_cpu_s is 0.0; expected x > 0"),
        ({"max_memory_bytes": 1}, "max_memory_bytes is 1; expected x >= 67108864"),
        ({"recycle_pages": 0}, "recycle_pages is 0; expected x >= 1"),
    ],
)
def test_limits_out_of_range_are_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(_LIMITS, **change)

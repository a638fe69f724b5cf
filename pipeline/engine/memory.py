"""A task's memory: what it may hold, looked at while it works.

    OUTBOUND_TASK_MEMORY=4 ──> Ray starts no more tasks on a node than have 4 GB each
                          └──> a task that holds more ends with a message; its node goes on

What a task holds is the resident memory of its process, without what it shares with others. A task
that is inside a library call when it passes the limit is told when the call returns; one that
passes half as much again before that is killed.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.store.errors import ShardError

SETTING = "OUTBOUND_TASK_MEMORY"  # GB

_GB = 1_000_000_000
_LOOK_S = 0.1
_KILLED_AT = 1.5  # times the limit
_MIN_GB = 0.3  # a worker of Ray that has imported a step


class _OverLimit(BaseException):  # no `except Exception` of a step may catch it
    """The task holds more than it may."""


def limit_bytes() -> int | None:
    """Returns what a task may hold, None where nothing is set.

    Raises:
        ValueError: If the setting is no number of GB.
    """
    given = os.environ.get(SETTING)
    if not given:
        return None
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = 0.0
    if not _MIN_GB <= gigabytes < float("inf"):
        raise ValueError(f"{SETTING} is {given}; expected GB of a task, at least {_MIN_GB}")
    return int(gigabytes * _GB)


@contextmanager
def limited(max_bytes: int | None) -> Iterator[None]:
    """Ends the block when its process holds more memory than it may.

    Args:
        max_bytes: What it may hold; None is any amount.

    Raises:
        ShardError: If it holds more.
    """
    if max_bytes is None:
        yield
        return
    watch = _Watch(threading.get_ident(), max_bytes)
    watch.start()
    try:
        try:
            yield
        finally:
            watch.stop()  # it may be raised here, too
    except _OverLimit:
        watch.stop()
        held, limit = watch.seen / _GB, max_bytes / _GB
        raise ShardError(
            f"a task holds {held:.2f} GB, {SETTING} is {limit:g}; raise it, or make shards smaller "
            "(`python -m stages.plan` tells GB/worker)"
        ) from None


def held_bytes() -> int:
    """Returns the resident memory of this process without what it shares."""
    _, resident, shared = Path("/proc/self/statm").read_text().split()[:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


class _Watch(threading.Thread):
    """Looks at this process's memory until it is stopped.

    Attributes:
        seen: The most that was held, bytes.
    """

    def __init__(self, thread: int, max_bytes: int) -> None:
        super().__init__(daemon=True)
        self.seen = 0
        self._thread, self._max_bytes = thread, max_bytes
        self._over = threading.Event()
        self._done = threading.Event()

    def run(self) -> None:
        """Raises in the watched thread once; kills the process if that does not help."""
        while not self._done.wait(_LOOK_S):
            self.seen = max(self.seen, held_bytes())
            if self.seen > self._max_bytes and not self._over.is_set():
                self._over.set()
                _raise_in(self._thread, _OverLimit)
            if self.seen > _KILLED_AT * self._max_bytes:
                print(f"a task holds {self.seen / _GB:.2f} GB: killed", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)

    def stop(self) -> None:
        """Ends it, and takes back what has not been raised yet."""
        self._done.set()
        self.join()
        if self._over.is_set():
            _raise_in(self._thread, None)


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Has a thread raise at its next step in Python; None takes that back."""
    raised = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)

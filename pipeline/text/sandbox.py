"""Runs untrusted pages in a process of its own that may be killed at any time.

    shard task ── frame: JSON + page ──>  python -m MODULE   (RLIMIT_AS, CPU timer, dies with
               <── frame: JSON ─────────                      its parent)

Decisions:
- The limits are CPU time and memory of the worker, never wall-clock time: a busy machine changes
  nothing. The kernel ends a page that uses up its CPU time (ITIMER_PROF), also inside C code.
- What a limit ended is tried once more, as the first page of a fresh worker; the second verdict
  stands. So a verdict does not depend on the pages before it.
- Frames are JSON, never pickles: a worker that a page took over cannot run code in the task.
- The worker has a fixed environment (UTC, C.UTF-8, hash seed 0): no setting of the user's machine
  reaches a text.
"""

import atexit
import ctypes
import json
import logging
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from pipeline.store.config import require
from pipeline.store.errors import RetryableError, ShardError
from pipeline.store.records import Drop

Handler = Callable[[dict[str, Any], bytes], dict[str, Any]]

_HEAD = struct.Struct(">II")  # bytes of the JSON part, bytes of the page
_MAX_ANSWER_BYTES = 1 << 28
_ROOT = Path(__file__).resolve().parents[2]
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(_ROOT)}
_KEPT = ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_PR_SET_PDEATHSIG = 1
_ENDED_BY_OTHERS = ("SIGKILL", "SIGTERM", "SIGHUP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one page may use, and when a worker is replaced.

    Attributes:
        max_cpu_s: CPU seconds of one page.
        max_memory_bytes: Address space beyond what the worker has when it starts.
        recycle_pages: Pages after which a worker makes room for a fresh one.
    """

    max_cpu_s: float
    max_memory_bytes: int
    recycle_pages: int

    def __post_init__(self) -> None:
        require("max_cpu_s", self.max_cpu_s, self.max_cpu_s > 0, "x > 0")
        enough = self.max_memory_bytes >= 1 << 26
        require("max_memory_bytes", self.max_memory_bytes, enough, f"x >= {1 << 26}")
        require("recycle_pages", self.recycle_pages, self.recycle_pages >= 1, "x >= 1")


class Sandbox:
    """A worker for shard tasks, started when it is first needed; a context that ends it."""

    def __init__(self, module: str, setup: Mapping[str, Any], limits: Limits) -> None:
        """Prepares a sandbox; nothing is started yet.

        Args:
            module: What the worker runs (`python -m module`); it must call `serve`.
            setup: Plain values for the worker's `prepare`.
            limits: What one page may use.
        """
        self._command = [sys.executable, "-W", "ignore", "-m", module]
        self._hello = {"setup": dict(setup), "limits": asdict(limits)}
        self._recycle_pages = limits.recycle_pages
        self._worker: subprocess.Popen[bytes] | None = None
        self._n_pages = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill()

    def run(self, question: Mapping[str, Any], page: bytes) -> dict[str, Any] | Drop:
        """Returns the worker's answer, or a drop: `cpu_limit`, `memory_limit`, `crashed`.

        Raises:
            ShardError: If the worker cannot be started at all.
            RetryableError: If somebody else ended it twice; that says nothing about the page.
        """
        answer = self._try(question, page)
        if isinstance(answer, Drop):
            answer = self._try(question, page)
        if isinstance(answer, Drop) and answer.detail in _ENDED_BY_OTHERS:
            raise RetryableError(
                f"the sandbox worker was ended by {answer.detail} twice, perhaps for want of "
                "memory; free some, or lower the number of workers"
            )
        return answer

    def _try(self, question: Mapping[str, Any], page: bytes) -> dict[str, Any] | Drop:
        worker = self._started()
        self._n_pages += 1
        try:
            _send(_pipe(worker.stdin), question, page)
            answer, _ = _receive(_pipe(worker.stdout))
        except (EOFError, BrokenPipeError):
            return _cause(self._reap())
        except (ValueError, RecursionError):
            self._kill()
            return Drop("crashed", "no readable answer")
        if "fatal" in answer:
            self._kill()
            return Drop(str(answer["fatal"]), str(answer["detail"]))
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        """Returns a living worker, a fresh one when the old one has served its time."""
        if self._n_pages >= self._recycle_pages:
            self._kill()
        if self._worker is None:
            self._worker = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={k: os.environ[k] for k in _KEPT if k in os.environ} | _ENVIRONMENT,
            )
            self._greet(self._worker)
        return self._worker

    def _greet(self, worker: subprocess.Popen[bytes]) -> None:
        try:
            _send(_pipe(worker.stdin), self._hello, b"")
            _receive(_pipe(worker.stdout))
        except (EOFError, BrokenPipeError) as error:
            status = self._reap()
            told = " ".join(self._command[-2:])
            raise ShardError(
                f"the sandbox worker (python {told}) ended with status {status} before its first "
                "page; look at its own message on stderr, above"
            ) from error

    def _kill(self) -> None:
        """Ends the worker, if there is one, whatever it is doing."""
        if self._worker is not None:
            self._worker.kill()
            self._reap()

    def _reap(self) -> int:
        """Returns the exit status of a worker that has ended (-signal if one ended it)."""
        worker, self._worker, self._n_pages = self._worker, None, 0
        assert worker is not None
        for pipe in (worker.stdin, worker.stdout):
            with suppress(BrokenPipeError):  # a question that the worker did not live to read
                _pipe(pipe).close()
        return worker.wait()


_idle: dict[str, Sandbox] = {}  # at most one


@contextmanager
def lend(module: str, setup: Mapping[str, Any], limits: Limits) -> Iterator[Sandbox]:
    """Lends the sandbox that the last task of this process used, if it is the right one.

    Starting a worker costs over a CPU second, as much as a hundred pages.

    Args:
        module: As for `Sandbox`.
        setup: As for `Sandbox`.
        limits: As for `Sandbox`.
    """
    key = json.dumps([module, dict(setup), asdict(limits)], sort_keys=True)
    sandbox = _idle.pop(key, None) or Sandbox(module, setup, limits)
    _end_idle()
    with ExitStack() as stack:
        stack.enter_context(sandbox)
        yield sandbox
        stack.pop_all()
        _idle[key] = sandbox


@atexit.register
def _end_idle() -> None:
    while _idle:
        with _idle.popitem()[1]:
            pass


def serve(prepare: Callable[[dict[str, Any]], Handler]) -> None:
    """Answers questions from stdin on stdout until stdin is closed: the worker's main function.

    Args:
        prepare: Builds the handler from the `setup` that the task sent.
    """
    source, sink = _own_pipes()
    hello, _ = _receive(source)
    limits = Limits(**hello["limits"])
    handle = prepare(hello["setup"])
    _tie_to_parent()
    _limit_memory(limits.max_memory_bytes)
    sys.excepthook = lambda kind, _error, _trace: _confess(sink, kind)
    _send(sink, {"ready": True}, b"")
    while True:
        try:
            question, page = _receive(source)
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, limits.max_cpu_s)
        answer = handle(question, page)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(sink, answer, b"")


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Returns stdin and stdout for frames; whatever else prints goes to stderr."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    return source, sink


def _tie_to_parent() -> None:
    """Lets the kernel end this process with its parent, and its CPU timer end it at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the task, which closes the pipe
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit_memory(n_bytes: int) -> None:
    """Limits the address space to what is in use now plus `n_bytes` (Linux only)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        total = int(statm.read_text().split()[0]) * resource.getpagesize() + n_bytes
        resource.setrlimit(resource.RLIMIT_AS, (total, total))


def _confess(sink: BinaryIO, kind: type[BaseException]) -> None:
    """Tells the task which exception ends this worker."""
    reason = "memory_limit" if issubclass(kind, MemoryError) else "crashed"
    _send(sink, {"fatal": reason, "detail": kind.__name__}, b"")


def _cause(status: int) -> Drop:
    """Returns why a worker ended that did not answer."""
    if status == -signal.SIGPROF:
        return Drop("cpu_limit")
    if status < 0:
        return Drop("crashed", signal.Signals(-status).name)
    return Drop("crashed", f"exit status {status}")


def _send(pipe: BinaryIO, told: Mapping[str, Any], page: bytes) -> None:
    text = json.dumps(told, separators=(",", ":")).encode()
    pipe.write(_HEAD.pack(len(text), len(page)))
    pipe.write(text)
    pipe.write(page)
    pipe.flush()


def _receive(pipe: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Reads one frame.

    Raises:
        EOFError: If the other side is gone.
        ValueError: If the frame is not one of ours.
    """
    n_text, n_page = _HEAD.unpack(_exactly(pipe, _HEAD.size))
    if n_text + n_page > _MAX_ANSWER_BYTES:
        raise ValueError(f"frame of {n_text + n_page} bytes")
    told = json.loads(_exactly(pipe, n_text))
    if not isinstance(told, dict):
        raise ValueError("frame is not a JSON object")
    return told, _exactly(pipe, n_page)


def _exactly(pipe: BinaryIO, n_bytes: int) -> bytes:
    data = pipe.read(n_bytes)
    if len(data) < n_bytes:
        raise EOFError
    return data


def _pipe(pipe: "BinaryIO | Any") -> BinaryIO:
    """Narrows Popen's optional pipes, which exist because they were asked for."""
    assert pipe is not None
    found: BinaryIO = pipe
    return found

"""Runs that are really killed, many for one start: a process that has imported all, and forks.

    test ── one JSON line: where, settings, when to die ──> nursery ── fork ──> run
         <── one JSON line: exit code, figures ──────────

A process of its own per run would spend ten times as long importing as training.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from model.training import launch
from model.training.engine import Engine
from pipeline.store import shards
from tests.model.training.small_runs import CONFIG, SHAPE, places_for

KILLED = -signal.SIGKILL
# What a run imports on its way: 6 s of CPU time, spent once instead of in each run.
_START = "from tests.model.training import nursery; nursery.main()"
_IMPORTED_LATE = ("torch._dynamo", "deepspeed.runtime.zero.muon.muon_optimizer")


class Nursery:
    """Starts runs in forked processes, one at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, inputs: Path, outputs: Path, settings: dict[str, Any], **when: Any) -> Any:
        """Runs with changed settings.

        Returns its figures or its negative exit code.

        Args:
            inputs: where the tokens are.
            outputs: where the run writes, and its current folder.
            settings: what differs from `CONFIG`.
            when: `step` or `sync` with a number kills it at the beginning of that step, or at that
                call of `shards.sync`; `poisoned` makes the loss of that step NaN.
        """
        told = {"inputs": str(inputs), "outputs": str(outputs), "settings": settings, "when": when}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def nursery(module: str = "tests.model.training.nursery") -> Iterator[Nursery]:
    """Gives a `Nursery` that ends with the block.

    Args:
        module: whose `live` is one run: of inputs, outputs and changed settings.
    """
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", _START, module],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "OUTBOUND_RANKS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()


def main() -> None:
    """Forks one run per line of stdin."""
    runner = importlib.import_module(sys.argv[1])
    for name in _IMPORTED_LATE:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what DeepSpeed prints is no answer
    for line in sys.stdin:
        told = json.loads(line)
        child = os.fork()
        if child == 0:
            _live(told, runner.live)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        figures = Path(told["outputs"]) / "figures.json"
        answers.write((figures.read_text() if code == 0 else json.dumps(code)) + "\n")
        answers.flush()


def _live(told: dict[str, Any], live: Callable[..., Any]) -> None:
    """Is one run; never returns."""
    torch.set_num_threads(1)
    try:
        outputs = Path(told["outputs"])
        os.chdir(outputs)
        _arrange(**told["when"])
        figures = live(Path(told["inputs"]), outputs, told["settings"])
        (outputs / "figures.json").write_text(json.dumps(figures))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def live(inputs: Path, outputs: Path, settings: dict[str, Any]) -> Any:
    """Pre-trains with changed settings."""
    return launch.run(places_for(inputs, outputs), SHAPE, replace(CONFIG, **settings))


def _arrange(step: int = -1, sync: int = -1, poisoned: int = -1) -> None:
    """Lets something happen to this process at some point of its run."""
    train_step, real_sync, calls = Engine.train_step, shards.sync, [0]

    def disturbed_step(self: Engine, *args: Any) -> Any:
        if self.step_count == step:
            _die()
        if self.step_count != poisoned:
            return train_step(self, *args)
        hook = self._engine.module.register_forward_hook(lambda *told: told[2] * torch.nan)
        try:
            return train_step(self, *args)
        finally:
            hook.remove()

    def disturbed_sync(path: Path) -> None:
        calls[0] += 1
        if calls[0] == sync:
            _die()
        real_sync(path)

    Engine.train_step = disturbed_step  # type: ignore[method-assign]
    shards.sync = disturbed_sync


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

"""Contenders that stay: started once, they take turns of a second instead of a minute.

Decisions
- Importing torch and compiling a model cost more than what is measured, and a shared machine
  changes its speed within a minute. So each contender is a process that waits on stdin; a round
  lets each do the same work, the order rotates, and what a waiting process costs is nothing.
- A process measures itself (`benchmarks.trainees.do_steps`): its wall time and the CPU time of all
  its threads. It starts no others once it is warm.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from benchmarks import harness
from benchmarks.harness import Run

TRAINEES = "benchmarks.trainees"


class Contender(Protocol):
    """Who takes turns."""

    name: str

    def steps(self, n: int) -> Run:
        """Does n steps."""


class Resident:
    """A contender's process.

    Attributes:
        ready: What it said when it was.
    """

    def __init__(self, name: str, module: str, settings: Path, log: Path) -> None:
        """Starts a module with settings; `log` gets what it and its libraries say.

        Raises:
            RuntimeError: It ended before it was ready.
        """
        self.name = name
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", module, str(settings)],
                cwd=harness.ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | {"PYTHONPATH": str(harness.ROOT)},
                text=True,
            )
        self.ready = self._answer()

    def steps(self, n: int) -> Run:
        """Lets it do n steps."""
        return self.ask(str(n))

    def ask(self, line: str) -> Run:
        """Lets it do what a line says."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        told = self._answer()
        return Run(told["cpu_s"], told["wall_s"], told["max_rss_bytes"], told)

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            told = "\n".join(said[-20:])
            self.close()
            raise RuntimeError(f"{self.name}: exit status {self._process.returncode}\n{told}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def started(settings: Mapping[str, Path], module: str = TRAINEES) -> Iterator[list[Resident]]:
    """Yields a resident for each settings file, by name; all end with the block."""
    with ExitStack() as stack:
        found = []
        for name, path in settings.items():
            found.append(Resident(name, module, path, path.with_suffix(".log")))
            stack.callback(found[-1].close)
        yield found


def rounds(contenders: Sequence[Contender], n_rounds: int, n_steps: int) -> dict[str, list[Run]]:
    """Lets all do n_steps in turn, n_rounds times; each round begins with another one."""
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for i in range(n_rounds):
        turn = i % len(contenders)
        for contender in (*contenders[turn:], *contenders[:turn]):
            run = contender.steps(n_steps)
            runs[contender.name].append(run)
            told = f"{run.cpu_s:8.2f} CPU-s {run.wall_s:8.2f} s"
            print(f"round {i + 1}/{n_rounds}  {contender.name:<44} {told}", file=sys.stderr)
    return runs

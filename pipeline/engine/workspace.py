"""A workspace of links: stages run on other settings, nothing of the real one is written.

    workspace/code, params.yaml, data/*  <─ symlinks ──  scratch/          all but what is `apart`
    workspace/.shards/<step>/*           <─ hard links ─ scratch/.shards/  finished shards are found

A step that finds its shards in the store reuses them, so only what the other settings change is
made anew.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.engine.shardmap import STORE
from pipeline.store import shards
from pipeline.store.errors import ShardError

_OWN = (STORE.name, "data", "metrics", ".git", ".dvc")

_LOOK_S = 0.2

Choice = Callable[[list[Path]], list[Path]]  # of one step's finished shards those that are linked


@contextmanager
def linked(
    root: Path, name: str, apart: Sequence[str] = (), choose: Choice = lambda found: found
) -> Iterator[Path]:
    """Yields a workspace of links in the shard store of `root`, which is removed afterwards.

    Args:
        root: The real workspace.
        name: Of the scratch folder.
        apart: What the scratch workspace has of its own beside metrics and the store: names in
            `root`, and `data/NAME`.
        choose: Which finished shards of a step it finds.
    """
    scratch = root / STORE / f"tmp-{name}"
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "data").mkdir(parents=True)
    outer = [path for path in root.iterdir() if path.name not in _OWN]
    for path in [*outer, *(root / "data").iterdir()]:
        place = path.relative_to(root)
        if place.as_posix() not in apart:
            (scratch / place).symlink_to(path.absolute())
    try:
        for step in root.joinpath(STORE).iterdir():
            if not step.name.startswith("tmp-"):
                _link_step(step, scratch / STORE / step.name, choose)
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _link_step(step: Path, target: Path, choose: Choice) -> None:
    found = sorted(path for path in step.iterdir() if (path / shards.SIDECAR).is_file())
    for shard in choose(found):
        for path in shard.iterdir():
            shards.link(path, target / shard.name / path.name)


def run_stage(stage: str, workspace: Path, purpose: str, *, shown: bool = False) -> None:
    """Runs one stage's command in a workspace.

    Ctrl-C leaves only after the stage has saved what it has.

    Args:
        stage: Its name.
        workspace: Where.
        purpose: Who runs it, for the message.
        shown: Whether its progress is passed on, for stages that take hours.

    Raises:
        ShardError: If it fails; the message ends with its own last line.
    """
    with subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=workspace,
        env={**os.environ, "PYTHONPATH": str(workspace.absolute())},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        told = _Told(process.stderr, shown=shown)
        told.start()
        try:
            while told.is_alive():
                # Not to read here: a signal that comes just before is seen when the next line is.
                told.join(_LOOK_S)
        except KeyboardInterrupt:
            # A terminal's Ctrl-C has reached the stage, too. To `train` another kind of signal is
            # the same wish; a second SIGINT would not be waited for.
            process.terminate()
            process.wait()
            told.join()
            raise
    if process.returncode != 0:
        last = told.last or f"exit code {process.returncode}"
        raise ShardError(
            f"{purpose}: stage {stage} cannot be run: {last}; run `dvc repro {stage}`, mend what "
            "it says, then run the same command again"
        )


class _Told(threading.Thread):
    """Reads what a stage says until it has ended; `last` is its last line with words."""

    def __init__(self, stream: IO[str] | None, *, shown: bool) -> None:
        super().__init__(daemon=True)
        self._lines, self._is_shown = stream or (), shown
        self.last = ""

    def run(self) -> None:
        """Passes lines on as they come, if they are shown."""
        for line in self._lines:
            self.last = line.strip() or self.last
            if self._is_shown:
                sys.stderr.write(line)

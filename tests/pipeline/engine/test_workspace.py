"""Running a stage elsewhere: what it says, how it fails, and Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.engine import workspace
from pipeline.engine.identity import ROOT
from pipeline.store.errors import ShardError

# Works until it is told to stop, as `train` does, and then saves.
PATIENT = """\
import select, sys
from pathlib import Path
sys.path.append({root!r})
from model.training.watch import interruptible
with interruptible() as interrupt:
    print("ready", file=sys.stderr, flush=True)
    while not interrupt.wanted:
        select.select([], [], [], 0.01)
    select.select([], [], [], 0.2)
    Path("saved").touch()
raise SystemExit(130)
"""


def stage(folder: Path, code: str) -> Path:
    """A workspace whose stage `one` is this code."""
    (folder / "stages").mkdir()
    (folder / "stages" / "__init__.py").touch()
    (folder / "stages" / "one.py").write_text(code)
    return folder


def test_run_stage_failing_is_told_with_its_last_line(tmp_path: Path) -> None:
    stage(tmp_path, "import sys\nsys.exit('first line\\nerror: no tokens\\n\\n')")
    with pytest.raises(
        ShardError, match=r"^test: stage one cannot be run: error: no tokens; run `dvc repro one`"
    ):
        workspace.run_stage("one", tmp_path, "test")


def test_run_stage_failing_silently_is_told_with_its_exit_code(tmp_path: Path) -> None:
    stage(tmp_path, "raise SystemExit(7)")
    with pytest.raises(ShardError, match="exit code 7"):
        workspace.run_stage("one", tmp_path, "test")


@pytest.mark.parametrize("shown", [True, False])
def test_run_stage_passes_progress_on_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shown: bool
) -> None:
    stage(tmp_path, "import sys\nprint('1/2\\n2/2', file=sys.stderr)")
    workspace.run_stage("one", tmp_path, "test", shown=shown)
    assert capsys.readouterr().err == ("1/2\n2/2\n" if shown else "")


@pytest.mark.parametrize("to_all", [True, False], ids=["terminal", "parent-only"])
def test_run_stage_interrupted_leaves_after_the_stage_has_saved(
    tmp_path: Path, to_all: bool
) -> None:
    """A terminal signals the whole group; `kill -INT` only one process."""
    stage(tmp_path, PATIENT.format(root=str(ROOT)))
    code = (
        "from pathlib import Path\nfrom pipeline.engine import workspace\n"
        "try:\n    workspace.run_stage('one', Path(), 'test', shown=True)\n"
        "except KeyboardInterrupt:\n    raise SystemExit(40 + Path('saved').is_file())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert next(process.stderr) == "ready\n"
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 41

"""`stages/repro.py` as `ray submit` runs it: one file, copied to a home folder, on a live Ray."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from pipeline.engine.identity import ROOT
from pipeline.engine.tasks import Engine

STAGES = """
stages:
  good:
    cmd: python -c "import os; open('address', 'w').write(os.environ['RAY_ADDRESS'])"
    outs: [address]
  bad:
    cmd: python -c "raise SystemExit(3)"
    outs: [nothing]
"""


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    """A workspace with two stages, and the entry file in a home folder beside it."""
    workspace = tmp_path / "the workspace"
    (workspace / ".dvc").mkdir(parents=True)
    (workspace / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (workspace / "dvc.yaml").write_text(STAGES)
    (workspace / "pipeline").symlink_to(ROOT / "pipeline")
    (tmp_path / "home").mkdir()
    shutil.copy(ROOT / "stages" / "repro.py", tmp_path / "home" / "repro.py")
    return tmp_path


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    address = ray.get_runtime_context().gcs_address
    return subprocess.run(
        [sys.executable, "repro.py", *arguments],
        cwd=folder / "home",
        env={**kept, "RAY_ADDRESS": address, **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("cut", ["cmd:", "outs:", "path:"])
def test_repro_makes_a_lock_file_anew_that_a_kill_has_cut(
    submitted: Path, ray_engine: Engine, cut: str
) -> None:
    """DVC writes it in place. A failing stage is no such thing, and leaves it where it is."""
    assert ray_engine
    workspace = submitted / "the workspace"
    told = {"OUTBOUND_WORKSPACE": str(workspace)}
    assert run(submitted, "good", **told).returncode == 0
    lock = workspace / "dvc.lock"
    whole = lock.read_text()
    lock.write_text(whole[: whole.index(cut) + len(cut)])
    done = run(submitted, "good", **told)
    assert done.returncode == 0, done.stderr
    assert "dvc.lock was cut short" in done.stderr
    assert lock.read_text() == whole
    assert (workspace / "dvc.lock.damaged").is_file()
    assert run(submitted, "bad", **told).returncode != 0
    assert lock.read_text() == whole


def test_repro_removes_a_list_of_readers_that_a_kill_has_cut(
    submitted: Path, ray_engine: Engine
) -> None:
    assert ray_engine
    workspace = submitted / "the workspace"
    (workspace / ".dvc" / "tmp").mkdir()
    (workspace / ".dvc" / "tmp" / "rwlock").write_text('{"read": {')
    done = run(submitted, "good", OUTBOUND_WORKSPACE=str(workspace))
    assert done.returncode == 0, done.stderr
    assert "rwlock was cut short by a kill; removed" in done.stderr


def test_repro_submitted_runs_dvc_in_the_workspace_on_the_cluster(
    submitted: Path, ray_engine: Engine
) -> None:
    assert ray_engine
    workspace = submitted / "the workspace"
    done = run(submitted, "good", OUTBOUND_WORKSPACE=str(workspace))
    assert done.returncode == 0, done.stderr
    assert (workspace / "address").read_text() == ray.get_runtime_context().gcs_address


def test_repro_failing_stage_gives_a_failing_exit_code(submitted: Path, ray_engine: Engine) -> None:
    assert ray_engine
    done = run(submitted, "bad", OUTBOUND_WORKSPACE=str(submitted / "the workspace"))
    assert done.returncode not in (0, 2)
    assert "failed to reproduce 'bad'" in done.stderr


def test_repro_without_workspace_says_what_to_set(submitted: Path, ray_engine: Engine) -> None:
    assert ray_engine
    done = run(submitted, "good")
    assert done.returncode == 1
    assert "set OUTBOUND_WORKSPACE to the project" in done.stderr

"""The command `stages.plan` as people run it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.engine.identity import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.plan", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_plan_prints_json_without_any_data(project: Path) -> None:
    done = run(project, "--train", "--json", "--tokens", "768000")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["parameters"]["total"] == 2_903_808
    assert told["training"]["epochs"] == 2.0
    assert [row["zero_stage"] for row in told["memory"]["by_stage"]] == [0, 1, 1, 2, 2, 3, 3, 3]


def test_plan_states_failures_and_refuses_wrong_usage(project: Path) -> None:
    wrong = run(project, "--train", "--mfu", "2")
    assert wrong.returncode == 2
    assert "--mfu is 2.0; expected 0 < x <= 1" in wrong.stderr
    failed = run(project, "--train", "--ranks", "3")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: train.global_batch_tokens is 16 sequences")
    assert len(failed.stderr.splitlines()) == 1

"""Exit codes and messages of every command."""

import errno
import json
import sys
from pathlib import Path

import pytest

from pipeline.engine import command
from pipeline.engine.progress import PlainProgress
from pipeline.store.errors import ManifestError, ShardError


def failing(error: BaseException):
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            ManifestError("data/clean does not exist; run `dvc repro clean`"),
            1,
            "run `dvc repro clean`",
        ),
        (ShardError("clean shard 3: odd"), 1, "error: clean shard 3: odd"),
        (ValueError("params.yaml: dedup.threshold is 1.7"), 1, "dedup.threshold is 1.7"),
        (OSError(errno.ENOSPC, "No space left on device", "data/x"), 1, "no space left for data/x"),
        (KeyboardInterrupt(), 130, "interrupted; finished work is kept"),
    ],
)
def test_guarded_stated_failure_is_one_line(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.guarded(failing(error)) == code
    told = capsys.readouterr()
    assert text in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_guarded_bug_is_not_hidden() -> None:
    with pytest.raises(KeyError):
        command.guarded(failing(KeyError("bug")))


def test_run_stage_writes_figures_and_summary(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["clean"])
    figures = {"counts": {"n_in": 5, "n_out": 3, "dropped": {"language": 2}}}
    with pytest.raises(SystemExit) as caught:
        command.run_stage("clean", "Clean pages.", lambda: figures)
    assert caught.value.code == 0
    assert json.loads((workspace / "metrics/clean.json").read_bytes()) == figures
    assert "seconds" in json.loads((workspace / "metrics/timings/clean.json").read_bytes())
    assert "clean: 5 in, 3 out, 2 dropped (language 2)" in capsys.readouterr().err


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("--no-such-option", 2)])
def test_run_stage_help_and_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, argument: str, code: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["clean", argument])
    with pytest.raises(SystemExit) as caught:
        command.run_stage("clean", "Clean pages.", dict)
    assert caught.value.code == code


def test_run_stage_nan_is_refused(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["clean"])
    with pytest.raises(SystemExit) as caught:
        command.run_stage("clean", "Clean pages.", lambda: {"loss": float("nan")})
    assert caught.value.code == 1
    assert not (workspace / "metrics/clean.json").exists()


def test_plain_progress_tells_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    shown = PlainProgress("extract", 8, "shards", lambda: now[0])
    for second in (1, 2, 6, 7):
        now[0] = float(second)
        shown.update()
    assert capsys.readouterr().err == "extract  3/8 shards  38 %  0.5 shards/s  10 s left\n"

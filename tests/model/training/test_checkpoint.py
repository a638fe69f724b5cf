"""Checkpoints on disk: what damages them, and what is used instead."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.training import checkpoint
from model.training.checkpoint import Facts
from model.training.partitions import Kind
from pipeline.store.errors import CheckpointError

ROWS = ({"step": 1, "train/loss": 5.25}, {"step": 2, "train/loss": 5.0})


def facts(step: int, **changes: Any) -> Facts:
    told: dict[str, Any] = {
        "step": step,
        "rows": ROWS,
        "valid_loss": None,
        "guard": {"losses": [5.25, 0.1], "skipped": [{"step": 0, "kind": "overflow"}]},
        "loss_scale": {"value": 512.0, "good_steps": 3},
        "segments": ({"from_step": 0, "n_ranks": 2},),
    }
    return Facts(**{**told, **changes})


def tensors(step: int) -> Callable[[Kind], dict[str, Tensor]]:
    def gather(kind: Kind) -> dict[str, Tensor]:
        number = {"weights": 1, "exp_avg": 2, "exp_avg_sq": 3}[kind]
        return {"wte.weight": torch.full((3, 2), step + number / 4), "h.0.b": torch.zeros(2)}

    return gather


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for step in (10, 20, 30):
        checkpoint.save(tmp_path, facts(step), tensors(step), {"seed": 1})
    return tmp_path


def test_saved_checkpoint_reads_back(root: Path) -> None:
    found = checkpoint.newest(root)
    assert found is not None
    assert found.facts == facts(30)
    for kind in checkpoint.KINDS:
        expected, got = tensors(30)(kind), found.tensors(kind)
        assert got.keys() == expected.keys()
        assert all(torch.equal(got[name], expected[name]) for name in got)


def test_saved_checkpoint_holds_the_documented_files_only(root: Path) -> None:
    folder = checkpoint.folder_of(root, 30)
    assert folder.name == "step-00000030"
    assert {path.name for path in folder.iterdir()} == {
        "weights.safetensors",
        "adam_exp_avg.safetensors",
        "adam_exp_avg_sq.safetensors",
        "checkpoint.json",
    }


def flip_a_bit(folder: Path) -> None:
    path = folder / "adam_exp_avg.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def cut_short(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def lose_a_file(folder: Path) -> None:
    (folder / "adam_exp_avg_sq.safetensors").unlink()


def lose_the_facts(folder: Path) -> None:
    (folder / "checkpoint.json").unlink()


def garble_the_facts(folder: Path) -> None:
    (folder / "checkpoint.json").write_bytes(b'{"format": 1, "files": []}')


def omit_a_digest(folder: Path) -> None:
    path = folder / "checkpoint.json"
    facts = json.loads(path.read_bytes())
    del facts["files"]["weights.safetensors"]
    path.write_text(json.dumps(facts))


DAMAGES = [flip_a_bit, cut_short, lose_a_file, lose_the_facts, garble_the_facts, omit_a_digest]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_reported_and_the_one_before_it_used(
    damage: Callable[[Path], None], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(checkpoint.folder_of(root, 30))
    found = checkpoint.newest(root)
    assert found is not None
    assert found.step == 20
    report = capsys.readouterr().err
    assert "step-00000030 is damaged" in report
    assert report.count("\n") == 1


def test_no_usable_checkpoint_is_an_error_only_where_one_is_demanded(
    root: Path, tmp_path: Path
) -> None:
    for step in (10, 20, 30):
        cut_short(checkpoint.folder_of(root, step))
    assert checkpoint.newest(root) is None
    assert checkpoint.newest(tmp_path / "absent") is None
    with pytest.raises(CheckpointError, match="holds no usable checkpoint"):
        checkpoint.newest(root, demanded=True)


def test_half_written_checkpoint_does_not_count_and_is_swept(root: Path) -> None:
    draft = root / ".step-00000040.tmp"
    draft.mkdir()
    (draft / "weights.safetensors").write_bytes(b"half")
    found = checkpoint.newest(root)
    assert found is not None
    assert found.step == 30
    checkpoint.prune(root, keep=2)
    assert sorted(path.name for path in root.iterdir()) == ["step-00000020", "step-00000030"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_never_saved(root: Path, bad: float) -> None:
    def gather(kind: Kind) -> dict[str, Tensor]:
        return {"h.0.b": torch.tensor([1.0, bad if kind == "exp_avg_sq" else 0.0])}

    with pytest.raises(CheckpointError, match=r"h\.0\.b is not finite"):
        checkpoint.save(root, facts(40), gather, {})
    found = checkpoint.newest(root)
    assert found is not None
    assert found.step == 30


def test_saving_a_step_again_replaces_it(root: Path) -> None:
    checkpoint.save(root, facts(30, rows=ROWS[:1]), tensors(31), {})
    found = checkpoint.newest(root)
    assert found is not None
    assert found.tensors("weights")["wte.weight"][0, 0] == 31.25
    assert found.facts.rows == (ROWS[0],)


LOSSES = {10: 4.5, 20: None, 30: 4.0, 40: 4.2, 50: None, 60: 4.1}


@pytest.fixture
def validated(tmp_path: Path) -> Path:
    """A run whose best checkpoint is neither the first nor among the newest."""
    for step, loss in LOSSES.items():
        checkpoint.save(tmp_path, facts(step, valid_loss=loss), tensors(step), {})
    return tmp_path


def test_pruning_never_removes_the_best(validated: Path) -> None:
    checkpoint.prune(validated, keep=2)
    left = [path.name for path in sorted(validated.iterdir())]
    assert left == ["step-00000030", "step-00000050", "step-00000060"]
    newest, best = checkpoint.newest(validated), checkpoint.best(validated)
    assert newest is not None
    assert best is not None
    assert (newest.step, best.step) == (60, 30)


def test_best_that_is_damaged_is_reported_and_the_next_best_used(
    validated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip_a_bit(checkpoint.folder_of(validated, 30))
    garble_the_facts(checkpoint.folder_of(validated, 60))
    best = checkpoint.best(validated)
    assert best is not None
    assert best.step == 40
    assert "step-00000030 is damaged" in capsys.readouterr().err


def test_best_of_equal_losses_is_the_newest_and_none_without_validation(
    root: Path, tmp_path: Path
) -> None:
    assert checkpoint.best(root) is None
    for step in (20, 30):
        checkpoint.save(root, facts(step, valid_loss=3.0), tensors(step), {})
    best = checkpoint.best(root)
    assert best is not None
    assert best.step == 30

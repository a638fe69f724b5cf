"""The training curve: a resumed run leaves the files of one that was not stopped."""

import json
from pathlib import Path

from model.training.curve import Curve, Row
from pipeline.store import shards

ROWS: list[Row] = [
    {"step": 1, "train/skipped_steps": 0, "train/loss": 6.5, "train/grad_norm": 0.5},
    {"step": 2, "train/skipped_steps": 0, "train/loss": 6.25, "train/grad_norm": 0.25},
    {"step": 2, "valid/loss": 6.0, "valid/bits_per_byte": 4.0},
]


def draw(folder: Path, before: list[Row], after: list[Row]) -> dict[str, bytes]:
    curve = Curve(folder, before)
    for row in after:
        curve.add(row)
    curve.close()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_curve_replayed_from_a_checkpoint_has_the_same_bytes(tmp_path: Path) -> None:
    saved = json.loads(shards.to_json(ROWS[:1]))
    whole = draw(tmp_path / "whole", [], ROWS)
    assert "metrics.json" in whole
    assert draw(tmp_path / "resumed", saved, ROWS[1:]) == whole

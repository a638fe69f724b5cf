"""Runs that are killed again and again end like those that are not, to the bit."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.training import checkpoint
from pipeline.store import shards
from tests.model.training.nursery import KILLED, Nursery, nursery
from tests.model.training.plain import in_dtype
from tests.model.training.small_runs import CONFIG, make_places

SYNCS = 6  # of one save: three tensor files, the facts and their folder, the run's folder
SKIPPING = {"on_bad_step": "skip", "max_spike_zscore": 1.5, "spike_window": 4}
SETTINGS: dict[str, dict[str, Any]] = {
    "stage-0": {"zero_stage": 0},
    "stage-1-bf16": {"zero_stage": 1, "dtype": "bf16"},
    "stage-2-fp16": {"zero_stage": 2, "dtype": "fp16", "max_skipped_steps": 20},
    "stage-3-offload": {
        "zero_stage": 3,
        "offload": "parameters",
        "activation_checkpointing": True,
    },
    "skipping": SKIPPING,
}


@pytest.fixture(scope="module")
def born() -> Iterator[Nursery]:
    with nursery() as ready:
        yield ready


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("inputs")
    make_places(root)
    return root


def left_by(outputs: Path) -> dict[str, Any]:
    """All that a run leaves and a later one reads: digests of tensors, facts, exported model."""
    (root,) = (outputs / "models" / "checkpoints").iterdir()
    folder = checkpoint.folder_of(root, CONFIG.steps)
    files = [outputs / "models/pretrained/model.safetensors", *folder.glob("*.safetensors")]
    told = {path.name: shards.sha256_file(path) for path in files}
    kept = sorted(path.name for path in root.iterdir())
    return {**told, "facts": json.loads((folder / "checkpoint.json").read_bytes()), "kept": kept}


@pytest.mark.parametrize(
    "name", [in_dtype(told.get("dtype", "fp32"), name) for name, told in SETTINGS.items()]
)
def test_run_killed_at_random_steps_and_inside_saves_ends_to_the_bit_like_one_that_was_not(
    name: str, inputs: Path, tmp_path: Path, born: Nursery
) -> None:
    """Dropout and four micro-batches a step are on; checkpoints stand at steps 3, 6, 9 and 12."""
    settings, draw = SETTINGS[name], random.Random(name)
    poisoned = {"poisoned": 7} if name == "skipping" else {}
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    expected = born.run(inputs, straight, settings, **poisoned)
    assert isinstance(expected, dict)
    kills: list[dict[str, int]] = [
        {"step": draw.randrange(1, 6)},
        {"sync": draw.randrange(2, 2 + 2 * SYNCS)},  # the first one is of documents.parquet
        {"step": draw.randrange(9, 12)},
    ]
    for kill in kills:
        assert born.run(inputs, killed, settings, **poisoned, **kill) == KILLED, kill
        assert not (killed / "models" / "pretrained").exists()
    assert born.run(inputs, killed, settings, **poisoned) == expected
    assert left_by(killed) == left_by(straight)


def test_skipping_run_has_left_steps_out_and_counted_them(
    inputs: Path, tmp_path: Path, born: Nursery
) -> None:
    figures = born.run(inputs, tmp_path, SKIPPING, poisoned=7)
    facts = left_by(tmp_path)["facts"]
    kinds = {each["step"]: each["kind"] for each in facts["guard"]["skipped"]}
    assert kinds[7] == "loss"
    assert "gradient_spike" in kinds.values() or "loss_spike" in kinds.values()
    assert figures["skipped_steps"] == len(kinds)
    rows = {row["step"] - 1: row for row in facts["rows"]}
    assert "train/loss" not in rows[7]
    counts = [rows[step]["train/skipped_steps"] for step in range(CONFIG.steps)]
    assert counts == [sum(skipped <= step for skipped in kinds) for step in range(CONFIG.steps)]


def test_poisoned_run_stops_by_default_and_skipping_continues_it(
    inputs: Path, tmp_path: Path, born: Nursery
) -> None:
    assert born.run(inputs, tmp_path, {}, poisoned=7) == 1
    (root,) = (tmp_path / "models" / "checkpoints").iterdir()
    found = checkpoint.newest(root)
    assert found is not None
    assert found.step == 6
    figures = born.run(inputs, tmp_path, {"on_bad_step": "skip"}, poisoned=7)
    assert figures["skipped_steps"] == 1
    segments = left_by(tmp_path)["facts"]["segments"]
    assert [(each["from_step"], each["on_bad_step"]) for each in segments] == [
        (0, "stop"),
        (6, "skip"),
    ]

"""Fine-tuning runs that are killed again and again end like those that are not, to the bit."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.finetune.train import PREDICTIONS
from model.training import checkpoint
from pipeline.store import shards
from tests.model.finetune.small_tuning import make_pretrained
from tests.model.training.nursery import KILLED, Nursery, nursery
from tests.model.training.plain import in_dtype

N_STEPS = 15  # three epochs of 40 examples, 8 at a time; saved at every 2nd step and at 5, 10, 15
SYNCS = 5  # of one save: three tensor files, the facts with their folder, the run's folder
SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"kind": "text", "zero_stage": 0},
    "choice-bf16": {"kind": "choice", "zero_stage": 1, "dtype": "bf16"},
    "similarity-stage-3": {"kind": "similarity", "zero_stage": 3, "export": "best"},
    "entailment-fp16": {"kind": "entailment", "zero_stage": 2, "dtype": "fp16"},
    "skipping": {"kind": "text", "on_bad_step": "skip", "activation_checkpointing": True},
}


@pytest.fixture(scope="module")
def born() -> Iterator[Nursery]:
    with nursery("tests.model.finetune.tunings") as ready:
        yield ready


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("inputs")
    make_pretrained(root)
    return root


def left_by(outputs: Path) -> dict[str, Any]:
    """Digests of all that a run leaves."""
    (root,) = (outputs / "models" / "checkpoints").iterdir()
    found = checkpoint.newest(root)
    assert found is not None
    assert found.step == N_STEPS
    model = outputs / "models" / "finetuned" / "small"
    files = [*found.folder.iterdir(), *model.iterdir()]
    assert model / PREDICTIONS in files
    return {path.name: shards.sha256_file(path) for path in files}


@pytest.mark.parametrize(
    "name", [in_dtype(told.get("dtype", "fp32"), name) for name, told in SETTINGS.items()]
)
def test_run_killed_at_random_steps_and_inside_saves_ends_to_the_bit_like_one_that_was_not(
    name: str, inputs: Path, tmp_path: Path, born: Nursery
) -> None:
    settings, draw = {"max_skipped_steps": 20, **SETTINGS[name]}, random.Random(name)
    poisoned = {"poisoned": 7} if name == "skipping" else {}
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    expected = born.run(inputs, straight, settings, **poisoned)
    assert isinstance(expected, dict)
    assert expected["skipped_steps"] == (1 if poisoned else expected["skipped_steps"])
    kills: list[dict[str, int]] = [
        {"step": draw.randrange(1, 6)},
        {"sync": draw.randrange(1, 1 + 2 * SYNCS)},
        {"step": draw.randrange(11, N_STEPS)},
    ]
    for kill in kills:
        assert born.run(inputs, killed, settings, **poisoned, **kill) == KILLED, kill
        assert not (killed / "models" / "finetuned" / "small").exists()
    assert born.run(inputs, killed, settings, **poisoned) == expected
    assert left_by(killed) == left_by(straight)

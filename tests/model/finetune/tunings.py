"""Whole fine-tuning runs, as a test or a forked process starts them."""

from functools import partial
from pathlib import Path
from typing import Any

from model.finetune import train
from model.finetune.settings import Config
from model.finetune.tasks import Kind
from model.training import ranks
from tests.model.finetune.small_tuning import config, examples, places, task


def tuned(
    inputs: Path, outputs: Path, kind: Kind, told: Config, n_ranks: int = 1, n: int = 40
) -> Any:
    """The figures of one run on `n` training examples."""
    work = partial(train.run, task(kind), examples(kind, n), places(inputs, outputs), told)
    return ranks.run(work, n_ranks)


def live(inputs: Path, outputs: Path, settings: dict[str, Any]) -> Any:
    """One run of the nursery's; `kind` among the settings is the task's."""
    changed = dict(settings)
    kind: Kind = changed.pop("kind", "text")
    return tuned(inputs, outputs, kind, config(**changed))

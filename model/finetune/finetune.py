"""Every chosen task, one after the other: models, predictions, figures.

    data/labelled/<task>.parquet ─┬─> models/finetuned/<task>/   model, predictions.parquet
    models/pretrained/ ───────────┘   metrics/finetune.json      figures of these predictions

Decisions
- Figures are computed from the predictions as they were written, so anybody can do it again.
- Beside each score stands what always saying the training split's most frequent label would get.
"""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.finetune import labelled, metrics, train
from model.finetune.settings import Config, Examples, Places
from model.finetune.tasks import Task
from model.finetune.train import PREDICTIONS
from model.training.engine import World
from pipeline.store import records
from pipeline.store.config import require


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where the step reads and writes.

    Attributes:
        labelled: examples of every task.
        pretrained: the pre-trained model.
        checkpoints: one folder per run's identity.
        models: output, one folder per task.
    """

    labelled: Path
    pretrained: Path
    checkpoints: Path
    models: Path


def run(folders: Folders, config: Config, world: World) -> dict[str, Any]:
    """Fine-tunes on every chosen task and returns the figures by task; every rank calls it.

    Raises:
        FileNotFoundError: An input is missing.
        ValueError: A chosen task is unknown or absent, or what `train.run` raises.
    """
    tasks = chosen(labelled.listing(folders.labelled), config.tasks)
    if world.rank == 0:
        _clear(folders.models, tasks)
    return {"tasks": {name: _tune(tasks[name], folders, config, world) for name in sorted(tasks)}}


def chosen(listed: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]) -> dict[str, Task]:
    """Returns the tasks of some names, or all that are present.

    Raises:
        ValueError: One of the names is unknown, or its task is absent.
    """
    present = {name for name, told in listed.items() if told["present"]}
    for name in names:
        require("finetune.tasks", name, name in listed, f"some of {', '.join(sorted(listed))}")
        why = listed[name].get("reason")
        require("finetune.tasks", name, name in present, f"a task that is present ({why})")
    return {name: labelled.task(listed[name]) for name in names or present}


def _clear(models: Path, tasks: Mapping[str, Task]) -> None:
    """Removes the models of tasks that are not chosen any more; the folder stays, if only empty."""
    models.mkdir(parents=True, exist_ok=True)
    for folder in models.glob("*"):
        if folder.name not in tasks:
            shutil.rmtree(folder)


def _tune(task: Task, folders: Folders, config: Config, world: World) -> dict[str, Any]:
    """Fine-tunes on one task and returns its figures."""
    examples = limited(labelled.read(folders.labelled, task.name), config.max_train_examples)
    places = Places(
        pretrained=folders.pretrained,
        checkpoints=folders.checkpoints,
        model=folders.models / task.name,
    )
    told = train.run(task, examples, places, config, world)
    if world.rank > 0:
        return told
    found = figures(task, examples, places.model / PREDICTIONS, config.seed)
    told.update(found)
    sys.stderr.write(f"{_line(task, told)}\n")
    return told


def limited(examples: Examples, most: int | None) -> Examples:
    """Returns the examples with at most so many to train on, in their order."""
    learnt = examples["train"]
    if most is None or len(learnt) <= most:
        return examples
    ranked = sorted(range(len(learnt)), key=lambda i: records.doc_id(learnt[i].example_id))
    return {**examples, "train": [learnt[i] for i in sorted(ranked[:most])]}


def figures(task: Task, examples: Examples, predictions: Path, seed: int) -> dict[str, Any]:
    """Returns the scores of predictions with intervals, and what guessing gets."""
    table = pq.read_table(predictions)
    told: dict[str, Any] = {"split": task.scored_split}
    rows = table.filter(pc.equal(table["split"], task.scored_split))
    labels = rows["label"].to_numpy()
    told["figures"] = metrics.figures(task, rows["predicted"].to_numpy(), labels, seed)
    trained = np.array([each.label for each in examples["train"]])
    told["majority"] = metrics.majority(task, trained, labels)
    return told


def _line(task: Task, told: Mapping[str, Any]) -> str:
    """Returns what people see of a task."""
    metric, split = task.metrics[0], task.scored_split
    found, n = told["figures"], told["n_examples"][split]
    return (
        f"finetune {task.name}: {metric} {found[metric]:.3f} ({found[f'{metric}_low']:.3f} to "
        f"{found[f'{metric}_high']:.3f}) on {n} {split} examples; guessing "
        f"{told['majority'][metric]:.3f}"
    )

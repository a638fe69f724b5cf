"""The GPT-1 paper's questions, at the size that fits: what gives what fine-tuning reaches?

                             auxiliary LM loss     without
    pre-trained              pretrained+lm         pretrained          2 x 2, table 5
    not pre-trained          fresh+lm              fresh
    embeddings and k blocks  layers_0+lm, layers_1+lm, ...             figure 2 (left)

    each of these:  every learning rate of one grid, one seed ── dev ──> the best
                    the best, every seed ──────────────────── test ──> mean, interval, verdict

Decisions:
- Every way is tuned on the same grid, by the headline on dev; no way sees the scored split before
  its learning rate stands. The seed that tunes is none of those that score.
- Equal for all ways: examples, steps, batch, schedule, and all other settings of `finetune`.
- A task whose dev split is the one that is scored gives a tenth of its training examples to dev.
- One rank computes each run. A finished one leaves its predictions (`models/study/`); a killed one
  continues from its checkpoint.

Paper: GPT-1, section 5. Deviation: its table 5 has one run per way, at one learning rate; the
networks without pre-training were not tuned by themselves, as far as it says.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model import hf
from model.config import ModelConfig
from model.finetune import contrast, finetune, labelled, metrics, settings, train
from model.finetune.contrast import Way
from model.finetune.settings import Places
from model.finetune.tasks import SPLITS, Example, Split, Task
from model.training import ranks
from pipeline.store import shards
from pipeline.store.config import require

BASE = "pretrained+lm"
_KEPT = Path("models/study")

Examples = dict[Split, list[Example]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `study` of params.yaml.

    Attributes:
        tasks: Names; an empty list takes all that are present.
        seeds: Every way is scored with each of them.
        tuning_seed: Chooses the learning rates, and is none of `seeds`.
        lrs: The grid, the same for every way.
        checkpoints: How many of pre-training the zero-shot heuristics are scored at; 0 for none.
    """

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    tuning_seed: int
    lrs: tuple[float, ...]
    checkpoints: int

    def __post_init__(self) -> None:
        n = len(set(self.seeds))
        require("seeds", self.seeds, n == len(self.seeds) > 0, "one or more, none twice")
        other = self.tuning_seed not in self.seeds
        require("tuning_seed", self.tuning_seed, other, "none of seeds")
        require("lrs", self.lrs, bool(self.lrs) and min(self.lrs) > 0, "one or more x > 0")
        require("checkpoints", self.checkpoints, self.checkpoints >= 0, "x >= 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all runs share.

    Attributes:
        root: The workspace of a finished graph.
        finetune: Section `finetune`; a way changes what it is about.
        config: Section `study`.
        shape: Of the pre-trained model.
    """

    root: Path
    finetune: settings.Config
    config: Config
    shape: ModelConfig

    @property
    def pretrained(self) -> Path:
        """Folder of the pre-trained model."""
        return self.root / "models" / "pretrained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept of one run: dev's figures, and (n,) predictions of the scored split."""

    dev: dict[str, float]
    predicted: list[float]


def run(root: Path, finetune_config: settings.Config, config: Config) -> dict[str, Any]:
    """Trains what no earlier call has, and answers the questions for each task.

    Args:
        root: The workspace of a finished graph.
        finetune_config: Section `finetune`.
        config: Section `study`.

    Returns:
        By task `ways` (learning rate, values, mean and interval) and `questions` (gain, interval,
        verdict).

    Raises:
        ValueError: If a task is unknown or absent, or a run fails.
    """
    _, shape = hf.load(root / "models" / "pretrained")
    bench = Bench(root=root, finetune=finetune_config, config=config, shape=shape)
    folder = root / "data" / "labelled"
    tasks = finetune.chosen(labelled.listing(folder), config.tasks)
    most = finetune_config.max_train_examples
    return {
        "tasks": {
            name: _study(*prepared(tasks[name], labelled.read(folder, name), most), bench)
            for name in sorted(tasks)
        }
    }


def ways(config: settings.Config, n_layer: int) -> dict[str, settings.Config]:
    """Returns the settings of each way by its name; learning rate and seed are still to be set."""
    aux = replace(config, pretrained=True, transfer_layers=None, export="last")
    require("lm_coef", aux.lm_coef, aux.lm_coef > 0, "x > 0, the weight that is studied")
    found = {
        BASE: aux,
        "pretrained": replace(aux, lm_coef=0.0),
        "fresh+lm": replace(aux, pretrained=False),
        "fresh": replace(aux, pretrained=False, lm_coef=0.0),
    }
    layers = {f"layers_{k}+lm": replace(aux, transfer_layers=k) for k in range(n_layer)}
    return found | layers


def questions(n_layer: int) -> dict[str, tuple[str, str]]:
    """Returns what is claimed to be better than what, by the question's name."""
    names = [*(f"layers_{k}+lm" for k in range(n_layer)), BASE]
    layers = {
        f"layer_{k}": (names[k], names[k - 1])  # the k-th block, counted from 1
        for k in range(1, n_layer + 1)
    }
    return {
        "pretraining": (BASE, "fresh+lm"),
        "pretraining_without_lm": ("pretrained", "fresh"),
        "lm": (BASE, "pretrained"),
        "lm_without_pretraining": ("fresh+lm", "fresh"),
        "embeddings": (names[0], "fresh+lm"),
        **layers,
    }


def prepared(
    task: Task, examples: Mapping[Split, Sequence[Example]], most: int | None
) -> tuple[Task, Examples]:
    """Returns a task that is scored on test, and its splits: dev chooses, test is seen once.

    Args:
        task: The task.
        examples: Its splits.
        most: Training examples, at most; None for all.
    """
    found: Examples = {
        split: list(some) for split, some in finetune.limited(examples, most).items()
    }
    if task.scored_split == "dev":
        train_ids, dev_ids = labelled.drawn(len(found["train"]), max(1, len(found["train"]) // 10))
        found["test"], whole = found["dev"], found["train"]
        found["train"], found["dev"] = ([whole[i] for i in ids] for ids in (train_ids, dev_ids))
    return replace(task, scored_split="test"), found


def _study(task: Task, examples: Examples, bench: Bench) -> dict[str, Any]:
    """Returns the figures of one task."""
    n_layer, metric = bench.shape.n_layer, task.metrics[0]
    labels = np.array([each.label for each in examples["test"]])
    made, told = {}, {}
    for name, way in ways(bench.finetune, n_layer).items():
        by_lr = {lr: _tuned(task, examples, replace(way, lr=lr), bench) for lr in bench.config.lrs}
        lr = max(by_lr, key=lambda rate: (by_lr[rate][metric], -by_lr[rate]["loss"]))
        found = [
            _once(task, examples, replace(way, lr=lr, seed=seed), bench).predicted
            for seed in bench.config.seeds
        ]
        made[name] = Way(predicted=np.array(found), labels=labels, metric=metric)
        told[name] = {
            "lr": lr,
            "dev_by_lr": {f"{rate:g}": each[metric] for rate, each in by_lr.items()},
            "by_seed": made[name].by_seed,
            **contrast.summary(made[name], bench.finetune.seed),
        }
        sys.stderr.write(f"study {task.name}: {_line(name, metric, told[name])}\n")
    compare = partial(contrast.compare, seed=bench.finetune.seed)
    return {
        "metric": metric,
        "n_examples": {split: len(some) for split, some in examples.items()},
        "majority": metrics.majority(task, [e.label for e in examples["train"]], labels)[metric],
        "ways": told,
        "questions": {
            name: {"way": way, "base": base, **compare(made[way], made[base])}
            for name, (way, base) in questions(n_layer).items()
        },
    }


def _tuned(
    task: Task, examples: Examples, config: settings.Config, bench: Bench
) -> dict[str, float]:
    """Returns dev's figures with the seed that tunes."""
    return _once(task, examples, replace(config, seed=bench.config.tuning_seed), bench).dev


def _once(task: Task, examples: Examples, config: settings.Config, bench: Bench) -> Kept:
    """Returns what is kept of a run, or makes it."""
    name = _identity(task, examples, config, bench)
    kept = bench.root / _KEPT / f"{name}.json"
    if kept.is_file():
        return Kept(**json.loads(kept.read_bytes()))
    scratch = bench.root / _KEPT / "runs" / name
    places = Places(
        pretrained=bench.pretrained, checkpoints=scratch / "checkpoints", model=scratch / "model"
    )
    told = ranks.run(partial(train.run, task, examples, places, config), 1)
    table = pq.read_table(places.model / train.PREDICTIONS)
    scored = table.filter(pc.equal(table["split"], "test"))
    found = Kept(dev=told["scored"]["dev"], predicted=scored["predicted"].to_pylist())
    if scored["example_id"].to_pylist() != [each.example_id for each in examples["test"]]:
        raise ValueError(f"{places.model}: predictions are not in the order of the examples")
    shards.write_atomic(kept, shards.to_json(asdict(found)))
    shutil.rmtree(scratch)
    return found


def _identity(task: Task, examples: Examples, config: settings.Config, bench: Bench) -> str:
    """Returns the name of a run's kept predictions: what decides them."""
    files = ("model.safetensors", "tokenizer.json")
    inputs = [
        *(shards.sha256_file(bench.pretrained / name) for name in files),
        *(settings.digest(task, examples[split]) for split in SPLITS if split in examples),
    ]
    return settings.run_identity(config, inputs, bench.shape)


def _line(name: str, metric: str, told: Mapping[str, Any]) -> str:
    interval = f"{told['mean_low']:.3f} to {told['mean_high']:.3f}"
    return f"{name:<16}lr {told['lr']:<8g}{metric} {told['mean']:.3f} ({interval})"

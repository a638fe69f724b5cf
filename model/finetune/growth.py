"""How what a model knows without labels grows with pre-training: heuristics at its checkpoints.

    train, as the graph does it, with checkpoints kept ─> step 0, s, 2s, ... ─> heuristics, Winograd

Decisions:
- The run is the graph's own, to the bit: how many checkpoints are kept changes no weight.
- Step 0 has the run's initial weights, not none: what remains of a score there is no knowledge.
- A task's growth is the gain of the last checkpoint over step 0, on the same examples.

Paper: GPT-1, section 5, "Zero-shot Behaviors", and figure 2 (right). Deviation: its curves are
normalised between a random guess and the state of the art; these are plain.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model import hf
from model.config import Architecture, ModelConfig
from model.finetune import contrast, finetune, heuristics, labelled, metrics
from model.finetune.contrast import Way
from model.finetune.tasks import Task
from model.gpt import GPT, init_weights
from model.score import Scorer, device
from model.tasks import evalsets, results, winograd
from model.training import checkpoint, settings
from pipeline.engine import workspace
from pipeline.store import manifest
from pipeline.tokens import codec
from pipeline.tokens.codec import Codec

_CHECKPOINTS = Path("models/study/pretraining")
_APART = ("params.yaml", "models")

WINOGRAD = "winograd"

Override = Callable[[Path, Path, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What is pre-trained, where, and how it is scored.

    Attributes:
        root: The workspace of a finished graph.
        override: Writes a parameter file with other settings: source, target, changes.
        architecture: Section `model`.
        train: Section `train`.
        n_checkpoints: How many, beside step 0.
        tasks: Names; empty for all that are present.
    """

    root: Path
    override: Override
    architecture: Architecture
    train: settings.Config
    n_checkpoints: int
    tasks: tuple[str, ...]


def run(bench: Bench) -> dict[str, Any]:
    """Returns by task the heuristic's figures `by_step`, and its growth with a verdict.

    Raises:
        ManifestError: If tokens are missing.
        ShardError: If the training fails.
    """
    folder = bench.root / "data" / "labelled"
    tasks = finetune.chosen(labelled.listing(folder), bench.tasks)
    known = {name: task for name, task in sorted(tasks.items()) if heuristics.is_known(task)}
    if not known or not bench.n_checkpoints:
        return {}
    saved = checkpoints(bench)
    pretrained = bench.root / "models" / "pretrained"
    coder = codec.load(pretrained / "tokenizer.json")
    _, shape = hf.load(pretrained)
    scores, schemata = {}, {}
    for step, path in {0: None, **saved}.items():
        scorer = Scorer(_model(shape, path, bench.train.seed), coder.vocabulary.eot_id)
        scores[step] = {
            name: heuristics.predict(task, labelled.read(folder, name), scorer, coder).tolist()
            for name, task in known.items()
        }
        schemata[str(step)] = _winograd(scorer, coder, bench)
    found = {name: _grown(task, scores, folder, bench.train.seed) for name, task in known.items()}
    return found | ({WINOGRAD: {"by_step": schemata}} if any(schemata.values()) else {})


def checkpoints(bench: Bench) -> dict[int, Path]:
    """Returns the folders of checkpoints by step, and trains if there are too few."""
    tokens = manifest.load(bench.root / "data" / "tokens", "encode")
    name = settings.run_identity(bench.architecture, bench.train, tokens.root)
    place = bench.root / _CHECKPOINTS
    every = max(1, -(-bench.train.steps // bench.n_checkpoints))
    wanted = [*range(every, bench.train.steps, every), bench.train.steps]
    found = {step: checkpoint.folder_of(place / name, step) for step in wanted}
    if not all(path.is_dir() for path in found.values()):
        _train(bench, place, every)
    return found


def _train(bench: Bench, place: Path, every: int) -> None:
    """Runs the stage `train` with its checkpoints in a place of their own."""
    place.mkdir(parents=True, exist_ok=True)
    changes = {
        "train.checkpoint_every_steps": every,
        "train.keep_checkpoints": bench.n_checkpoints + 1,
    }
    with workspace.linked(bench.root, "study", _APART) as scratch:
        (scratch / "models").mkdir()
        (scratch / "models" / "checkpoints").symlink_to(place.absolute())
        bench.override(bench.root / "params.yaml", scratch / "params.yaml", changes)
        workspace.run_stage("train", scratch, "study", shown=True)


def _model(shape: ModelConfig, path: Path | None, seed: int) -> GPT:
    """Returns a checkpoint's model, or one with initial weights."""
    model = GPT(shape)
    if path is None:
        init_weights(model, torch.Generator().manual_seed(seed))
    else:
        model.load_state_dict(checkpoint.read(path).tensors("weights"))
    return model.eval().to(device())


def _winograd(scorer: Scorer, coder: Codec, bench: Bench) -> dict[str, float]:
    """Returns the figures of Winograd's substitution; none where the file is absent."""
    folder = bench.root / "data" / "eval"
    if not evalsets.listing(folder)[WINOGRAD]["present"]:
        return {}
    how = results.Bench(
        scorer=scorer,
        coder=coder,
        stride=scorer.n_ctx,
        more_strides=(),
        seed=bench.train.seed,
        max_generated=None,
    )
    (found,) = winograd.schemata(WINOGRAD, evalsets.read(folder, WINOGRAD), how)
    return found.figures


def _grown(
    task: Task, scores: Mapping[int, Mapping[str, list[float]]], folder: Path, seed: int
) -> dict[str, Any]:
    examples = labelled.read(folder, task.name)
    labels = np.array([each.label for each in examples[task.scored_split]])
    by_step = {
        str(step): metrics.figures(task, found[task.name], labels, seed)
        for step, found in scores.items()
    }
    first, last = (
        Way(predicted=np.array([scores[step][task.name]]), labels=labels, metric=task.metrics[0])
        for step in (min(scores), max(scores))
    )
    return {"by_step": by_step, "growth": contrast.compare(last, first, seed)}

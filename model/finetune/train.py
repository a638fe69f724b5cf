"""One fine-tuning run: labelled examples in, a model with a head and its predictions out.

    step s:  examples(s)  ->  this rank's micro-batches  ->  engine.train_step(lr(s))
             at an epoch's end: scores of the dev split, checkpoint
    at last: weights -> folder -> read back in fp32 -> scores of every split but train

Decisions
- The same engine, guard and checkpoints as pre-training, and the same rule: nothing is carried from
  step to step but the optimizer's state. So a run that was killed ends to the bit like one that was
  not, on any ZeRO stage.
- The predictions that count are those of the folder that is written, read back and scored in fp32,
  whatever was trained in: who loads the folder gets the same ones.
- What the dev split says after each epoch is in the training's own precision; it chooses the
  exported epoch, if asked to, and nothing else.
"""

import math
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from model import hf
from model.finetune import batches, inputs, outcome, settings, transfer
from model.finetune.batches import Batches
from model.finetune.head import Classifier, HeadConfig
from model.finetune.settings import Config, Examples, Places
from model.finetune.tasks import Split, Task
from model.score import device
from model.training import checkpoint, memory
from model.training.curve import Row
from model.training.data import ahead
from model.training.engine import Engine, Micro, World, join
from model.training.guard import Fault, Guard, few, suspects
from model.training.stepper import Bar, Stepper
from model.training.watch import Silent, interruptible
from pipeline.engine.progress import progress
from pipeline.store import shards
from pipeline.tokens import codec

PREDICTIONS = "predictions.parquet"
_SCORING_EXAMPLES = 32  # per forward pass of a scoring
_ROWS = 100  # of the curve, beside those at an epoch's end


def run(
    task: Task, examples: Examples, places: Places, config: Config, world: World
) -> dict[str, Any]:
    """Fine-tunes, writes model and predictions, and returns the figures; every rank calls it.

    Args:
        task: What is learnt.
        examples: By split; `train` is learnt, the others are scored.
        places: Where to read and write.
        config: How.
        world: This process among all ranks.

    Raises:
        FileNotFoundError: The pre-trained model is missing.
        ValueError: A setting or an example does not fit, a step is bad and the policy is to stop,
            or memory ran out.
        CheckpointError: A checkpoint can't be written, or is demanded and absent.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, with a checkpoint saved.
    """
    join(world)
    tuner = Tuner(task, examples, places, config, world)
    try:
        tuner.build()
        with closing(tuner):
            tuner.resume()
            tuner.train()
            tuner.export()
            return tuner.figures()
    except (RuntimeError, MemoryError) as error:
        if not memory.is_exhausted(error):
            raise
        told = memory.advice(error, tuner.shape, config, "finetune")
        raise ValueError(told) from error


class Tuner:
    """One run: the engine, its examples, and how far it is."""

    def __init__(
        self, task: Task, examples: Examples, places: Places, config: Config, world: World
    ) -> None:
        """Reads the pre-trained model and encodes the examples."""
        self._task, self._places, self._config, self._world = task, places, config, world
        settings.check_splits(task, examples, config)
        self._base, self.shape = hf.load(places.pretrained)
        coder = codec.load(places.pretrained / "tokenizer.json")
        self._eot_id = coder.vocabulary.eot_id
        self._encoded = {
            split: inputs.encode(task, each, coder, self.shape) for split, each in examples.items()
        }
        learnt = self._encoded["train"]
        self._steps = settings.n_steps(config, len(learnt))
        self._epoch_ends = settings.epoch_ends(config, len(learnt))
        size, most = config.batch_size, config.micro_batch_size
        self._batches = Batches(learnt, size, most, world, config.seed)
        digests = settings.digests(task, examples, places, config)
        self._about = {"finetune": asdict(config), "task": task.name, **digests}
        name = settings.run_identity(config, list(digests.values()), self.shape)
        self._root = places.checkpoints / name
        self._name = f"finetune {task.name}"
        self._rows: list[Row] = []
        self._exported_step = 0
        self._scored: dict[str, dict[str, float]] = {}

    def build(self) -> None:
        """Makes the model and hands it to the engine."""
        config = self._config
        head = HeadConfig.of(self._task, dropout=config.head_dropout, lm_coef=config.lm_coef)
        model = transfer.start(self._base, head, config.transfer(), config.seed, config.dropout)
        del self._base
        self._head, self._model_config = head, model.config
        told = config.engine(self._batches.micro_size, self._batches.n_micros)
        self._engine = Engine(model, told, self._world, "objective")
        scaled = self._engine.loss_scale is not None
        guard = Guard(config.guard(), scaled=scaled, section="finetune")
        self._stepper = Stepper(self._name, self._engine, guard, self._world, self._root)

    def resume(self) -> None:
        """Continues from the newest whole checkpoint of the same identity, if there is one."""
        self._rows = list(self._stepper.resume())
        done = self._stepper.step
        if done and self._world.rank == 0:
            sys.stderr.write(f"{self._name}: continues after step {done}\n")
        if done < self._steps:
            told = asdict(self._config)
            self._stepper.begin_segment({name: told[name] for name in settings.ONLY_HOW})

    def train(self) -> None:
        """Does the steps that are left."""
        with (
            interruptible() as interrupt,
            self._progress() as bar,
            ahead(self._batches.make, self._steps) as made,
        ):
            bar.update(self._stepper.step)
            while self._stepper.step < self._steps:
                self._watch(self._one_step(made.get(self._stepper.step), bar), bar)
                stop = self._engine.agree_on_any(wish=interrupt.wanted)
                if stop or self._is_due():
                    self._save()
                if stop:
                    raise KeyboardInterrupt

    def _one_step(self, micros: list[Micro], bar: Bar) -> Row:
        """Does one optimizer step and returns its row of the curve."""
        lr = settings.learning_rate(self._stepper.step, self._config, self._steps)
        return self._stepper.advance(micros, lr, self._suspects, bar)

    def _suspects(self, losses: list[float], fault: Fault) -> str:
        """Names the examples that a bad step has read."""
        numbers = suspects(self._batches.examples(self._stepper.step), losses, fault)
        return f"examples {few([self._encoded['train'].ids[number] for number in numbers])}"

    def _watch(self, row: Row, bar: Bar) -> None:
        """Scores the dev split at an epoch's end, and keeps the rows of the curve."""
        bar.update()
        step = self._stepper.step
        self._stepper.valid_loss = None
        ends = step in self._epoch_ends
        if ends and "dev" in self._encoded:
            told = self._judged("dev", self._scores("dev", self._own_scores))
            row.update({f"dev/{name}": value for name, value in told.items()})
            self._stepper.valid_loss = told.get("loss")
        if ends or step % max(1, self._steps // _ROWS) == 0:
            self._rows.append(row)

    def _own_scores(self, made: Iterable[tuple[Tensor, Tensor]]) -> list[Tensor]:
        return self._engine.outputs("scores", made)

    def _scores(self, split: Split, score: batches.Score) -> Tensor:
        """Returns (n, outputs) fp64 scores of a split on every rank."""
        encoded = self._encoded[split]
        n = encoded.width if self._task.kind == "choice" else self._task.n_outputs
        total = self._engine.total
        return batches.scores_of(encoded, n, _SCORING_EXAMPLES, score, total, self._world)

    def _judged(self, split: Split, scores: Tensor) -> dict[str, float]:
        """Returns loss and figures without intervals; what is not finite is left out."""
        told = outcome.judged(self._task, self._encoded[split], scores)
        return {name: value for name, value in told.items() if math.isfinite(value)}

    def export(self) -> None:
        """Writes the model's folder, and the predictions of what is read back from it."""
        weights: Mapping[str, Tensor] = self._engine.gather("weights")
        if self._world.rank == 0:
            weights, self._exported_step = self._chosen(weights)
            with torch.device("meta"):
                model = Classifier(self._model_config, self._head)
            model.load_state_dict(weights, assign=True)
            target, pretrained = self._places.model, self._places.pretrained
            transfer.save(target, model, self._task, pretrained, self._eot_id)
            checkpoint.prune(self._root, 1)
        self._engine.agree(0)  # the folder is there
        self._predict(transfer.load(self._places.model).to(device()))

    def _chosen(self, weights: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], int]:
        """Returns the weights to export and their step."""
        best = checkpoint.best(self._root) if self._config.export == "best" else None
        if best is None:
            return weights, self._stepper.step
        return best.tensors("weights"), best.step

    def _predict(self, model: Classifier) -> None:
        @torch.no_grad()
        def score(made: Iterable[tuple[Tensor, Tensor]]) -> list[Tensor]:
            return [model.scores(*(t.to(device()) for t in batch)).cpu() for batch in made]

        tables = []
        for split in (each for each in self._encoded if each != "train"):
            scores = self._scores(split, score)
            self._scored[split] = self._judged(split, scores)
            tables.append(outcome.table(self._task, split, self._encoded[split], scores))
        if self._world.rank == 0:
            shards.write_table(self._places.model / PREDICTIONS, pa.concat_tables(tables))

    def figures(self) -> dict[str, Any]:
        """Returns what the run gave: no times, no intervals."""
        losses = [row["train/loss"] for row in self._rows if "train/loss" in row]
        return {
            "task": self._task.name,
            "n_examples": {split: len(each) for split, each in self._encoded.items()},
            "n_cut": {split: each.n_cut for split, each in self._encoded.items()},
            "steps": self._stepper.step,
            "exported_step": self._exported_step,
            "skipped_steps": self._stepper.n_skipped,
            "n_parameters": self._engine.n_parameters,
            "dtype": self._stepper.segments[-1]["dtype"],
            "train_loss": losses[-1] if losses else None,
            "epochs": self._epochs(),
            "scored": self._scored,
        }

    def _epochs(self) -> dict[str, dict[str, float]]:
        """Returns what the dev split said after each epoch."""
        rows = {row["step"]: row for row in self._rows}
        return {
            str(number): {k.removeprefix("dev/"): v for k, v in rows[end].items() if "dev/" in k}
            for number, end in enumerate(self._epoch_ends, start=1)
        }

    def _is_due(self) -> bool:
        step, every = self._stepper.step, self._config.checkpoint_every_steps
        return step in self._epoch_ends or (every is not None and step % every == 0)

    def _save(self) -> None:
        self._stepper.save(self._rows, self._about, self._config.keep_checkpoints)

    def close(self) -> None:
        """Lets go of the engine."""
        self._engine.close()

    def _progress(self) -> AbstractContextManager[Bar]:
        if self._world.rank == 0 and self._stepper.step < self._steps:
            return progress(self._name, self._steps, "steps")
        return nullcontext(Silent())

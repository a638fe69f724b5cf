"""Pre-training: tokens in, a `transformers` folder out, resumable at any step.

    step s:  window ids(s)  ->  this rank's micro-batches  ->  engine.train_step(lr(s))
             every few steps: curve row, validation, checkpoint

Decisions
- Nothing is carried from step to step but the optimizer's state: windows, dropout and learning rate
  are functions of (seed, step). So resuming needs no random state, no position in the data, and
  evaluating more or less often changes nothing.
  What the guard and the loss scale remember is two short lists and a number in the checkpoint.
- Ctrl-C and SIGTERM finish the step, save, and leave with KeyboardInterrupt; a second one is not
  waited for.
"""

import math
import shutil
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from model import hf
from model.config import Architecture, ModelConfig
from model.gpt import GPT, init_weights
from model.training import checkpoint, data, exposure, memory
from model.training.batches import Batch, Batches
from model.training.curve import Curve, Row
from model.training.engine import Engine, World, join
from model.training.guard import Fault, Guard, few, suspects
from model.training.schedule import learning_rate
from model.training.settings import (
    ONLY_HOW,
    Config,
    Places,
    run_identity,
    sequences_per_step,
)
from model.training.speed import Speed
from model.training.stepper import Bar, Stepper
from model.training.watch import Silent, interruptible
from pipeline.engine.progress import progress
from pipeline.store import manifest, metrics, shards
from pipeline.store.config import require

_EVAL_SEQUENCES = 16  # per forward pass of a validation


def run(places: Places, architecture: Architecture, config: Config, world: World) -> dict[str, Any]:
    """Trains, exports, and returns the figures; every rank calls it.

    Raises:
        ManifestError: tokens are missing, or of another tokenizer.
        ValueError: a setting does not fit the others, a step is bad and the policy is to stop, or
            memory ran out.
        CheckpointError: a checkpoint can't be written, or is demanded and absent.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with a checkpoint saved.
    """
    join(world)
    trainer = Trainer(places, architecture, config, world)
    try:
        trainer.build()
        with closing(trainer):
            trainer.resume()
            trainer.train()
            figures = trainer.figures()
            trainer.export()
    except (RuntimeError, MemoryError) as error:
        if not memory.is_exhausted(error):
            raise
        raise ValueError(memory.advice(error, trainer.shape, config)) from error
    return figures


class Trainer:
    """One run: the engine, its data, and how far it is."""

    def __init__(
        self, places: Places, architecture: Architecture, config: Config, world: World
    ) -> None:
        """Opens the tokens and checks that the settings fit them."""
        self._places, self._config, self._world = places, config, world
        tokens = manifest.load(places.tokens, "encode")
        tokenizer = shards.sha256_file(places.bpe / "tokenizer.json")
        self._tokens = data.open_tokens(tokens.paths("train"), tokenizer)
        self._valid = data.open_tokens(tokens.paths("valid"), tokenizer)
        _check_export(config, self._valid.n_tokens)
        self.shape = architecture.with_vocab(self._tokens.n_vocab)
        windows = data.Windows(self._tokens, self.shape.n_ctx, config.seed)
        self._n_window_tokens = windows.n_windows * self.shape.n_ctx
        sequences = sequences_per_step(config, self.shape)
        most = config.micro_batch_size
        self._batches = Batches(windows, sequences, world, config.seed, most)
        self._about = _about(architecture, config, tokenizer, tokens.root)
        self._root = places.checkpoints / run_identity(architecture, config, tokens.root)
        self._curve = Curve(None, [])
        self._speed = Speed()

    def build(self) -> None:
        """Makes the model and hands it to the engine."""
        config = self._config
        told = config.engine(self._batches.micro_size, self._batches.n_micros)
        engine = Engine(_new_model(self.shape, config.seed), told, self._world)
        guard = Guard(config.guard(), scaled=engine.loss_scale is not None)
        self._engine = engine
        self._stepper = Stepper("train", engine, guard, self._world, self._root)

    def resume(self) -> None:
        """Continues from the newest whole checkpoint of the same identity, if there is one."""
        rows = self._stepper.resume()
        self._begin_segment()
        self._curve = Curve(self._places.curve if self._world.rank == 0 else None, rows)

    def _begin_segment(self) -> None:
        """Writes down what the steps that are left are computed with."""
        done = self._stepper.step
        if done == self._config.steps:
            self._say(f"all {done} steps are done; nothing is left to train")
            return
        told = asdict(self._config)
        changed = self._stepper.begin_segment({name: told[name] for name in ONLY_HOW})
        if changed and done:
            self._say(f"continues after step {done} with {', '.join(changed)}")

    def _say(self, text: str) -> None:
        if self._world.rank == 0:
            sys.stderr.write(f"train: {text}\n")

    def train(self) -> None:
        """Does the steps that are left."""
        config = self._config
        try:
            with (
                interruptible() as interrupt,
                self._progress() as bar,
                data.ahead(self._batches.make, config.steps) as batches,
            ):
                bar.update(self._stepper.step)
                while self._stepper.step < config.steps:
                    self._watch(self._one_step(batches.get(self._stepper.step), bar), bar)
                    stop = self._engine.agree_on_any(wish=interrupt.wanted)
                    if stop or self._due(config.checkpoint_every_steps):
                        self._save()
                    if stop:
                        raise KeyboardInterrupt
        finally:
            self._curve.close()

    def figures(self) -> dict[str, Any]:
        """Returns the stage's figures: no times."""
        tokens = self._config.steps * self._config.global_batch_tokens
        last = self._curve.rows[-1]
        losses = [row["train/loss"] for row in self._curve.rows if "train/loss" in row]
        return {
            "steps": self._stepper.step,
            "tokens": tokens,
            "epochs": tokens / self._n_window_tokens,
            "n_parameters": self._engine.n_parameters,
            "skipped_steps": self._stepper.n_skipped,
            "train_loss": losses[-1] if losses else None,
            "valid_loss": last.get("valid/loss"),
            "valid_bits_per_byte": last.get("valid/bits_per_byte"),
            "valid_tokens": self._valid.n_tokens,
            "zero_stage": self._stepper.segments[-1]["zero_stage"],
            "dtype": self._stepper.segments[-1]["dtype"],
        }

    def export(self) -> None:
        """Writes the `transformers` folder; a finished one is replaced as a whole."""
        weights: Mapping[str, Tensor] = self._engine.gather("weights")
        if self._world.rank > 0:
            return
        if self._config.export == "best" and (best := checkpoint.best(self._root)) is not None:
            weights = best.tensors("weights")
            self._say(f"exports the weights of step {best.step}, the best on the validation text")
        with torch.device("meta"):
            model = GPT(self.shape)
        model.load_state_dict(weights, assign=True)
        target = self._places.model
        draft = target.with_name(f".{target.name}.tmp")
        shutil.rmtree(draft, ignore_errors=True)
        hf.save(draft, model, self._places.bpe, self._tokens.eot_id)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        engine = self._engine
        speed = self._speed.figures(self.shape, engine.n_parameters, engine.dtype, self._world.size)
        metrics.write_timings("train_speed", speed)

    def _one_step(self, batch: Batch, bar: Bar) -> Row:
        """Does one optimizer step and returns its row of the curve."""
        step = self._stepper.step
        self._batches.log(step, batch)
        lr = learning_rate(step, self._config.schedule())
        with self._speed.timed(self._config.global_batch_tokens):
            row = self._stepper.advance(batch.micros, lr, self._suspects, bar)
        return {"train/skipped_steps": self._stepper.n_skipped, **row}

    def _suspects(self, losses: list[float], fault: Fault) -> str:
        """Names the windows and documents that a bad step has read."""
        windows = suspects(self._batches.windows(self._stepper.step), losses, fault)
        documents = exposure.documents_in(self._tokens.documents(), windows, self.shape.n_ctx)
        return f"windows {few(windows)}; doc_ids {few(list(documents))}"

    def _watch(self, row: Row, bar: Bar) -> None:
        """Validates and logs where it is time for it."""
        bar.update()
        last = self._stepper.step == self._config.steps
        self._stepper.valid_loss = None
        if self._valid.n_tokens and self._due(self._config.eval_every_steps):
            told = self._validate(self._config.eval_tokens)
            self._stepper.valid_loss = told.get("valid/loss")  # of the same windows each time
            row.update(self._validate(None) if last else told)
            bar.note(_line(row))
        if "valid/loss" in row or self._due(self._config.log_every_steps):
            self._curve.add(row)

    def _validate(self, most_tokens: int | None) -> Row:
        """Returns nats per token and bits per byte of the validation split or a part of it.

        A part's bytes are counted at the whole split's bytes per token. What is not finite is no
        figure, so there is none then.
        """
        windows = data.scoring_windows(self._valid.n_tokens, self.shape.n_ctx, most_tokens)
        mine = data.share(windows, self._world.rank, self._world.size)
        size = _EVAL_SEQUENCES
        batches = data.scoring_batches(self._valid, self.shape.n_ctx, size, mine)
        loss = self._engine.evaluate(batches)
        if not math.isfinite(loss):
            return {}
        bytes_per_token = self._valid.n_bytes / self._valid.n_tokens
        return {"valid/loss": loss, "valid/bits_per_byte": loss / bytes_per_token / math.log(2)}

    def _save(self) -> None:
        if self._world.rank == 0:
            exposure.record(self._root, self._tokens)
        self._stepper.save(self._curve.rows, self._about, self._config.keep_checkpoints)

    def _due(self, every: int) -> bool:
        step = self._stepper.step
        return step % every == 0 or step == self._config.steps

    def close(self) -> None:
        """Lets go of the engine."""
        self._engine.close()

    def _progress(self) -> AbstractContextManager[Bar]:
        if self._world.rank == 0:
            return progress("train", self._config.steps, "steps")
        return nullcontext(Silent())


def _about(
    architecture: Architecture, config: Config, tokenizer: str, tokens_root: str
) -> dict[str, Any]:
    """Returns what a checkpoint says about itself."""
    return {
        "model": asdict(architecture),
        "train": asdict(config),
        "tokenizer_sha256": tokenizer,
        "tokens_root": tokens_root,
    }


def _check_export(config: Config, valid_tokens: int) -> None:
    allowed = "last: without validation documents no checkpoint is the best"
    require("train.export", config.export, config.export == "last" or valid_tokens > 0, allowed)


def _new_model(shape: ModelConfig, seed: int) -> GPT:
    """Returns a model with its initial weights."""
    with torch.device("meta"):  # torch's own initial values would be drawn for nothing
        model = GPT(shape)
    model.to_empty(device="cpu")
    init_weights(model, torch.Generator().manual_seed(seed))
    return model


def _line(row: Row) -> str:
    """Returns the line that people see after a validation."""
    trained, nats, bits = (
        row.get(name, math.nan) for name in ("train/loss", "valid/loss", "valid/bits_per_byte")
    )
    return (
        f"step {int(row['step'])}: loss {trained:.3f}, validation {nats:.3f} nats per token, "
        f"{bits:.4f} bits per byte"
    )

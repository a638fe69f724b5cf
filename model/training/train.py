"""Pre-training: tokens in, a `transformers` folder out, resumable at any step.

    step s:  window ids(s)  ->  this rank's micro-batches  ->  engine.train_step(lr(s))
             every few steps: curve row, validation, checkpoint

Decisions
- Nothing is carried from step to step but the optimizer's state: windows, dropout and learning rate
  are functions of (seed, step). So resuming needs no random state, no position in the data, and
  evaluating more or less often changes nothing.
- Ctrl-C and SIGTERM finish the step, save, and leave with KeyboardInterrupt; a second one is not
  waited for.
"""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from model import hf
from model.config import Architecture, ModelConfig
from model.gpt import GPT, init_weights
from model.training import checkpoint, data, exposure
from model.training.curve import Curve, Row
from model.training.engine import Engine, Micro, World, join
from model.training.partitions import KINDS
from model.training.schedule import learning_rate
from model.training.settings import (
    Config,
    Places,
    micro_seed,
    run_identity,
    sequences_per_step,
    split_batch,
)
from model.training.watch import Silent, Speed, interruptible
from pipeline.engine.progress import Progress, progress
from pipeline.store import manifest, metrics, shards

Bar = Progress | Silent

WINDOW_LOG = "OUTBOUND_WINDOW_LOG"  # a file that gets one JSON line of window ids per step
RESUME = "OUTBOUND_RESUME"  # "required": no checkpoint to continue from is an error
_EVAL_SEQUENCES = 16  # per forward pass of a validation


def run(places: Places, architecture: Architecture, config: Config, world: World) -> dict[str, Any]:
    """Trains, exports, and returns the figures; every rank calls it.

    Raises:
        ManifestError: tokens are missing, or of another tokenizer.
        ValueError: a setting does not fit the others, or the loss is no longer finite.
        CheckpointError: a checkpoint can't be written, or is demanded and absent.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with a checkpoint saved.
    """
    join(world)
    trainer = Trainer(places, architecture, config, world)
    trainer.resume()
    trainer.train()
    figures = trainer.figures()
    trainer.export()
    return figures


class Trainer:
    """One run: the engine, its data, and how far it is."""

    def __init__(
        self, places: Places, architecture: Architecture, config: Config, world: World
    ) -> None:
        """Opens the tokens, builds the model, hands it to the engine."""
        self._places, self._config, self._world = places, config, world
        tokens = manifest.load(places.tokens, "encode")
        tokenizer = shards.sha256_file(places.bpe / "tokenizer.json")
        self._tokens = data.open_tokens(tokens.paths("train"), tokenizer)
        self._valid = data.open_tokens(tokens.paths("valid"), tokenizer)
        self._shape = architecture.with_vocab(self._tokens.n_vocab)
        self._windows = data.Windows(self._tokens, self._shape.n_ctx, config.seed)
        self._about = _about(architecture, config, tokenizer, tokens.root)
        self._root = places.checkpoints / run_identity(architecture, config, tokens.root)
        self._sequences = sequences_per_step(config, self._shape)
        split = split_batch(self._sequences, world.size, config.micro_batch_size)
        self._micro_size, self._n_micros = split
        self._engine = Engine(_new_model(self._shape, config.seed), config.engine(*split), world)
        self._curve = Curve(None, [])
        self._step = 0
        self._speed = Speed()

    def resume(self) -> None:
        """Continues from the newest whole checkpoint of the same identity, if there is one.

        Rank 0 decides which, so that all ranks continue from the same.
        """
        leads = self._world.rank == 0
        demanded = os.environ.get(RESUME) == "required"
        found = checkpoint.newest(self._root, demanded=demanded) if leads else None
        step = self._engine.agree(-1 if found is None else found.step)
        rows: tuple[Row, ...] = ()
        if step >= 0:
            found = found or checkpoint.read(checkpoint.folder_of(self._root, step))
            for kind in KINDS:
                self._engine.restore(step, {kind: found.tensors(kind)})
            self._step, rows = step, found.rows
        self._curve = Curve(self._places.curve if leads else None, rows)

    def train(self) -> None:
        """Does the steps that are left."""
        config = self._config
        try:
            with interruptible() as interrupt, self._progress() as bar:
                bar.update(self._step)
                while self._step < config.steps:
                    self._watch(self._one_step(), bar)
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
        return {
            "steps": self._step,
            "tokens": tokens,
            "epochs": tokens / (self._windows.n_windows * self._shape.n_ctx),
            "n_parameters": self._engine.n_parameters,
            "train_loss": last["train/loss"],
            "valid_loss": last.get("valid/loss"),
            "valid_bits_per_byte": last.get("valid/bits_per_byte"),
            "valid_tokens": self._valid.n_tokens,
            "zero_stage": self._engine.zero_stage,
            "dtype": str(self._engine.dtype).removeprefix("torch."),
        }

    def export(self) -> None:
        """Writes the `transformers` folder; a finished one is replaced as a whole."""
        weights = self._engine.gather("weights")
        if self._world.rank > 0:
            return
        with torch.device("meta"):
            model = GPT(self._shape)
        model.load_state_dict(weights, assign=True)
        target = self._places.model
        draft = target.with_name(f".{target.name}.tmp")
        shutil.rmtree(draft, ignore_errors=True)
        hf.save(draft, model, self._places.bpe, self._tokens.eot_id)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        metrics.write_timings("train_speed", self._speed.figures())

    def _one_step(self) -> Row:
        """Does one optimizer step and returns its row of the curve."""
        step = self._step
        ids = self._windows.ids(step, self._sequences)
        mine = self._n_micros * self._micro_size
        ids = ids[self._world.rank * mine :][:mine]
        _log_windows(step, self._world.rank, ids)
        lr = learning_rate(step, self._config.schedule())
        with self._speed.timed(self._config.global_batch_tokens):
            try:
                result = self._engine.train_step(self._micros(step, ids), lr)
            except FloatingPointError as error:
                raise ValueError(
                    f"train: {error} in step {step} (windows {ids[:8]} ...), the weights before it "
                    "are kept; lower train.lr or raise train.warmup_steps"
                ) from error
        self._step += 1
        row = {"step": self._step, "train/loss": result.loss, "train/lr": lr}
        return row if result.grad_norm is None else {**row, "train/grad_norm": result.grad_norm}

    def _micros(self, step: int, ids: list[int]) -> Iterator[Micro]:
        first = self._world.rank * self._n_micros
        for number in range(self._n_micros):
            chosen = ids[number * self._micro_size :][: self._micro_size]
            seed = micro_seed(self._config.seed, step, first + number)
            yield Micro(seed, *self._windows.batch(chosen))

    def _watch(self, row: Row, bar: Bar) -> None:
        """Validates and logs where it is time for it."""
        bar.update()
        last = self._step == self._config.steps
        if self._valid.n_tokens and self._due(self._config.eval_every_steps):
            row.update(self._validate(None if last else self._config.eval_tokens))
            bar.note(_line(row))
        if "valid/loss" in row or self._due(self._config.log_every_steps):
            self._curve.add(row)

    def _validate(self, most_tokens: int | None) -> Row:
        """Returns nats per token and bits per byte of the validation split or a part of it.

        A part's bytes are counted at the whole split's bytes per token.
        """
        windows = data.scoring_windows(self._valid.n_tokens, self._shape.n_ctx, most_tokens)
        mine = data.share(windows, self._world.rank, self._world.size)
        size = _EVAL_SEQUENCES
        batches = data.scoring_batches(self._valid, self._shape.n_ctx, size, mine)
        loss = self._engine.evaluate(batches)
        bytes_per_token = self._valid.n_bytes / self._valid.n_tokens
        return {"valid/loss": loss, "valid/bits_per_byte": loss / bytes_per_token / math.log(2)}

    def _save(self) -> None:
        if self._world.rank == 0:
            rows = self._curve.rows
            exposure.record(self._root, self._tokens)
            checkpoint.save(self._root, self._step, self._engine.gather, rows, self._about)
            checkpoint.prune(self._root, self._config.keep_checkpoints)
            return
        for kind in KINDS:
            self._engine.gather(kind)

    def _due(self, every: int) -> bool:
        return self._step % every == 0 or self._step == self._config.steps

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


def _new_model(shape: ModelConfig, seed: int) -> GPT:
    """Returns a model with its initial weights."""
    with torch.device("meta"):  # torch's own initial values would be drawn for nothing
        model = GPT(shape)
    model.to_empty(device="cpu")
    init_weights(model, torch.Generator().manual_seed(seed))
    return model


def _line(row: Row) -> str:
    """Returns the line that people see after a validation."""
    return (
        f"step {int(row['step'])}: loss {row['train/loss']:.3f}, validation "
        f"{row['valid/loss']:.3f} nats per token, {row['valid/bits_per_byte']:.4f} bits per byte"
    )


def _log_windows(step: int, rank: int, ids: list[int]) -> None:
    """Appends the windows of a step to the file that OUTBOUND_WINDOW_LOG names, if it does."""
    name = os.environ.get(WINDOW_LOG)
    if name:
        with Path(name).open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, "rank": rank, "windows": ids}) + "\n")

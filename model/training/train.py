"""Pre-training: tokens in, a `transformers` folder out, resumable at any step.

    step s:  window ids(s)  ->  this rank's micro-batches  ->  engine.train_step(lr(s))
             every few steps: curve row, validation, checkpoint

Decisions
- Nothing is carried from step to step but the optimizer's state: windows, dropout and learning rate
  are functions of (seed, step). So resuming needs no random state, no position in the data, and
  evaluating more or less often changes nothing.
- A checkpoint folder is named by what decides the weights' bytes (tokens, tokenizer, model and
  training settings, code, libraries): a changed setting starts anew and never continues a foreign
  checkpoint. How often it is looked at, saved and logged is not part of it.
- Ctrl-C and SIGTERM finish the step, save, and leave with KeyboardInterrupt; a second one is not
  waited for.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model import hf
from model.config import Architecture, ModelConfig
from model.gpt import GPT, init_weights
from model.training import checkpoint, data
from model.training.curve import Curve, Row
from model.training.engine import Dtype, Engine, EngineConfig, Micro, World, join
from model.training.partitions import KINDS
from model.training.schedule import Schedule, learning_rate
from model.training.watch import Silent, Speed, interruptible
from pipeline.engine import identity
from pipeline.engine.progress import Progress, progress
from pipeline.store import manifest, metrics, shards
from pipeline.store.config import require

Bar = Progress | Silent

WINDOW_LOG = "OUTBOUND_WINDOW_LOG"  # a file that gets one JSON line of window ids per step
RESUME = "OUTBOUND_RESUME"  # "required": no checkpoint to continue from is an error
_EVAL_SEQUENCES = 16  # per forward pass of a validation
# Settings that never change the weights' bytes.
_ONLY_WATCHING = (
    "eval_every_steps",
    "eval_tokens",
    "checkpoint_every_steps",
    "keep_checkpoints",
    "log_every_steps",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `train` of params.yaml.

    Attributes:
        seed: of initial weights, window order and dropout.
        steps: optimizer steps.
        global_batch_tokens: tokens per step over all ranks; a multiple of `n_ctx`.
        micro_batch_size: sequences per forward pass at most.
        lr: highest learning rate.
        embd_lr_ratio: the two tables' learning rate over the others'.
        min_lr_frac: last learning rate over the highest.
        warmup_steps: steps until the highest.
        weight_decay: of matrices and tables.
        beta1: Adam's first moment.
        beta2: Adam's second moment.
        max_grad_norm: gradients are scaled down to this norm.
        zero_stage: DeepSpeed ZeRO stage.
        dtype: auto, bf16 or fp32.
        compile: whether to use torch.compile.
        eval_every_steps: steps between two validations.
        eval_tokens: validation tokens of each but the last, which reads all.
        checkpoint_every_steps: steps between two checkpoints.
        keep_checkpoints: how many are kept.
        log_every_steps: steps between two rows of the curve.
    """

    seed: int
    steps: int
    global_batch_tokens: int
    micro_batch_size: int
    lr: float
    embd_lr_ratio: float
    min_lr_frac: float
    warmup_steps: int
    weight_decay: float
    beta1: float
    beta2: float
    max_grad_norm: float
    zero_stage: int
    dtype: Dtype
    compile: bool
    eval_every_steps: int
    eval_tokens: int
    checkpoint_every_steps: int
    keep_checkpoints: int
    log_every_steps: int

    def __post_init__(self) -> None:
        require("seed", self.seed, self.seed >= 0, "x >= 0")
        for name in ("global_batch_tokens", *_ONLY_WATCHING):
            require(name, getattr(self, name), getattr(self, name) >= 1, "x >= 1")
        self.schedule()
        self.engine(1, 1)

    def schedule(self) -> Schedule:
        """Returns what decides the learning rate."""
        return Schedule(
            lr=self.lr,
            min_lr_frac=self.min_lr_frac,
            warmup_steps=self.warmup_steps,
            steps=self.steps,
        )

    def engine(self, micro_batch_size: int, grad_accum_steps: int) -> EngineConfig:
        """Returns what DeepSpeed is told."""
        return EngineConfig(
            zero_stage=self.zero_stage,
            dtype=self.dtype,
            compile=self.compile,
            micro_batch_size=micro_batch_size,
            grad_accum_steps=grad_accum_steps,
            weight_decay=self.weight_decay,
            embd_lr_ratio=self.embd_lr_ratio,
            beta1=self.beta1,
            beta2=self.beta2,
            max_grad_norm=self.max_grad_norm,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a run reads and writes.

    Attributes:
        tokens: folder of the token shards, with its manifest.
        bpe: folder of the tokenizer.
        checkpoints: folder that holds one folder per identity.
        model: output, the `transformers` folder.
        curve: output, DVCLive's folder.
    """

    tokens: Path
    bpe: Path
    checkpoints: Path
    model: Path
    curve: Path


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


def split_batch(sequences: int, ranks: int, most: int) -> tuple[int, int]:
    """Returns (micro-batch size, accumulation steps) of each rank.

    Args:
        sequences: sequences per step of all ranks.
        ranks: number of ranks.
        most: the largest micro-batch wanted.

    Raises:
        ValueError: the ranks can't have equal parts.

    >>> split_batch(24, 2, most=8)
    (6, 2)
    """
    if sequences % ranks:
        raise ValueError(
            f"train.global_batch_tokens is {sequences} sequences; expected a multiple of the "
            f"{ranks} ranks, or OUTBOUND_RANKS set to a divisor"
        )
    share = sequences // ranks
    micro = next(size for size in range(min(most, share), 0, -1) if share % size == 0)
    return micro, share // micro


def micro_seed(seed: int, step: int, micro: int) -> int:
    """Returns the seed of one forward pass's dropout; `micro` counts over all ranks."""
    digest = hashlib.blake2b(f"dropout {seed} {step} {micro}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


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
        self._sequences = _sequences(config, self._shape)
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


def run_identity(architecture: Architecture, config: Config, tokens_root: str) -> str:
    """Returns the name of a run's checkpoint folder: what decides the weights' bytes.

    The tokens' root covers the tokenizer: its digest is in every token shard.
    """
    decisive = {k: v for k, v in asdict(config).items() if k not in _ONLY_WATCHING}
    step = identity.Step(
        name="train",
        code="model.training.train",
        config={"model": asdict(architecture), "train": decisive},
        libraries=("deepspeed", "torch"),
    )
    return identity.fingerprint(identity.identity(step), [tokens_root])[:16]


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


def _sequences(config: Config, shape: ModelConfig) -> int:
    """Returns the sequences of one step over all ranks."""
    sequences, rest = divmod(config.global_batch_tokens, shape.n_ctx)
    fits = sequences >= 1 and rest == 0
    allowed = f"a multiple of model.n_ctx = {shape.n_ctx}"
    require("train.global_batch_tokens", config.global_batch_tokens, fits, allowed)
    return sequences


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

"""What a training run is told: its settings, where it reads and writes, and its identity.

Decisions
- A checkpoint folder is named by what is trained on what (tokens, model, batch, optimizer,
  schedule, dtype, seed, code, libraries), so a changed setting starts anew and never continues a
  foreign checkpoint.
- How often a run is looked at and saved is not part of it.
- Nor is how it is computed: who moves from one GPU to eight, to another ZeRO stage, to smaller
  micro-batches, or past a bad step continues the same run. Equal bits are promised where nothing of
  that changes; else the order of sums differs, and with other micro-batches the dropout too. What
  each part of a run was computed with stands in its checkpoints (`segments`).
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from model.config import Architecture, ModelConfig
from model.training.device import Dtype
from model.training.guard import GuardConfig, OnBadStep
from model.training.schedule import Schedule
from model.training.zero import EngineConfig, Offload, engine_config
from pipeline.engine import identity
from pipeline.store.config import require

Export = Literal["last", "best"]

# Settings that say how a run is looked at and saved: never a bit of the weights.
ONLY_WATCHING = (
    "eval_every_steps",
    "eval_tokens",
    "checkpoint_every_steps",
    "keep_checkpoints",
    "log_every_steps",
    "export",
)
# Settings that say how the same training is computed, and what happens where it goes wrong.
ONLY_HOW = (
    "micro_batch_size",
    "zero_stage",
    "offload",
    "compile",
    "activation_checkpointing",
    "on_bad_step",
    "max_skipped_steps",
    "max_spike_zscore",
    "spike_window",
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
        offload: what lies in the CPU's memory: none, optimizer or parameters.
        dtype: auto, bf16, fp16 or fp32.
        compile: whether to use torch.compile.
        activation_checkpointing: whether activations are computed again instead of kept.
        on_bad_step: stop or skip, where loss or gradient are not finite or a spike.
        max_skipped_steps: in a row.
        max_spike_zscore: of loss and gradient norm; None judges no spikes.
        spike_window: steps that their mean and deviation are taken over.
        eval_every_steps: steps between two validations.
        eval_tokens: validation tokens of each but the last, which reads all.
        checkpoint_every_steps: steps between two checkpoints.
        keep_checkpoints: how many are kept, beside the best one.
        export: which weights become `models/pretrained`: the last, or those of the checkpoint with
            the lowest validation loss.
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
    offload: Offload
    dtype: Dtype
    compile: bool
    activation_checkpointing: bool
    on_bad_step: OnBadStep
    max_skipped_steps: int
    max_spike_zscore: float | None
    spike_window: int
    eval_every_steps: int
    eval_tokens: int
    checkpoint_every_steps: int
    keep_checkpoints: int
    export: Export
    log_every_steps: int

    def __post_init__(self) -> None:
        require("seed", self.seed, self.seed >= 0, "x >= 0")
        for name in ("global_batch_tokens", *ONLY_WATCHING[:-1]):
            require(name, getattr(self, name), getattr(self, name) >= 1, "x >= 1")
        require("export", self.export, self.export in get_args(Export), "last or best")
        self.schedule()
        self.guard()
        self.engine(1, 1)

    def schedule(self) -> Schedule:
        """Returns what decides the learning rate."""
        return Schedule(
            lr=self.lr,
            min_lr_frac=self.min_lr_frac,
            warmup_steps=self.warmup_steps,
            steps=self.steps,
        )

    def guard(self) -> GuardConfig:
        """Returns what happens at a bad step."""
        return GuardConfig(
            on_bad_step=self.on_bad_step,
            max_skipped_steps=self.max_skipped_steps,
            max_spike_zscore=self.max_spike_zscore,
            spike_window=self.spike_window,
        )

    def engine(self, micro_batch_size: int, grad_accum_steps: int) -> EngineConfig:
        """Returns what DeepSpeed is told."""
        return engine_config(
            self, micro_batch_size=micro_batch_size, grad_accum_steps=grad_accum_steps
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


def sequences_per_step(config: Config, shape: ModelConfig) -> int:
    """Returns the sequences of one step over all ranks."""
    sequences, rest = divmod(config.global_batch_tokens, shape.n_ctx)
    fits = sequences >= 1 and rest == 0
    allowed = f"a multiple of model.n_ctx = {shape.n_ctx}"
    require("train.global_batch_tokens", config.global_batch_tokens, fits, allowed)
    return sequences


def split_batch(
    sequences: int, ranks: int, most: int, *, told: str = "train.global_batch_tokens"
) -> tuple[int, int]:
    """Returns (micro-batch size, accumulation steps) of each rank.

    Args:
        sequences: sequences per step of all ranks.
        ranks: number of ranks.
        most: the largest micro-batch wanted.
        told: the setting that says how many sequences.

    Raises:
        ValueError: the ranks can't have equal parts.

    >>> split_batch(24, 2, most=8)
    (6, 2)
    """
    if sequences % ranks:
        raise ValueError(
            f"{told} is {sequences} sequences; expected a multiple of the "
            f"{ranks} ranks, or OUTBOUND_RANKS set to a divisor"
        )
    share = sequences // ranks
    micro = next(size for size in range(min(most, share), 0, -1) if share % size == 0)
    return micro, share // micro


def micro_seed(seed: int, step: int, micro: int) -> int:
    """Returns the seed of one forward pass's dropout; `micro` counts over all ranks."""
    digest = hashlib.blake2b(f"dropout {seed} {step} {micro}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def run_identity(architecture: Architecture, config: Config, tokens_root: str) -> str:
    """Returns the name of a run's checkpoint folder: what is trained on what.

    The tokens' root covers the tokenizer: its digest is in every token shard.
    """
    left_out = {*ONLY_WATCHING, *ONLY_HOW}
    decisive = {k: v for k, v in asdict(config).items() if k not in left_out}
    step = identity.Step(
        name="train",
        code="model.training.train",
        config={"model": asdict(architecture), "train": decisive},
        libraries=("deepspeed", "torch"),
    )
    return identity.fingerprint(identity.identity(step), [tokens_root])[:16]

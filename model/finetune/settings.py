"""What a fine-tuning run is told: its settings, where it reads and writes, and its identity."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from model.finetune.tasks import Example, Split, Task
from model.finetune.transfer import Transfer
from model.training.device import Dtype
from model.training.guard import GuardConfig, OnBadStep
from model.training.settings import Export
from model.training.zero import EngineConfig, Offload, engine_config
from pipeline.engine import identity
from pipeline.store import shards
from pipeline.store.config import require

Examples = Mapping[Split, Sequence[Example]]

# Settings that never change a bit of the weights (which examples there are, their digest says), and
# those that say how the same is computed.
ONLY_WATCHING = (
    "tasks",
    "max_train_examples",
    "checkpoint_every_steps",
    "keep_checkpoints",
    "export",
)
ONLY_HOW = (
    "micro_batch_size",
    "zero_stage",
    "offload",
    "activation_checkpointing",
    "on_bad_step",
    "max_skipped_steps",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `finetune` of params.yaml.

    Attributes:
        tasks: names; empty: all that are present.
        max_train_examples: of a task, at most, chosen by hash of their ids; None: all.
        seed: of the head's weights, the order of the examples, dropout and intervals.
        pretrained: whether to start from the pre-trained weights.
        transfer_layers: embeddings and so many blocks are taken from them; None: all.
        epochs: passes over the training examples.
        batch_size: examples per step over all ranks.
        micro_batch_size: examples per forward pass at most.
        lr: highest learning rate.
        embd_lr_ratio: the two tables' learning rate over the others'.
        warmup_frac: share of the steps until the highest.
        weight_decay: of matrices and tables.
        beta1: Adam's first moment.
        beta2: Adam's second moment.
        max_grad_norm: gradients are scaled down to this norm.
        dropout: rate of embedding, attention and residual dropout.
        head_dropout: rate of the state that the head reads.
        lm_coef: weight of the auxiliary language model loss.
        zero_stage: DeepSpeed ZeRO stage.
        offload: what lies in the CPU's memory: none, optimizer or parameters.
        dtype: auto, bf16, fp16 or fp32.
        activation_checkpointing: whether activations are computed again instead of kept.
        on_bad_step: stop or skip, where loss or gradient are not finite.
        max_skipped_steps: in a row.
        checkpoint_every_steps: steps between two checkpoints, beside those at each epoch's end;
            None: only those.
        keep_checkpoints: how many are kept, beside the best one.
        export: which weights are scored and written: the last, or those of the epoch with the
            lowest loss on the dev split.
    """

    tasks: tuple[str, ...]
    max_train_examples: int | None
    seed: int
    pretrained: bool
    transfer_layers: int | None
    epochs: int
    batch_size: int
    micro_batch_size: int
    lr: float
    embd_lr_ratio: float
    warmup_frac: float
    weight_decay: float
    beta1: float
    beta2: float
    max_grad_norm: float
    dropout: float
    head_dropout: float
    lm_coef: float
    zero_stage: int
    offload: Offload
    dtype: Dtype
    activation_checkpointing: bool
    on_bad_step: OnBadStep
    max_skipped_steps: int
    checkpoint_every_steps: int | None
    keep_checkpoints: int
    export: Export

    def __post_init__(self) -> None:
        require("seed", self.seed, self.seed >= 0, "x >= 0")
        for name in ("epochs", "batch_size", "micro_batch_size", "keep_checkpoints"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "x >= 1")
        for name in ("max_train_examples", "checkpoint_every_steps"):
            value = getattr(self, name)
            require(name, value, value is None or value >= 1, "null or x >= 1")
        require("lr", self.lr, self.lr > 0, "x > 0")
        for name in ("warmup_frac", "dropout", "head_dropout"):
            require(name, getattr(self, name), 0 <= getattr(self, name) < 1, "0 <= x < 1")
        require("lm_coef", self.lm_coef, self.lm_coef >= 0, "x >= 0")
        require("export", self.export, self.export in get_args(Export), "last or best")
        self.transfer()
        self.guard()
        self.engine(1, 1)

    def transfer(self) -> Transfer:
        """Returns what is taken from pre-training."""
        return Transfer(pretrained=self.pretrained, layers=self.transfer_layers)

    def guard(self) -> GuardConfig:
        """Returns what happens at a bad step; spikes are not judged in so few steps."""
        return GuardConfig(
            on_bad_step=self.on_bad_step,
            max_skipped_steps=self.max_skipped_steps,
            max_spike_zscore=None,
            spike_window=2,
        )

    def engine(self, micro_batch_size: int, grad_accum_steps: int) -> EngineConfig:
        """Returns what DeepSpeed is told.

        torch.compile stays off: nearly every batch has a length of its own.
        """
        return engine_config(
            self,
            compile=False,
            micro_batch_size=micro_batch_size,
            grad_accum_steps=grad_accum_steps,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where one run reads and writes.

    Attributes:
        pretrained: the pre-trained model's folder, with its tokenizer.
        checkpoints: folder that holds one folder per identity.
        model: output, the fine-tuned model's folder.
    """

    pretrained: Path
    checkpoints: Path
    model: Path


def n_steps(config: Config, n_examples: int) -> int:
    """Returns the optimizer steps of a run: as many whole batches as its epochs hold.

    Deviation: the released code leaves out the rest of each epoch; here a batch may hold the end
    of one and the beginning of the next, and only the last rest is left out.
    """
    return max(1, config.epochs * n_examples // config.batch_size)


def epoch_ends(config: Config, n_examples: int) -> list[int]:
    """Returns after how many steps each epoch is over, at least one."""
    steps = n_steps(config, n_examples)
    ends = (-(-(e + 1) * n_examples // config.batch_size) for e in range(config.epochs))
    return [min(max(1, end), steps) for end in ends]


def learning_rate(step: int, config: Config, steps: int) -> float:
    """Returns the rate of one optimizer step, counted from 0: linear up, then linear to 0.

    Paper: GPT-1, section 4.1, warm-up over 0.2 % of the steps. As in the released code (opt.py) the
    descent goes on during the warm-up. Deviation: there the first step's rate is 0.
    """
    warm = max(1, math.ceil(config.warmup_frac * steps))
    return config.lr * min(1.0, (step + 1) / warm) * (1 - step / steps)


def check_splits(task: Task, examples: Examples, config: Config) -> None:
    """Refuses examples that cannot be learnt, scored, or chosen by.

    Raises:
        ValueError: A split is missing that the task or the settings need.
    """
    for split in ("train", task.scored_split):
        require(f"{task.name}: splits", sorted(examples), split in examples, f"one is {split}")
    has_dev = config.export == "last" or "dev" in examples
    allowed = f"last: {task.name} has no dev split to tell which epoch is the best"
    require("finetune.export", config.export, has_dev, allowed)


def digests(task: Task, examples: Examples, places: Places, config: Config) -> dict[str, str]:
    """Returns the digests of what decides a run's weights, and what it writes down of them."""
    pretrained = places.pretrained / "model.safetensors"
    return {
        "pretrained_sha256": shards.sha256_file(pretrained) if config.pretrained else "",
        "tokenizer_sha256": shards.sha256_file(places.pretrained / "tokenizer.json"),
        "train_sha256": digest(task, examples["train"]),
        "dev_sha256": digest(task, examples.get("dev", ())),
    }


def digest(task: Task, examples: Sequence[Example]) -> str:
    """Returns a digest of a task's form and of examples."""
    form = [task.kind, task.labels, task.grades, task.metrics]
    told = hashlib.sha256(json.dumps(form).encode())
    for each in examples:
        told.update(json.dumps([each.example_id, each.texts, each.label]).encode() + b"\n")
    return told.hexdigest()


def run_identity(config: Config, inputs: Sequence[str], shape: Any) -> str:
    """Returns the name of a run's checkpoint folder: what is learnt from what.

    Args:
        config: the settings.
        inputs: digests of pre-trained weights, tokenizer and examples.
        shape: the pre-trained model's configuration.
    """
    left_out = {*ONLY_WATCHING, *ONLY_HOW}
    decisive = {k: v for k, v in asdict(config).items() if k not in left_out}
    step = identity.Step(
        name="finetune",
        code="model.finetune.train",
        config={"model": asdict(shape), "finetune": decisive},
        libraries=("deepspeed", "torch"),
    )
    return identity.fingerprint(identity.identity(step), inputs)[:16]

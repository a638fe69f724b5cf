"""The contenders of the training benchmarks: each is a process that trains when it is told to.

    python -m benchmarks.trainees SETTINGS.json
    stdin   one number per line: so many steps are wanted
    stdout  one JSON object per line: first {"ready": ...}, then what the steps took and gave

Decisions
- All contenders start from the weights in one file and see the same sequences in the same order.
- Each runs in its own loop: ours is `model.training.engine.Engine`, DeepSpeed included; nanoGPT's
  is that of its train.py (accumulate, clip, step, zero_grad); transformers' is the same plain loop.
- A network is the same to the bit of its definition: nanoGPT's GELU is set to the tanh form, which
  is GPT-2's and ours; transformers' `gelu_new` to the fused operator that computes the same.
- nanoGPT is read from the checkout that OUTBOUND_NANOGPT names; none of its code is here.
"""

import importlib.util
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from model.config import ModelConfig
from model.gpt import GPT
from model.hf import PREFIX, TRANSPOSED
from model.training.device import keep_freed_memory
from model.training.engine import Engine, Micro, World, join
from model.training.guard import Guard, GuardConfig
from model.training.zero import EngineConfig

NANOGPT = "OUTBOUND_NANOGPT"
Who = Literal["outbound", "nanogpt", "transformers"]
# autocast: fp32 weights, bf16 products; bf16: bf16 weights (ours: beside fp32 ones), fp32: plain
Precision = Literal["autocast", "bf16", "fp32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one contender is told.

    Attributes:
        who: Whose model and loop.
        shape: The network.
        precision: Of weights and products.
        compile: Whether torch.compile is used.
        micro: Sequences per forward pass; divides `batch`.
        batch: Sequences per step.
        zero_stage: Of DeepSpeed; the others have none.
        fused: Whether AdamW is torch's fused one.
        attention: `sdpa` or `eager`; transformers only.
        pad_vocab: Whether the table gets rows up to a multiple of 64; nanoGPT only, its default.
        keep_memory: Whether malloc keeps what is freed, as our engine has it keep always.
        lr: Learning rate, the same at every step.
        weights: Initial values, a safetensors file with this project's names.
        sequences: A .npy of (n, n_ctx + 1) token ids, read in order and again from the start.
        n_threads: Of torch on a CPU.
        device: `cpu` or `cuda`.
    """

    who: Who
    shape: ModelConfig
    precision: Precision
    compile: bool
    micro: int
    batch: int
    zero_stage: int
    fused: bool
    attention: str
    pad_vocab: bool
    keep_memory: bool
    lr: float
    weights: Path
    sequences: Path
    n_threads: int
    device: str

    @property
    def accumulation(self) -> int:
        """Forward passes per step."""
        return self.batch // self.micro

    @property
    def is_less_precise(self) -> bool:
        """Whether there are no fp32 weights; ours always has them."""
        return self.who != "outbound" and self.precision == "bf16"

    @property
    def dtype(self) -> torch.dtype:
        """Of the products."""
        return torch.float32 if self.precision == "fp32" else torch.bfloat16


# nanoGPT's own (train.py); weight decay on matrices and tables only, as there and here
WEIGHT_DECAY, BETA1, BETA2, MAX_GRAD_NORM = 0.1, 0.9, 0.95, 1.0


class Trainee(Protocol):
    """One side of a comparison."""

    def step(self, micros: Iterator[tuple[Tensor, Tensor]]) -> Tensor | float:
        """Does one optimizer step and returns the batch's mean loss before it."""
        ...


class Outbound:
    """This project's engine."""

    def __init__(self, settings: Settings) -> None:
        self._lr = settings.lr
        world = World(0, 0, 1)
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
        join(world)
        model = GPT(settings.shape)
        model.load_state_dict(load_file(settings.weights))
        config = EngineConfig(
            zero_stage=settings.zero_stage,
            offload="none",
            activation_checkpointing=False,
            dtype="fp32" if settings.precision == "fp32" else "bf16",
            compile=settings.compile,
            micro_batch_size=settings.micro,
            grad_accum_steps=settings.accumulation,
            weight_decay=WEIGHT_DECAY,
            embd_lr_ratio=1.0,
            beta1=BETA1,
            beta2=BETA2,
            max_grad_norm=MAX_GRAD_NORM,
        )
        self._engine = Engine(model, config, world)
        policy = GuardConfig(
            on_bad_step="stop", max_skipped_steps=1, max_spike_zscore=None, spike_window=2
        )
        self._judge = Guard(policy, scaled=False).judge

    def step(self, micros: Iterator[tuple[Tensor, Tensor]]) -> float:
        """Does one step of DeepSpeed's."""
        told = (Micro(0, micro) for micro in micros)
        return self._engine.train_step(told, self._lr, self._judge).loss


class Plain:
    """A model of somebody else's in the loop of nanoGPT's train.py."""

    def __init__(
        self, settings: Settings, model: nn.Module, loss: Callable[[Any, Tensor, Tensor], Tensor]
    ) -> None:
        """Takes the model with its weights, and the call that gives its loss."""
        self._settings = settings
        self._loss = loss
        if settings.keep_memory:
            keep_freed_memory()
        model.to(settings.device, torch.bfloat16 if settings.precision == "bf16" else torch.float32)
        model.train()
        self._parameters = list(model.parameters())
        self._adam = adamw(self._parameters, settings)
        self._model = torch.compile(model) if settings.compile else model

    def step(self, micros: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
        """Accumulates, clips, steps."""
        total = torch.zeros((), device=self._settings.device)
        for idx, targets in micros:
            with self._autocast():
                loss = self._loss(self._model, *self._moved(idx, targets))
                loss = loss / self._settings.accumulation
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(self._parameters, MAX_GRAD_NORM)
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        return total

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._settings.precision == "autocast":
            return torch.autocast(self._settings.device, torch.bfloat16)
        return nullcontext()

    def _moved(self, *tensors: Tensor) -> Iterator[Tensor]:
        return (tensor.to(self._settings.device, non_blocking=True) for tensor in tensors)


def adamw(parameters: list[nn.Parameter], settings: Settings) -> torch.optim.AdamW:
    """Returns AdamW with decay on what has two dimensions, as nanoGPT makes it."""
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.lr, betas=(BETA1, BETA2), eps=1e-8, fused=settings.fused
    )


def nanogpt(settings: Settings) -> Plain:
    """Returns nanoGPT's model with our initial weights."""
    theirs = _module(Path(os.environ[NANOGPT]) / "model.py")
    shape = settings.shape
    padding = -shape.n_vocab % 64 if settings.pad_vocab else 0
    config = theirs.GPTConfig(
        block_size=shape.n_ctx,
        vocab_size=shape.n_vocab + padding,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        n_embd=shape.n_embd,
        dropout=shape.dropout,
        bias=True,
    )
    model = theirs.GPT(config)
    for block in model.transformer.h:
        block.mlp.gelu = nn.GELU(approximate="tanh")
    ours = load_file(settings.weights)
    ours["wte.weight"] = nn.functional.pad(ours["wte.weight"], (0, 0, 0, padding))
    weights = {f"transformer.{name}": value for name, value in ours.items()}
    model.load_state_dict({**weights, "lm_head.weight": ours["wte.weight"]})
    return Plain(settings, model, lambda model, idx, targets: model(idx, targets)[1])


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("nanogpt_model", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {NANOGPT} names a checkout of nanoGPT")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def transformers(settings: Settings) -> Plain:
    """Returns transformers' GPT-2 with our initial weights and its own loss."""
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = settings.shape
    config = GPT2Config(
        vocab_size=shape.n_vocab,
        n_positions=shape.n_ctx,
        n_embd=shape.n_embd,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=shape.dropout,
        embd_pdrop=shape.dropout,
        attn_pdrop=shape.dropout,
        use_cache=False,
        attn_implementation=settings.attention,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    ours = load_file(settings.weights)
    weights = {
        PREFIX + name: (value.t() if name.endswith(TRANSPOSED) else value)
        for name, value in ours.items()
    }
    model.load_state_dict({**weights, "lm_head.weight": ours["wte.weight"]})

    def loss(model: Any, idx: Tensor, targets: Tensor) -> Tensor:
        found: Tensor = model(idx, labels=targets, shift_labels=targets).loss
        return found

    return Plain(settings, model, loss)


MAKERS: dict[str, Callable[[Settings], Trainee]] = {
    "outbound": Outbound,
    "nanogpt": nanogpt,
    "transformers": transformers,
}


def batches(settings: Settings) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Yields each step's micro-batches, without end."""
    rows = torch.from_numpy(np.load(settings.sequences).astype(np.int64))  # (n, n_ctx + 1)
    number = 0
    while True:
        chosen = rows[torch.arange(number, number + settings.batch) % len(rows)]
        number += settings.batch
        parts = chosen.split(settings.micro)
        yield [(part[:, :-1].contiguous(), part[:, 1:].contiguous()) for part in parts]


def do_steps(trainee: Trainee, data: Iterator[Any], n: int, device: str) -> dict[str, Any]:
    """Does n steps; returns seconds, CPU seconds and the losses."""
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    wait()
    wall, cpu = time.perf_counter(), time.process_time()
    losses = [trainee.step(iter(next(data))) for _ in range(n)]
    wait()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    told = [float(loss) for loss in losses]
    return {"wall_s": wall, "cpu_s": cpu, "max_rss_bytes": peak, "losses": told}


def read(path: Path) -> Settings:
    """Reads a settings file."""
    given = json.loads(path.read_bytes())
    given["shape"] = ModelConfig(**given["shape"])
    return Settings(**{**given, **{k: Path(given[k]) for k in ("weights", "sequences")}})


def main() -> None:
    """Answers each number on stdin with that many steps."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    settings = read(Path(sys.argv[1]))
    torch.set_num_threads(settings.n_threads)
    torch.set_float32_matmul_precision("high" if settings.precision != "fp32" else "highest")
    trainee = MAKERS[settings.who](settings)
    data = batches(settings)
    print(json.dumps({"ready": settings.who}), file=answers, flush=True)
    for line in sys.stdin:
        told = do_steps(trainee, data, int(line), settings.device)
        print(json.dumps(told), file=answers, flush=True)


if __name__ == "__main__":
    main()

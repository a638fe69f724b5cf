"""DeepSpeed: the only file that knows it.

Decisions
- DeepSpeed's JSON is built here from typed values; nobody writes it by hand.
- The learning rate is set from outside before each step; DeepSpeed holds no schedule.
- bf16 means bf16 weights in the module and fp32 weights in the optimizer. The fp32 ones are set
  from the fp32 initial values, not from their bf16 rounding.
- On a CPU: gloo, and no shared-memory reduction op, so no C++ compiler is needed.
- A loss or gradient norm that is not finite stops the run before the weights change.
"""

import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar, get_args

import torch
from torch import Tensor, distributed, nn

from model.gpt import GPT, IGNORE
from model.training import partitions
from model.training.device import (
    Dtype,
    attention_kernel,
    compile_model,
    keep_freed_memory,
    resolve_dtype,
)
from model.training.optimizer import adamw, zero_moments
from model.training.partitions import Kind
from pipeline.store.config import require

# DeepSpeed chooses its accelerator while it is being imported, and prints a line to stdout where it
# has to guess that it is the CPU. The environment is the only way to tell it before.
if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

import deepspeed

P = ParamSpec("P")
R = TypeVar("R")


class World(NamedTuple):
    """This process among all of them."""

    rank: int
    local_rank: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How one optimizer step is done.

    Attributes:
        zero_stage: what DeepSpeed cuts over the ranks: 0 nothing, 1 moments and fp32 weights, 2
            gradients too, 3 weights too.
        dtype: `auto` is bf16 where the device is fast with it, else fp32.
        compile: whether to use torch.compile.
        micro_batch_size: sequences per rank and forward pass.
        grad_accum_steps: forward passes per rank and step.
        weight_decay: of the matrices, decoupled.
        embd_lr_ratio: the tables' (wte, wpe) learning rate over the matrices'.
        beta1: Adam's first moment.
        beta2: Adam's second moment.
        max_grad_norm: gradients are scaled down to this norm.
    """

    zero_stage: int
    dtype: Dtype
    compile: bool
    micro_batch_size: int
    grad_accum_steps: int
    weight_decay: float
    embd_lr_ratio: float
    beta1: float
    beta2: float
    max_grad_norm: float

    def __post_init__(self) -> None:
        require("zero_stage", self.zero_stage, self.zero_stage in range(4), "0, 1, 2 or 3")
        require("dtype", self.dtype, self.dtype in get_args(Dtype), "auto, fp32 or bf16")
        for name in ("micro_batch_size", "grad_accum_steps"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "x >= 1")
        require("weight_decay", self.weight_decay, self.weight_decay >= 0, "x >= 0")
        require("embd_lr_ratio", self.embd_lr_ratio, self.embd_lr_ratio > 0, "x > 0")
        for name in ("beta1", "beta2"):
            require(name, getattr(self, name), 0 <= getattr(self, name) < 1, "0 <= x < 1")
        require("max_grad_norm", self.max_grad_norm, self.max_grad_norm > 0, "x > 0")


class Micro(NamedTuple):
    """One forward pass: the seed of its dropout, and (B, T) int64 inputs and targets."""

    seed: int
    idx: Tensor
    targets: Tensor


class StepResult(NamedTuple):
    """Mean loss of the global batch in nats per token, and the norm of its gradient.

    The norm is None where DeepSpeed computes none: stage 0 in fp32.
    """

    loss: float
    grad_norm: float | None


class _Objective(nn.Module):
    """The model with the loss as its forward pass, which is what DeepSpeed hooks into."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, idx: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss."""
        return self.model.loss(idx, targets)


def join(world: World) -> None:
    """Makes this process a member of the process group, once.

    MASTER_ADDR and MASTER_PORT must be set.
    """
    told = {"RANK": world.rank, "LOCAL_RANK": world.local_rank, "WORLD_SIZE": world.size}
    os.environ.update({key: str(value) for key, value in told.items()})  # DeepSpeed insists
    if not torch.cuda.is_available():
        keep_freed_memory()
    if distributed.is_initialized():
        return
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # see attention_kernel
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(world.local_rank)
    # Naming no op as compatible keeps DeepSpeed from compiling its shared-memory op, and from
    # running compilers and nvcc to find out what it could compile.
    deepspeed.ops.__compatible_ops__ = {}
    backend = "nccl" if on_gpu else "gloo"
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)


def _quietly(function: Callable[P, R]) -> Callable[P, R]:
    """Hides what DeepSpeed is warned of by torch: it calls functions that torch deprecates."""

    @wraps(function)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> R:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            return function(*args, **kwargs)

    return quiet


class Engine:
    """A model under DeepSpeed."""

    @_quietly
    def __init__(self, model: GPT, config: EngineConfig, world: World) -> None:
        """Takes over a model that holds fp32 weights; `join` comes first."""
        self.dtype = resolve_dtype(config.dtype)
        self._config = config
        self._world = world
        initial = {name: p.detach().clone() for name, p in model.named_parameters()}
        names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
        if config.compile:
            compile_model(model)
        self.n_parameters = sum(p.numel() for p in model.parameters())
        optimizer = adamw(
            model,
            weight_decay=config.weight_decay,
            embd_lr_ratio=config.embd_lr_ratio,
            betas=(config.beta1, config.beta2),
        )
        self._engine, *_ = deepspeed.initialize(
            model=_Objective(model),
            optimizer=optimizer,
            config=deepspeed_json(config, self.n_parameters),
        )
        self.optimizer_name = type(optimizer).__name__
        self._adam = getattr(self._engine.optimizer, "optimizer", self._engine.optimizer)
        self._vectors = partitions.describe(self._engine.optimizer, names, world.size)
        for vector in self._vectors:
            self._adam.state[vector.key] = zero_moments(vector.key)
        self.restore(0, {"weights": initial})

    @property
    def zero_stage(self) -> int:
        """The stage that DeepSpeed runs."""
        return int(self._engine.zero_optimization_stage())

    @property
    def step_count(self) -> int:
        """Optimizer steps done, by DeepSpeed's own count."""
        return int(self._engine.global_steps)

    @_quietly
    def train_step(self, micros: Iterable[Micro], lr: float) -> StepResult:
        """Does one optimizer step on this rank's part of the global batch.

        Raises:
            FloatingPointError: loss or gradient norm is not finite; the weights are unchanged.
        """
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr * group["lr_ratio"]
        self._engine.train()
        losses = []
        for number, micro in enumerate(micros, start=1):
            torch.manual_seed(micro.seed)
            loss = self._loss(micro.idx, micro.targets)
            self._engine.backward(loss)
            losses.append(loss.detach())
            if number < self._config.grad_accum_steps:
                self._engine.step()
        mean = self.mean(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise FloatingPointError(f"the loss is {mean}")
        self._engine.step()
        norm = self._engine.get_global_grad_norm()
        if getattr(self._engine.optimizer, "overflow", False):
            raise FloatingPointError("the gradient's norm is not finite")
        return StepResult(mean, None if norm is None else float(norm))

    @_quietly
    @torch.no_grad()
    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Returns the mean loss in nats per scored token over all ranks' batches.

        Batches are (B, T) inputs and targets; a target may be `model.gpt.IGNORE`. Each rank must
        have as many batches as another, because stage 3 fetches weights in step.
        """
        self._engine.eval()
        nats = torch.zeros((), dtype=torch.float64)
        count = torch.zeros((), dtype=torch.float64)
        for idx, targets in batches:
            scored = int((targets != IGNORE).sum())
            nats += self._loss(idx, targets).double().cpu() * scored
            count += scored
        return self.mean(nats) / self.mean(count)

    def agree(self, value: int) -> int:
        """Returns rank 0's value on every rank."""
        told = torch.tensor(value, device=self._engine.device)
        distributed.broadcast(told, src=0)
        return int(told)

    def agree_on_any(self, *, wish: bool) -> bool:
        """Tells whether any rank has the wish."""
        return self.mean(torch.tensor(float(wish))) > 0

    def mean(self, value: Tensor) -> float:
        """Returns the mean over ranks of a scalar."""
        if self._world.size == 1:
            return float(value)
        shared = value.detach().to(self._engine.device, torch.float64).clone()
        distributed.all_reduce(shared)
        return float(shared) / self._world.size

    def gather(self, kind: Kind) -> dict[str, Tensor]:
        """Returns fp32 weights or moments by parameter name on the CPU; every rank must call it."""
        whole: dict[str, Tensor] = {}
        for vector in self._vectors:
            part = partitions.gather(vector, self._tensor(kind, vector.key))
            if self._world.rank == 0:
                whole.update(part)
        return whole

    def restore(self, step: int, state: Mapping[Kind, Mapping[str, Tensor]]) -> None:
        """Continues after `step` optimizer steps; kinds that `state` lacks are left as they are."""
        with torch.no_grad():
            for kind, whole in state.items():
                for vector in self._vectors:
                    target = self._tensor(kind, vector.key)
                    partitions.scatter(vector, target, whole, self._world.rank)
        for vector in self._vectors:
            self._adam.state[vector.key]["step"].fill_(step)
        self._engine.global_steps = step
        if "weights" in state:
            self._refresh_module(state["weights"])

    def _tensor(self, kind: Kind, key: Tensor) -> Tensor:
        """Returns the fp32 weights themselves or a moment, which starts at zero."""
        if kind == "weights":
            return key
        moment: Tensor = self._adam.state[key][kind]
        return moment

    def _refresh_module(self, weights: Mapping[str, Tensor]) -> None:
        """Copies weights into the module, which computes with its own (bf16, or cut by stage 3)."""
        model = self._engine.module.model
        cut = self.zero_stage == 3
        parameters = list(model.parameters())
        with torch.no_grad(), deepspeed.zero.GatheredParameters(parameters, 0, enabled=cut):
            if self._world.rank == 0 or not cut:
                for name, parameter in model.named_parameters():
                    parameter.copy_(weights[name])

    def _loss(self, idx: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of this rank's sequences."""
        device = self._engine.device
        with attention_kernel(self.dtype, idx.size(1)):
            loss: Tensor = self._engine(idx.to(device), targets.to(device))
        return loss


def deepspeed_json(config: EngineConfig, n_parameters: int) -> dict[str, Any]:
    """Returns what DeepSpeed is given; everything that it would do on its own is off."""
    dtype = resolve_dtype(config.dtype)
    # A bucket is a buffer that is allocated at every step; larger than the model it is only waste.
    bucket = min(n_parameters, 200_000_000)
    told: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": config.micro_batch_size,
        "gradient_accumulation_steps": config.grad_accum_steps,
        "gradient_clipping": config.max_grad_norm,
        "bf16": {"enabled": dtype == torch.bfloat16},
        "zero_optimization": {
            "stage": config.zero_stage,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
        },
        "steps_per_print": sys.maxsize,
    }
    if config.zero_stage >= 2:  # stages 0 and 1 accumulate in the module's dtype
        told["data_types"] = {"grad_accum_dtype": "fp32"}
    return told

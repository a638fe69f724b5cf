"""DeepSpeed: the only file that knows it.

Decisions
- What DeepSpeed is told stands in `model.training.zero`.
- The learning rate is set from outside before each step; DeepSpeed holds no schedule.
- bf16 means bf16 weights in the module and fp32 weights in the optimizer. The fp32 ones are set
  from the fp32 initial values, not from their bf16 rounding.
- On a CPU: gloo, and no shared-memory reduction op, so no C++ compiler is needed.
- A step that the caller's judge refuses is done without the optimizer: DeepSpeed clears gradients
  and buffers as after any step, while weights, moments and Adam's step count stay as they are.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor, distributed, nn

from model.gpt import GPT, IGNORE
from model.training import partitions
from model.training.device import (
    attention_kernel,
    compile_model,
    keep_freed_memory,
    resolve_dtype,
)
from model.training.guard import Fault
from model.training.lossscale import LossScale
from model.training.optimizer import GatedAdamW, adamw, zero_moments
from model.training.partitions import Kind
from model.training.zero import EngineConfig, deepspeed_json

# DeepSpeed chooses its accelerator while it is being imported, and prints a line to stdout where it
# has to guess that it is the CPU. The environment is the only way to tell it before.
if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

import deepspeed
from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer

P = ParamSpec("P")
R = TypeVar("R")


class World(NamedTuple):
    """This process among all of them."""

    rank: int
    local_rank: int
    size: int


Judge = Callable[[float, float], Fault | None]  # of loss and gradient norm


class Micro(NamedTuple):
    """One forward pass: the seed of its dropout, and what the objective takes.

    The first of the tensors holds the token ids, (..., T) int64.
    """

    seed: int
    tensors: tuple[Tensor, ...]


class StepResult(NamedTuple):
    """What one optimizer step gave.

    Attributes:
        loss: mean over the global batch; in pre-training nats per token.
        grad_norm: of the global batch's gradient before clipping; inf if it has none.
        fault: why the weights are unchanged; None if they are not.
        micro_losses: of this rank's micro-batches.
    """

    loss: float
    grad_norm: float
    fault: Fault | None
    micro_losses: tuple[float, ...]


class _NormTells:
    """Stands in for DeepSpeed's search of all gradients for what is not finite."""

    def check(self) -> bool:
        """Returns that nothing was found: their norm, which comes next, is not finite then."""
        return False


class _Passes(nn.Module):
    """The model with any of its methods as the forward pass, which is what DeepSpeed hooks into."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, method: str, *tensors: Tensor) -> Tensor:
        """Returns what one of the model's methods does."""
        result: Tensor = getattr(self.model, method)(*tensors)
        return result


def join(world: World) -> None:
    """Makes this process a member of the process group, or takes the one that is there.

    MASTER_ADDR and MASTER_PORT must be set.
    """
    told = {"RANK": world.rank, "LOCAL_RANK": world.local_rank, "WORLD_SIZE": world.size}
    os.environ.update({key: str(value) for key, value in told.items()})  # DeepSpeed insists
    supported = deepspeed.runtime.zero.utils.ZERO_SUPPORTED_OPTIMIZERS  # by exact class
    if GatedAdamW not in supported:
        supported.append(GatedAdamW)
    if not torch.cuda.is_available():
        keep_freed_memory()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # see attention_kernel
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(world.local_rank)
    # Naming no op as compatible keeps DeepSpeed from compiling its shared-memory op, and from
    # running compilers and nvcc to find out what it could compile.
    deepspeed.ops.__compatible_ops__ = {}
    backend = "nccl" if on_gpu else "gloo"
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)


def leave() -> None:
    """Ends this process's membership in the process group, if there is one.

    Its threads stay: what DeepSpeed hooks into autograd is never freed, and it holds the group.
    """
    if distributed.is_initialized():
        deepspeed.comm.destroy_process_group()


def is_supported(dtype: torch.dtype) -> bool:
    """Tells whether DeepSpeed trains in a dtype here; fp16 takes a GPU or a CPU made for it."""
    return dtype in deepspeed.accelerator.get_accelerator().supported_dtypes()


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
    def __init__(
        self, model: GPT, config: EngineConfig, world: World, objective: str = "loss"
    ) -> None:
        """Takes over a model that holds fp32 weights; `join` comes first.

        Args:
            model: what is trained.
            config: how.
            world: this process among all of them.
            objective: the model's method that returns the mean loss of a micro-batch.

        Raises:
            ValueError: if this machine can't train in the dtype.
        """
        self._objective = objective
        self.dtype = resolve_dtype(config.dtype)
        if not is_supported(self.dtype):
            raise ValueError(
                f"params.yaml: dtype is {config.dtype}, which DeepSpeed does not train in on this "
                "processor; expected auto, bf16 or fp32 here, or a GPU"
            )
        self._config = config
        self._world = world
        initial = {name: p.detach().clone() for name, p in model.named_parameters()}
        names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
        model.activation_checkpointing = config.activation_checkpointing
        if config.compile:
            compile_model(model)
        self.n_parameters = sum(p.numel() for p in model.parameters())
        self._adam = adamw(
            model,
            weight_decay=config.weight_decay,
            embd_lr_ratio=config.embd_lr_ratio,
            betas=(config.beta1, config.beta2),
        )
        self._engine, *_ = deepspeed.initialize(
            model=_Passes(model),
            optimizer=self._adam,
            config=deepspeed_json(config, self.n_parameters),
        )
        if isinstance(self._engine.optimizer, FP16_UnfusedOptimizer):  # stage 0, bf16 or fp16
            # What the other stages are told in their settings; and one rank has nothing to add up.
            self._engine.optimizer.overflow_checker = _NormTells()
            self._engine.enable_backward_allreduce = world.size > 1
        # torch.manual_seed also sees to GPUs that are not there: 2 % of a step of the default.
        on_gpu = torch.cuda.is_available()
        self._seed = torch.manual_seed if on_gpu else torch.default_generator.manual_seed
        self.loss_scale = LossScale() if self.dtype == torch.float16 else None
        self._vectors = partitions.describe(self._engine.optimizer, names, world.size)
        for vector in self._vectors:
            self._adam.state[vector.key] = zero_moments(vector.key)
        self.restore(0, 0, {"weights": initial})

    @property
    def zero_stage(self) -> int:
        """The stage that DeepSpeed runs."""
        return int(self._engine.zero_optimization_stage())

    @property
    def step_count(self) -> int:
        """Optimizer steps done, by DeepSpeed's own count."""
        return int(self._engine.global_steps)

    @_quietly
    def train_step(self, micros: Iterable[Micro], lr: float, judge: Judge) -> StepResult:
        """Does one optimizer step on this rank's part of the global batch.

        Args:
            micros: this rank's micro-batches.
            lr: learning rate.
            judge: says what is wrong with a step of this loss and gradient norm. Called several
                times, so it must give the same answer each time, and the same on every rank.
        """
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr * group["lr_ratio"]
        losses = self._accumulate(micros)
        mean = self.mean(losses.mean())
        norm_before = self._plain_norm()
        self._adam.gate = lambda: judge(mean, self._grad_norm(norm_before)) is None
        self._engine.step()
        norm = self._grad_norm(norm_before)
        fault = judge(mean, norm)
        if self.loss_scale is not None:
            self.loss_scale.update(overflow=not math.isfinite(norm))
        return StepResult(mean, norm, fault, tuple(losses.tolist()))

    def _accumulate(self, micros: Iterable[Micro]) -> Tensor:
        """Adds up the gradient of micro-batches; returns their losses, on the device."""
        self._engine.train()
        outer, by_hand = self._engine.optimizer, 1.0
        if self.loss_scale is not None:
            outer.loss_scale = self.loss_scale.value
            if self.zero_stage == 0:  # whose wrapper divides by the scale and never multiplies
                by_hand = self.loss_scale.value
        losses = []
        for number, micro in enumerate(micros, start=1):
            self._seed(micro.seed)
            loss = self._pass(self._objective, micro.tensors)
            self._engine.backward(loss * by_hand)
            losses.append(loss.detach())
            if number < self._config.grad_accum_steps:
                self._engine.step()
        return torch.stack(losses)

    def _plain_norm(self) -> float | None:
        """Returns the gradient's norm where DeepSpeed keeps none: stage 0 in fp32."""
        if self._engine.optimizer is not self._adam:
            return None
        grads = [p.grad for p in self._engine.module.parameters() if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(grads))

    def _grad_norm(self, plain: float | None) -> float:
        """Returns the gradient's norm during and after DeepSpeed's step; inf for any other."""
        if plain is not None:
            return plain if math.isfinite(plain) else math.inf
        outer = self._engine.optimizer
        if outer.overflow:
            return math.inf
        norm = float(outer._global_grad_norm)  # noqa: SLF001, the getter lags by a step
        if self.loss_scale is not None and self.zero_stage == 0:  # left as the scaled loss gave it
            norm /= self.loss_scale.value
        return norm if math.isfinite(norm) and norm >= 0 else math.inf

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
            nats += self._pass(self._objective, (idx, targets)).double().cpu() * scored
            count += scored
        return self.mean(nats) / self.mean(count)

    @_quietly
    @torch.no_grad()
    def outputs(self, method: str, batches: Iterable[tuple[Tensor, ...]]) -> list[Tensor]:
        """Returns what a method of the model gives for each batch, fp32, on the CPU.

        As with `evaluate`, no dropout, and as many batches on every rank.
        """
        self._engine.eval()
        return [self._pass(method, batch).float().cpu() for batch in batches]

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
        return float(self.total(value)) / self._world.size

    def total(self, value: Tensor) -> Tensor:
        """Returns the sum over ranks, fp64, on the CPU."""
        shared = value.detach().to(self._engine.device, torch.float64).clone()
        if self._world.size > 1:
            distributed.all_reduce(shared)
        return shared.cpu()

    def gather_losses(self, local: tuple[float, ...]) -> list[float]:
        """Returns all ranks' micro-batch losses, in the order of the batch."""
        n, rank = len(local), self._world.rank
        told = torch.zeros(n * self._world.size, dtype=torch.float64)
        told[rank * n : (rank + 1) * n] = torch.tensor(local, dtype=torch.float64)
        return list(map(float, self.total(told)))

    def gather(self, kind: Kind) -> dict[str, Tensor]:
        """Returns fp32 weights or moments by parameter name on the CPU, on rank 0.

        Every rank must call it; the others get nothing.
        """
        whole: dict[str, Tensor] = {}
        for vector in self._vectors:
            local = self._tensor(kind, vector.key)
            whole |= partitions.gather(vector, local, self._world.rank, self._engine.device)
        return whole

    def restore(self, step: int, updates: int, state: Mapping[Kind, Mapping[str, Tensor]]) -> None:
        """Continues after `step` optimizer steps; kinds that `state` lacks are left as they are.

        Args:
            step: steps done.
            updates: those of them that changed the weights, which is what Adam counts.
            state: whole fp32 tensors by kind and parameter name.
        """
        with torch.no_grad():
            for kind, whole in state.items():
                for vector in self._vectors:
                    target = self._tensor(kind, vector.key)
                    partitions.scatter(vector, target, whole, self._world.rank)
        for vector in self._vectors:
            self._adam.state[vector.key]["step"].fill_(updates)
        self._engine.global_steps = step
        if "weights" in state:
            self._refresh_module(state["weights"])

    def close(self) -> None:
        """Lets go of weights and moments, for the next engine of this process.

        Autograd's hooks would keep them; at stage 3 DeepSpeed 0.19.8 has more that does.
        """
        self._engine.destroy()

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

    def _pass(self, method: str, tensors: tuple[Tensor, ...]) -> Tensor:
        """Returns what a method of the model gives for this rank's sequences."""
        device = self._engine.device
        with attention_kernel(self.dtype, tensors[0].size(-1)):
            moved = [tensor.to(device, non_blocking=True) for tensor in tensors]
            result: Tensor = self._engine(method, *moved)
        return result

"""What DeepSpeed is told, from typed values; nobody writes its JSON by hand.

Decisions
- fp16's loss scale is ours (`model.training.lossscale`), static to DeepSpeed and set at each step.
  Its own dynamic scale (0.19.8) can't be used: stage 0 divides the gradients by a scale that the
  loss was never multiplied by, and every stage raises the scale before it divides by it, so that
  the step on which it grows has half its gradient.
- Offload keeps torch's AdamW, on the CPU: DeepSpeed's own would be compiled with a C++ compiler
  when the first run starts.
"""

import sys
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch

from model.training import lossscale
from model.training.device import Dtype, resolve_dtype
from pipeline.store.config import require

Offload = Literal["none", "optimizer", "parameters"]

_FROM_STAGE: dict[Offload, int] = {"none": 0, "optimizer": 1, "parameters": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How one optimizer step is done.

    Attributes:
        zero_stage: what DeepSpeed cuts over the ranks: 0 nothing, 1 moments and fp32 weights, 2
            gradients too, 3 weights too.
        offload: what lies in the CPU's memory: `optimizer` moments and fp32 weights, `parameters`
            the module's weights too.
        dtype: `auto` is bf16 where the device is fast with it, else fp32.
        compile: whether to use torch.compile.
        activation_checkpointing: whether the backward pass computes a block's activations again.
        micro_batch_size: sequences per rank and forward pass.
        grad_accum_steps: forward passes per rank and step.
        weight_decay: of the matrices, decoupled.
        embd_lr_ratio: the tables' (wte, wpe) learning rate over the matrices'.
        beta1: Adam's first moment.
        beta2: Adam's second moment.
        max_grad_norm: gradients are scaled down to this norm.
    """

    zero_stage: int
    offload: Offload
    dtype: Dtype
    compile: bool
    activation_checkpointing: bool
    micro_batch_size: int
    grad_accum_steps: int
    weight_decay: float
    embd_lr_ratio: float
    beta1: float
    beta2: float
    max_grad_norm: float

    def __post_init__(self) -> None:
        require("zero_stage", self.zero_stage, self.zero_stage in range(4), "0, 1, 2 or 3")
        known = self.offload in get_args(Offload)
        require("offload", self.offload, known, "none, optimizer or parameters")
        stage = _FROM_STAGE[self.offload]
        allowed = f"none, or zero_stage {stage} or more (it is {self.zero_stage}): what is not cut"
        require("offload", self.offload, self.zero_stage >= stage, f"{allowed} can't be moved away")
        known = self.dtype in get_args(Dtype)
        require("dtype", self.dtype, known, "auto, fp32, bf16 or fp16")
        for name in ("micro_batch_size", "grad_accum_steps"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "x >= 1")
        require("weight_decay", self.weight_decay, self.weight_decay >= 0, "x >= 0")
        require("embd_lr_ratio", self.embd_lr_ratio, self.embd_lr_ratio > 0, "x > 0")
        for name in ("beta1", "beta2"):
            require(name, getattr(self, name), 0 <= getattr(self, name) < 1, "0 <= x < 1")
        require("max_grad_norm", self.max_grad_norm, self.max_grad_norm > 0, "x > 0")


def engine_config(settings: object, **own: Any) -> EngineConfig:
    """Returns what DeepSpeed is told.

    Args:
        settings: has what is not in `own`, under the same names.
        own: fields that the settings leave open.
    """
    names = (field.name for field in fields(EngineConfig) if field.name not in own)
    return EngineConfig(**own, **{name: getattr(settings, name) for name in names})


def deepspeed_json(config: EngineConfig, n_parameters: int) -> dict[str, Any]:
    """Returns what DeepSpeed is given; everything that it would do on its own is off."""
    dtype = resolve_dtype(config.dtype)
    told: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": config.micro_batch_size,
        "gradient_accumulation_steps": config.grad_accum_steps,
        "gradient_clipping": config.max_grad_norm,
        # The norm tells of what is not finite, and the guard judges it: no pass over all gradients.
        "bf16": {"enabled": dtype == torch.bfloat16, "check_grad_overflow": False},
        "fp16": {"enabled": dtype == torch.float16, "loss_scale": lossscale.FIRST},
        "zero_optimization": _zero_json(config, n_parameters),
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": sys.maxsize,
    }
    if config.zero_stage >= 2:  # stages 0 and 1 accumulate in the module's dtype
        told["data_types"] = {"grad_accum_dtype": "fp32"}
    return told


def _zero_json(config: EngineConfig, n_parameters: int) -> dict[str, Any]:
    # A bucket is a buffer that is allocated at every step; larger than the model it is only waste.
    # DeepSpeed wants an even number; a head with one output makes the model's odd.
    bucket = min(n_parameters + n_parameters % 2, 200_000_000)
    told: dict[str, Any] = {
        "stage": config.zero_stage,
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": bucket,
    }
    moved = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    if config.offload != "none":
        told["offload_optimizer"] = moved
    if config.offload == "parameters":
        told["offload_param"] = moved
    return told

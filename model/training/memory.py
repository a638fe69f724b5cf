"""Out of memory as a stated failure: what was tried, and what to change."""

import re

import torch

from model.config import ModelConfig
from model.gpt import GPT
from model.training.settings import Config

# What torch's CPU allocator says; it has no class of its own.
_CPU = re.compile(r"DefaultCPUAllocator|can't allocate memory|not enough memory")


def is_exhausted(error: BaseException) -> bool:
    """Tells whether an error means that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and _CPU.search(str(error)) is not None


def advice(error: BaseException, shape: ModelConfig, config: Config) -> str:
    """Returns one line: what was tried, and which settings need less."""
    with torch.device("meta"):
        n = sum(parameter.numel() for parameter in GPT(shape).parameters())
    return (
        f"train: out of memory ({_first_line(error)}); {device_memory()}; tried: {n:,} parameters, "
        f"n_layer {shape.n_layer}, n_ctx {shape.n_ctx}, train.micro_batch_size "
        f"{config.micro_batch_size}, train.activation_checkpointing "
        f"{str(config.activation_checkpointing).lower()}, train.zero_stage {config.zero_stage}, "
        f"train.offload {config.offload}; {remedies(config)}; the run continues from its last "
        "checkpoint"
    )


def remedies(config: Config) -> str:
    """Returns what needs less memory than `config`, the cheapest first.

    None of it starts the run anew.
    """
    told = []
    if config.micro_batch_size > 1:
        half = config.micro_batch_size // 2
        told.append(f"lower train.micro_batch_size to {half} (the same global batch)")
    if not config.activation_checkpointing:
        told.append("set train.activation_checkpointing: true")
    if config.zero_stage < 3:
        told.append(f"set train.zero_stage: {config.zero_stage + 1} (on more than one rank)")
    if config.offload == "none":
        told.append("set train.offload: optimizer (train.zero_stage 1 or more, on a GPU)")
    elif config.offload == "optimizer":
        told.append("set train.offload: parameters (train.zero_stage 3, on a GPU)")
    return ", or ".join(told) or "use a smaller model or more ranks"


def device_memory() -> str:
    """Returns how much memory the device has and how much of it is free."""
    if not torch.cuda.is_available():
        return "on the CPU"
    free, total = torch.cuda.mem_get_info()
    name = torch.cuda.get_device_name()
    return f"{name}: {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


def _first_line(error: BaseException) -> str:
    """Returns an error's first sentence: torch adds a page of advice to it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split(". ")[0][:200]

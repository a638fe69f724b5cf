"""Out of memory as a stated failure: what was tried, and what to change."""

import re
from typing import Protocol

import torch

from model.config import ModelConfig
from model.gpt import GPT

# What torch's CPU allocator says; it has no class of its own.
_CPU = re.compile(r"DefaultCPUAllocator|can't allocate memory|not enough memory")


class Needs(Protocol):
    """The settings that memory depends on: of `train`, or of `finetune`."""

    @property
    def micro_batch_size(self) -> int:
        """Sequences, or examples, per forward pass."""

    @property
    def activation_checkpointing(self) -> bool:
        """Whether activations are computed again."""

    @property
    def zero_stage(self) -> int:
        """What DeepSpeed cuts over the ranks."""

    @property
    def offload(self) -> str:
        """What lies in the CPU's memory."""


def is_exhausted(error: BaseException) -> bool:
    """Tells whether an error means that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and _CPU.search(str(error)) is not None


def advice(error: BaseException, shape: ModelConfig, config: Needs, section: str = "train") -> str:
    """Returns one line: what was tried, and which settings of a section need less."""
    with torch.device("meta"):
        n = sum(parameter.numel() for parameter in GPT(shape).parameters())
    return (
        f"{section}: out of memory ({_first_line(error)}); {device_memory()}; tried: {n:,} "
        f"parameters, n_layer {shape.n_layer}, n_ctx {shape.n_ctx}, {section}.micro_batch_size "
        f"{config.micro_batch_size}, {section}.activation_checkpointing "
        f"{str(config.activation_checkpointing).lower()}, {section}.zero_stage "
        f"{config.zero_stage}, {section}.offload {config.offload}; {remedies(config, section)}; "
        "the run continues from its last checkpoint"
    )


def remedies(config: Needs, section: str = "train") -> str:
    """Returns what needs less memory than `config`, the cheapest first.

    None of it starts the run anew.
    """
    told = []
    if config.micro_batch_size > 1:
        half = config.micro_batch_size // 2
        told.append(f"lower {section}.micro_batch_size to {half} (the same global batch)")
    if not config.activation_checkpointing:
        told.append(f"set {section}.activation_checkpointing: true")
    if config.zero_stage < 3:
        told.append(f"set {section}.zero_stage: {config.zero_stage + 1} (on more than one rank)")
    if config.offload == "none":
        told.append(f"set {section}.offload: optimizer ({section}.zero_stage 1 or more, on a GPU)")
    elif config.offload == "optimizer":
        told.append(f"set {section}.offload: parameters ({section}.zero_stage 3, on a GPU)")
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

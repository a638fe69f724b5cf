"""How fast a run is: tokens per second, and the share of the device's peak (MFU).

    FLOPs per token = 6 (N - n_ctx n_embd) + 12 n_layer n_embd n_ctx

Paper: Chowdhery et al. 2022, "PaLM", appendix B: 6 for each weight that a token is multiplied by,
forward and backward, and 12 n_layer n_embd n_ctx for the scores and sums of attention (the causal
half is not taken off).
Deviation: N is without the position table, which is only looked up; the token table stays in,
because it is the output matrix too. What activation checkpointing computes twice does not count.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from model.config import ModelConfig

# Dense FLOP/s in bf16 and fp16 with fp32 sums, by what the driver calls the device; the longest
# name that fits counts. From NVIDIA's data sheets, whose figures for sparse matrices are halved.
_PEAKS = {
    "A100": 312e12,
    "H100": 989e12,  # SXM: its name has no suffix but the memory's
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H200": 989e12,
    "H200 NVL": 835e12,
    "L4": 121e12,
    "L40S": 362e12,
}


class Speed:
    """Tokens per second of the steps alone, without validation and checkpoints."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._tokens = 0

    @contextmanager
    def timed(self, n_tokens: int) -> Iterator[None]:
        """Counts the time of a block that trains on `n_tokens` and waits for its result."""
        start = time.monotonic()
        yield
        self._seconds += time.monotonic() - start
        self._tokens += n_tokens

    def figures(
        self, shape: ModelConfig, n_parameters: int, dtype: torch.dtype, n_ranks: int
    ) -> dict[str, Any]:
        """Returns tokens, seconds, their quotient, memory; and MFU where the peak is known."""
        rate = self._tokens / self._seconds if self._seconds else 0.0
        device = device_name()
        told: dict[str, Any] = {
            "tokens": self._tokens,
            "seconds": round(self._seconds, 2),
            "tokens_per_second": round(rate, 1),
            "flops_per_token": flops_per_token(shape, n_parameters),
            "device": device,
            "n_ranks": n_ranks,
            "peak_memory_mib": peak_memory_mib(),
        }
        peak = peak_flops(device, dtype)
        if peak is not None:
            told["mfu"] = round(rate * told["flops_per_token"] / (peak * n_ranks), 4)
        return told


def flops_per_token(shape: ModelConfig, n_parameters: int) -> int:
    """Returns the operations of one training step per token.

    >>> small = ModelConfig(
    ...     norm="pre", n_layer=12, n_head=12, n_embd=768, n_ctx=1024, dropout=0.0, n_vocab=50257
    ... )
    >>> flops_per_token(small, 124_439_808)
    855166464
    """
    multiplied = n_parameters - shape.n_ctx * shape.n_embd
    return 6 * multiplied + 12 * shape.n_layer * shape.n_embd * shape.n_ctx


def peak_flops(device: str, dtype: torch.dtype) -> float | None:
    """Returns a device's peak, None where it is not known or the dtype is another.

    >>> peak_flops("NVIDIA H100 80GB HBM3", torch.bfloat16)
    989000000000000.0
    >>> peak_flops("NVIDIA H100 PCIe", torch.bfloat16)
    756000000000000.0
    >>> peak_flops("NVIDIA H100 80GB HBM3", torch.float32) is None
    True
    """
    words = device.replace("-", " ").split()
    if dtype == torch.float32 or "MIG" in words:  # a part of a device
        return None
    fitting = [name for name in _PEAKS if set(name.split()) <= set(words)]
    return _PEAKS[max(fitting, key=len)] if fitting else None


def device_name() -> str:
    """Returns what this rank computes on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def peak_memory_mib() -> int:
    """Returns the most memory that this rank has held, on the GPU where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

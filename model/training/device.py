"""What this machine computes best with: dtype, attention, torch.compile, memory."""

import ctypes
import os
import shutil
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.gpt import GPT

Dtype = Literal["auto", "fp32", "bf16", "fp16"]
_NAMED = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def resolve_dtype(dtype: Dtype) -> torch.dtype:
    """Returns what the module computes in on this machine."""
    if dtype == "auto":
        return torch.bfloat16 if has_fast_bf16() else torch.float32
    return _NAMED[dtype]


def has_fast_bf16() -> bool:
    """Tells whether this machine multiplies bf16 matrices in hardware."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without these, oneDNN emulates bf16 through fp32, which is slower than fp32.
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def attention_kernel(dtype: torch.dtype, n_ctx: int) -> AbstractContextManager[None]:
    """Returns the context in which attention runs: torch's choice, but for bf16 on a CPU.

    There, forward and backward of the fused kernel take 18 us per token (T 128, 4 heads of 64, one
    core with AMX) and plain matrix products 5 to 12; they hold (B, H, T, T), hence the limit.
    """
    if torch.cuda.is_available() or dtype != torch.bfloat16 or n_ctx > 512:
        return nullcontext()
    return sdpa_kernel(SDPBackend.MATH)


def compile_model(model: GPT) -> None:
    """Compiles the blocks where that can work; else says why it does not."""
    hindrance = _hindrance()
    if hindrance is not None:
        sys.stderr.write(f"train.compile: {hindrance}, runs without torch.compile\n")
        return
    for block in model.h:
        block.compile()


def _hindrance() -> str | None:
    """Returns why torch.compile can't work here, if it can't."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"no {compiler} here"
    libraries = str(Path(torch.__file__).parent / "lib")
    if len(libraries.split()) > 1:  # torch 2.13 hands it to the linker without quotes
        return f"{libraries} holds a blank"
    return None


def keep_freed_memory() -> bool:
    """Lets glibc's malloc keep what is freed for the next step; tells whether it could.

    By default it gives large blocks back to the kernel, which clears each page anew when the next
    step asks for them again: 3,162 page faults a step of the default, 9 of its 120 ms; with 50,257
    entries half of a plain cross-entropy's time. The process then stays as large as it has been.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))

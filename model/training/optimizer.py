"""The optimizer: torch's AdamW over three groups of parameters.

Decisions
- Groups are told by name. Under ZeRO-3 a parameter may look one-dimensional, so that a rule by
  shape would silently stop decaying matrices.
- A group's `lr_ratio` multiplies the learning rate, which is set from outside at each step.
- Whether a step counts is known only when DeepSpeed has reduced the gradient's norm, in the middle
  of its own step; right after it, it calls the optimizer. So the optimizer asks.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from model.gpt import GPT

EPS = 1e-8


class GatedAdamW(torch.optim.AdamW):
    """AdamW that asks before it changes weights, moments and step count.

    Attributes:
        gate: whether the step may be done; asked at each call, several times in one ZeRO step.
    """

    gate: Callable[[], bool] = staticmethod(lambda: True)

    def step(self, closure: Any = None) -> Any:
        """Does one step, or nothing."""
        return super().step(closure) if self.gate() else None


def zero_moments(key: Tensor) -> dict[str, Tensor]:
    """Returns Adam's state before the first step, as torch would make it at that step."""
    return {
        "step": torch.zeros((), dtype=torch.float32, device=key.device),
        "exp_avg": torch.zeros_like(key),
        "exp_avg_sq": torch.zeros_like(key),
    }


def adamw(
    model: GPT, *, weight_decay: float, embd_lr_ratio: float, betas: tuple[float, float]
) -> GatedAdamW:
    """Returns AdamW over three groups, told by name.

    Paper: GPT-1, section 4.1: decay "on all non bias or gain weights".
    """
    groups: dict[str, dict[str, Any]] = {
        "table": {"lr_ratio": embd_lr_ratio, "weight_decay": weight_decay},
        "matrix": {"lr_ratio": 1.0, "weight_decay": weight_decay},
        "vector": {"lr_ratio": 1.0, "weight_decay": 0.0},
    }
    for name, parameter in model.named_parameters():
        groups[kind_of(name)].setdefault("params", []).append(parameter)
    return GatedAdamW(list(groups.values()), lr=0.0, betas=betas, eps=EPS, fused=True)


def kind_of(name: str) -> str:
    """Returns `table`, `matrix`, or `vector` (bias or gain), from a parameter's name.

    >>> [kind_of(n) for n in ("wte.weight", "h.0.mlp.c_fc.weight", "h.0.mlp.c_fc.bias")]
    ['table', 'matrix', 'vector']
    >>> kind_of("h.0.ln_1.weight")
    'vector'
    """
    if name.startswith(("wte.", "wpe.")):
        return "table"
    return "vector" if ".ln_" in f".{name}" or name.endswith(".bias") else "matrix"

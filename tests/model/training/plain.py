"""The same training in torch alone: what every engine is compared with."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.gpt import GPT
from model.training.device import resolve_dtype
from model.training.engine import Micro, is_supported
from model.training.optimizer import kind_of
from model.training.zero import EngineConfig
from tests.model.small_models import random_model
from tests.model.training.small_runs import SHAPE

LR = 3e-3


def can_train_in(dtype: Any) -> bool:
    return is_supported(resolve_dtype(dtype))


def in_dtype(dtype: str, *values: Any) -> Any:
    """Parameters of a test that is skipped where DeepSpeed has no such dtype."""
    reason = f"DeepSpeed trains in {dtype} on a GPU or a CPU made for it"
    return pytest.param(*values, marks=pytest.mark.skipif(not can_train_in(dtype), reason=reason))


def new_model(dropout: float = 0.1, n_layer: int = 2) -> GPT:
    model = random_model(n_vocab=60, n_ctx=SHAPE.n_ctx, n_layer=n_layer)
    for module in model.modules():
        if hasattr(module, "dropout"):
            module.dropout = dropout
    return model


def micros(step: int, n: int = 2) -> list[Micro]:
    """The `n` micro-batches of a step, two sequences each."""
    generator = torch.Generator().manual_seed(step)
    rows = torch.randint(60, (n, 2, SHAPE.n_ctx + 1), generator=generator)
    return [Micro(100 * step + i, (rows[i, :, :-1], rows[i, :, 1:])) for i in range(n)]


def plain_training(
    model: GPT, cfg: EngineConfig, batches: Sequence[list[Micro]]
) -> tuple[list[float], list[float], GPT]:
    """Losses, gradient norms and the model after some steps: mean gradient, clip, AdamW by kind."""
    model.train()
    groups = []
    for name, parameter in model.named_parameters():
        kind = kind_of(name)
        ratio = cfg.embd_lr_ratio if kind == "table" else 1.0
        decay = 0.0 if kind == "vector" else cfg.weight_decay
        groups.append({"params": [parameter], "lr": LR * ratio, "weight_decay": decay})
    adam = torch.optim.AdamW(groups, betas=(cfg.beta1, cfg.beta2), eps=1e-8)
    losses, norms = [], []
    for batch in batches:
        adam.zero_grad()
        total = 0.0
        for micro in batch:
            torch.manual_seed(micro.seed)
            loss = model.loss(*micro.tensors) / len(batch)
            loss.backward()
            total += loss.item()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), cfg.max_grad_norm)))
        adam.step()
        losses.append(total)
    return losses, norms, model


def without_key_biases(name: str, tensor: Tensor) -> Tensor:
    """A parameter without what has no gradient.

    A key's bias shifts all scores of a query alike: its gradient is rounding alone, which Adam
    scales up to full steps.
    """
    if not name.endswith("c_attn.bias"):
        return tensor
    n_embd = len(tensor) // 3
    return torch.cat([tensor[:n_embd], tensor[2 * n_embd :]])


def distance(one: dict[str, Tensor], other: dict[str, Tensor], start: dict[str, Tensor]) -> float:
    """How far two trained models lie apart, in units of how far training has moved them."""
    apart = _norm(one, lambda name: one[name] - other[name])
    moved = _norm(one, lambda name: other[name] - start[name])
    return apart / moved


def _norm(names: dict[str, Tensor], difference: Callable[[str], Tensor]) -> float:
    parts = [without_key_biases(name, difference(name)).pow(2).sum() for name in names]
    return float(torch.stack(parts).sum().sqrt())

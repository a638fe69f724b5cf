"""FLOPs per token, peaks by device, MFU."""

import pytest
import torch

from model.gpt import GPT
from model.training.speed import Speed, flops_per_token, peak_flops
from tests.model.training.small_runs import SHAPE


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_flops_per_token_count_the_matrix_products_of_forward_and_backward(norm: str) -> None:
    """Matrices counted one by one: 2 per weight forward, 4 backward; attention 2 x 2 T C a layer.

    What is left of the formula is vectors, which it counts as if they were multiplied too.
    """
    shape = type(SHAPE)(norm=norm, n_layer=3, n_head=2, n_embd=32, n_ctx=16, dropout=0.0)
    full = shape.with_vocab(300)
    model = GPT(full)
    matrices = sum(
        p.numel() for n, p in model.named_parameters() if p.dim() == 2 and n != "wpe.weight"
    )
    vectors = sum(p.numel() for p in model.parameters() if p.dim() == 1)
    attention = 3 * (2 * 16 * 32 + 2 * 16 * 32)
    n = sum(p.numel() for p in model.parameters())
    assert flops_per_token(full, n) == 3 * (2 * matrices + attention) + 6 * vectors


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H200 NVL", 835e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA A1000", None),
        ("cpu", None),
    ],
)
def test_peak_is_that_of_the_very_device(device: str, peak: float | None) -> None:
    assert peak_flops(device, torch.bfloat16) == peak
    assert peak_flops(device, torch.float32) is None


def test_figures_before_any_step_have_no_rate() -> None:
    told = Speed().figures(SHAPE.with_vocab(300), 35_584, torch.float32, n_ranks=2)
    assert told["tokens_per_second"] == 0
    assert "mfu" not in told

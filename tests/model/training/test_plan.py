"""A run's plan: counted parameters, counted operations, what fits, and how it reads."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model.config import Architecture
from model.gpt import GPT
from model.training import footprint, plan
from model.training.plan import Asked
from tests.model.test_presets import DEFAULT, PUBLISHED, shape
from tests.model.training.small_runs import SHAPE, config

ALONE = Asked(None, 1, 0.4, None, None, Path("absent.json"), None)
SMALL = SHAPE.with_vocab(300)


@pytest.mark.parametrize("name", [DEFAULT, *PUBLISHED])
def test_parameters_are_counted_for_every_preset(name: str) -> None:
    told = footprint.parameters(shape(name))
    assert told.total == PUBLISHED.get(name, 2_903_808)
    config = shape(name)
    inner = config.n_layer * (12 * config.n_embd**2 + 13 * config.n_embd)
    assert told.total - told.tables == inner + 2 * config.n_embd * (config.norm == "pre")


def test_operations_are_what_torch_counts() -> None:
    """Without biases and norms, which are no matrix products, and under plain attention."""
    shape = Architecture(norm="pre", n_layer=3, n_head=4, n_embd=64, n_ctx=32, dropout=0.0)
    model = GPT(shape.with_vocab(500))
    idx = torch.zeros(2, 32, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.loss(idx, idx).backward()
    made = plan.make(model.config, config(global_batch_tokens=64), ALONE)
    vectors = sum(p.numel() for p in model.parameters() if p.dim() == 1)
    expected = made["time"]["flops_per_token"] - 6 * vectors
    assert counter.get_total_flops() / 64 == expected


def test_plan_counts_what_the_run_will_read() -> None:
    settings = config(steps=50, global_batch_tokens=128, micro_batch_size=3)
    made = plan.make(SMALL, settings, ALONE._replace(n_ranks=2, corpus_tokens=1600))
    run = made["training"]
    assert run["tokens"] == 50 * 128
    assert run["epochs"] == 4.0
    assert run["micro_batch_size"] * run["grad_accum_steps"] * 2 == 8  # sequences


def test_hours_follow_from_peak_and_share_or_from_a_measured_rate() -> None:
    settings = config(dtype="auto")
    on_gpus = ALONE._replace(hardware="h100", n_ranks=2, mfu=0.5)
    time = plan.make(SMALL, settings, on_gpus)["time"]
    assert time["hours"] == pytest.approx(time["flops"] / (989e12 * 0.5 * 2) / 3600)
    given = plan.make(SMALL, settings, on_gpus._replace(tokens_per_second=100.0))["time"]
    assert given["hours"] == pytest.approx(12 * 128 / 100 / 3600)
    assert plan.make(SMALL, settings, ALONE)["time"]["hours"] is None


def test_gpt2_xl_fits_an_80_gb_device_with_stage_1_and_40_gb_with_checkpointing() -> None:
    settings = config(global_batch_tokens=524_288, micro_batch_size=16, dtype="bf16")
    asked = ALONE._replace(hardware="a100-40", n_ranks=8)
    made = plan.make(shape("gpt2-xl"), settings, asked)
    rows = {(row["zero_stage"], row["offload"]): row for row in made["memory"]["by_stage"]}
    assert not rows[1, "none"]["fits"]
    assert rows[1, "none"]["fits_checkpointing"]
    peaks = [rows[stage, "none"]["peak_checkpointing"] for stage in range(4)]
    assert peaks == sorted(peaks, reverse=True)


def test_table_marks_the_configured_stage_and_what_does_not_fit() -> None:
    settings = config(global_batch_tokens=524_288, micro_batch_size=16, dtype="bf16", zero_stage=2)
    made = plan.make(shape("gpt2-xl"), settings, ALONE._replace(hardware="l4"))
    lines = list(plan.table(made, settings.zero_stage, settings.offload))
    (marked,) = [line for line in lines if line.startswith("*")]
    assert marked.split()[1:3] == ["2", "none"]
    assert marked.endswith("-")
    assert "1,557,611,200; 1,475,561,600 without the tables" in lines[0]
    assert all(len(line) <= 180 for line in lines)


def test_plan_refuses_ranks_that_cannot_share_the_batch() -> None:
    with pytest.raises(ValueError, match="expected a multiple of the 3 ranks"):
        plan.make(SMALL, config(), ALONE._replace(n_ranks=3))


def test_plan_refuses_hours_of_a_precision_whose_peak_is_not_known() -> None:
    with pytest.raises(ValueError, match="or --tokens-per-second given"):
        plan.make(SMALL, config(dtype="fp32"), ALONE._replace(hardware="h100"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_ranks": 0}, "--ranks is 0"),
        ({"mfu": 1.5}, "--mfu is 1.5; expected 0 < x <= 1"),
        ({"tokens_per_second": 0.0}, "--tokens-per-second is 0.0"),
        ({"corpus_tokens": 0}, "--tokens is 0"),
    ],
)
def test_asked_refuses_impossible_figures(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ALONE._replace(**changes).check()


def test_memory_grows_with_what_is_held_and_falls_with_ranks() -> None:
    base = replace(SMALL, n_layer=6)
    alone = plan.make(base, config(), ALONE)["memory"]["by_stage"]
    eight = plan.make(base, config(), ALONE._replace(n_ranks=8))["memory"]["by_stage"]
    for one, many in zip(alone, eight, strict=True):
        assert many["optimizer"] <= one["optimizer"] / (8 if one["zero_stage"] else 1)

"""Training as others train: the same weights and batches give the same losses, step by step."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks import train_cpu
from benchmarks.trainees import NANOGPT
from model.config import ModelConfig
from model.gpt import GPT, init_weights
from model.training import engine as subject
from model.training import ranks
from model.training.engine import Engine, Micro, World
from model.training.zero import EngineConfig

SHAPE = ModelConfig(norm="pre", n_layer=2, n_head=2, n_embd=32, n_ctx=24, dropout=0.0, n_vocab=70)
N_STEPS, N_MICROS, ROWS = 30, 2, 3
LR, BETAS, DECAY, MAX_NORM = 3e-3, (0.9, 0.95), 0.1, 0.5


@pytest.fixture(scope="module", autouse=True)
def group() -> Iterator[None]:
    with ranks.alone() as world:
        subject.join(world)
        yield


def batches(step: int) -> list[tuple[Tensor, Tensor]]:
    """Counting sequences, so that the loss falls, two micro-batches of a step."""
    generator = torch.Generator().manual_seed(step)
    starts = torch.randint(70, (N_MICROS, ROWS, 1), generator=generator)
    rows = (starts + torch.arange(SHAPE.n_ctx + 1)) % 70
    return [(part[:, :-1], part[:, 1:]) for part in rows]


def initial() -> GPT:
    model = GPT(SHAPE)
    init_weights(model, torch.Generator().manual_seed(3))
    return model


def theirs(model: GPT) -> GPT2LMHeadModel:
    """transformers' network with our initial weights."""
    config = GPT2Config(
        vocab_size=70,
        n_positions=SHAPE.n_ctx,
        n_embd=SHAPE.n_embd,
        n_layer=SHAPE.n_layer,
        n_head=SHAPE.n_head,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    other = GPT2LMHeadModel(config).train()
    conv = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    weights = {
        f"transformer.{name}": value.t() if name.endswith(conv) else value
        for name, value in model.state_dict().items()
    }
    other.load_state_dict({**weights, "lm_head.weight": weights["transformer.wte.weight"]})
    return other


def plain_losses(model: GPT2LMHeadModel) -> list[float]:
    """Losses of the loop that anybody would write."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=1e-8)
    losses = []
    for step in range(N_STEPS):
        parts = [
            nn.functional.cross_entropy(model(idx).logits.flatten(0, 1), targets.flatten())
            for idx, targets in batches(step)
        ]
        loss = torch.stack(parts).mean()
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        adam.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_engine_s_losses_are_those_of_transformers_in_a_plain_loop(stage: int) -> None:
    expected = plain_losses(theirs(initial()))
    config = EngineConfig(
        zero_stage=stage,
        offload="none",
        activation_checkpointing=False,
        dtype="fp32",
        compile=False,
        micro_batch_size=ROWS,
        grad_accum_steps=N_MICROS,
        weight_decay=DECAY,
        embd_lr_ratio=1.0,
        beta1=BETAS[0],
        beta2=BETAS[1],
        max_grad_norm=MAX_NORM,
    )
    engine = Engine(initial(), config, World(0, 0, 1))
    steps = ([Micro(0, part) for part in batches(step)] for step in range(N_STEPS))
    got = [engine.train_step(micros, LR, lambda *_: None).loss for micros in steps]
    assert expected[-1] < 0.7 * expected[0]  # both learn
    assert got == pytest.approx(expected, abs=2e-4)


@pytest.mark.slow
def test_losses_on_real_text_are_those_of_nanogpt_over_200_steps(
    real_data: Path, tmp_path: Path
) -> None:
    if NANOGPT not in os.environ:
        pytest.skip(f"nanoGPT absent: set {NANOGPT} to a checkout of karpathy/nanoGPT")
    assert (real_data / "text").is_dir()
    gaps = train_cpu.parity(tmp_path, 200, n_threads=1)
    assert gaps.keys() == {"nanogpt", "transformers"}
    assert max(gaps.values()) < 1e-4

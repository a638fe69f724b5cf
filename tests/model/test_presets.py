"""Every preset's network, against transformers' and against the published sizes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from model import hf
from model.config import Architecture, ModelConfig
from model.gpt import GPT
from tests.model.small_models import make_wild

ROOT = Path(__file__).parents[2]
HEAD_SIZE = 8  # instead of 64: the same layers, heads and positions in a 64th of the matrices
N_VOCAB = 997
PUBLISHED = {
    "gpt1": 116_534_784 + 768,  # and the entry that ends documents
    "gpt2-small": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}
DEFAULT = "params.yaml"


def test_every_model_preset_is_measured_here() -> None:
    assert {path.stem for path in (ROOT / "presets" / "model").glob("*.yaml")} == set(PUBLISHED)


def settings(name: str) -> dict[str, Any]:
    path = ROOT / DEFAULT if name == DEFAULT else ROOT / "presets" / "model" / f"{name}.yaml"
    loaded: dict[str, Any] = YAML(typ="safe").load(path)
    return loaded


def shape(name: str) -> ModelConfig:
    told = settings(name)
    return Architecture(**told["model"]).with_vocab(told["bpe"]["n_vocab"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_preset_has_the_published_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        model = GPT(shape(name))
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]


def test_default_has_the_parameters_that_its_shape_says() -> None:
    config = shape(DEFAULT)
    c, tables = config.n_embd, (config.n_vocab + config.n_ctx) * config.n_embd
    block = (3 * c + 1 * c + 4 * c + 4 * c) * c + (3 + 1 + 4 + 1) * c + 2 * 2 * c
    with torch.device("meta"):
        model = GPT(config)
    assert sum(p.numel() for p in model.parameters()) == tables + config.n_layer * block + 2 * c


def theirs(model: GPT) -> torch.nn.Module:
    """The same network of transformers, from the layout that we write."""
    told = hf.published_config(model.config, eot_id=0)
    config = AutoConfig.for_model(told.pop("model_type"), **told)
    twin: torch.nn.Module = AutoModelForCausalLM.from_config(config).eval()
    weights = {hf.PREFIX + name: weight for name, weight in hf.to_published(model).items()}
    missing = twin.load_state_dict(weights, strict=False)
    assert set(missing.missing_keys) <= {"lm_head.weight"}
    assert not missing.unexpected_keys
    return twin


@torch.no_grad()
def logits(model: torch.nn.Module, idx: Tensor) -> Tensor:
    told = model(idx)
    return told if isinstance(told, Tensor) else told.logits


@pytest.mark.parametrize("name", [DEFAULT, *PUBLISHED])
def test_preset_gives_the_logits_of_transformers_over_its_whole_context(name: str) -> None:
    config = shape(name)
    config = replace(config, n_embd=HEAD_SIZE * config.n_head, n_vocab=N_VOCAB)
    ours = GPT(config).eval()
    make_wild(ours)
    twin = theirs(ours)
    generator = torch.Generator().manual_seed(2)
    idx = torch.randint(N_VOCAB, (1, config.n_ctx), generator=generator)
    mine, reference = logits(ours, idx), logits(twin, idx)
    truth = logits(twin.double(), idx)
    assert truth.std() > 1  # far from uniform
    assert (logits(ours.double(), idx) - truth).abs().max() < 1e-11  # the formula itself
    # Logits reach 20 here. In fp32, 12 to 48 wild blocks leave 1e-5 to 5e-5 of rounding in either
    # implementation, so 1e-5 is meant relative to them, and ours may not round worse than theirs.
    assert (mine - reference).abs().max() < 1e-5 * truth.abs().max()
    assert (mine - truth).square().mean() < 1.5 * (reference - truth).square().mean()

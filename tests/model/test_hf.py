"""The transformers layout, against transformers itself."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from model import hf
from model.config import ModelConfig
from model.gpt import GPT
from tests.model.small_models import make_wild
from tests.model.training.small_runs import make_tokenizer

N_CTX = 64


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small byte-level tokenizer; `<|endoftext|>` is its last id."""
    return make_tokenizer(tmp_path_factory.mktemp("bpe"), n_vocab=300)


def wild_model(norm: str) -> GPT:
    config = ModelConfig(
        norm=norm, n_layer=3, n_head=4, n_embd=64, n_ctx=N_CTX, dropout=0.1, n_vocab=300
    )
    model = GPT(config).eval()
    make_wild(model)
    return model


@pytest.fixture(scope="module", params=["pre", "post"])
def saved(
    request: pytest.FixtureRequest, bpe: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GPT, Path]:
    model = wild_model(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    hf.save(folder, model, bpe, eot_id=299)
    return model, folder


def full_rows(n_rows: int = 2) -> torch.Tensor:
    return torch.randint(300, (n_rows, N_CTX), generator=torch.Generator().manual_seed(2))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_saved_model_gives_the_same_logits_in_transformers(saved: tuple[GPT, Path]) -> None:
    model, folder = saved
    theirs = AutoModelForCausalLM.from_pretrained(folder).eval()
    kinds = {"pre": "GPT2LMHeadModel", "post": "OpenAIGPTLMHeadModel"}
    assert type(theirs).__name__ == kinds[model.config.norm]
    with torch.no_grad():
        ours, reference = model(full_rows()), theirs(full_rows()).logits
    assert ours.abs().max() > 3  # far from uniform
    assert (ours - reference).abs().max().item() < 1e-5


def test_saved_model_loads_again_bit_for_bit(saved: tuple[GPT, Path]) -> None:
    model, folder = saved
    again, config = hf.load(folder)
    assert config == model.config
    assert not again.training
    for (name, one), (_, other) in zip(
        model.named_parameters(), again.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name


def test_model_saved_by_transformers_loads(saved: tuple[GPT, Path], tmp_path: Path) -> None:
    model, folder = saved
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path)
    again, _ = hf.load(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(full_rows()), model(full_rows()))


def test_published_form_without_prefix_and_with_masks_and_head_loads(
    saved: tuple[GPT, Path], tmp_path: Path
) -> None:
    model, folder = saved
    weights = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("transformer."): w for name, w in weights.items()}
    table = "wte.weight" if model.config.norm == "pre" else "tokens_embed.weight"
    bare |= {"lm_head.weight": bare[table].clone(), "h.0.attn.bias": torch.ones(1, 1, 64, 64)}
    save_file(bare, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    again, _ = hf.load(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(full_rows()), model(full_rows()))
    save_file({**bare, "lm_head.weight": bare[table] + 1}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"lm_head\.weight differs"):
        hf.load(tmp_path)


def test_saved_tokenizer_gives_the_same_ids_in_transformers(
    saved: tuple[GPT, Path], bpe: Path
) -> None:
    _, folder = saved
    theirs = AutoTokenizer.from_pretrained(folder)
    ours = Tokenizer.from_file(str(bpe / "tokenizer.json"))
    text = "  Return the naïve\n\n\tvalue — of 12345 x.\n"
    assert theirs(text)["input_ids"] == ours.encode(text).ids
    assert theirs.decode(theirs(text)["input_ids"]) == text
    assert theirs.eos_token_id == 299
    assert theirs.model_max_length == N_CTX


def test_saved_folder_is_readable_by_everyone(saved: tuple[GPT, Path]) -> None:
    _, folder = saved
    names = {path.name for path in folder.iterdir()}
    assert {"merges.txt", "vocab.json", "generation_config.json"} <= names
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "llama"},
        {"activation_function": "relu"},
        {"layer_norm_epsilon": 1e-6},
        {"scale_attn_by_inverse_layer_idx": True},
        {"reorder_and_upcast_attn": True},
        {"tie_word_embeddings": False},
        {"n_inner": 100},
    ],
)
def test_load_refuses_what_would_change_logits(
    changes: dict[str, Any], bpe: Path, tmp_path: Path
) -> None:
    hf.save(tmp_path, wild_model("pre"), bpe, eot_id=299)
    edit_config(tmp_path, **changes)
    with pytest.raises(ValueError, match=next(iter(changes))):
        hf.load(tmp_path)


def test_load_refuses_weights_that_do_not_fit_the_configuration(bpe: Path, tmp_path: Path) -> None:
    hf.save(tmp_path, wild_model("pre"), bpe, eot_id=299)
    edit_config(tmp_path, n_positions=32)
    with pytest.raises(ValueError, match=r"wpe\.weight is \(64, 64\); expected \(32, 64\)"):
        hf.load(tmp_path)


def test_load_of_a_missing_model_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make it with: dvc repro train"):
        hf.load(tmp_path)

"""What is taken from pre-training, and folders that read back."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from model import hf
from model.config import ModelConfig
from model.finetune import inputs, transfer
from model.finetune.head import Classifier, HeadConfig
from model.finetune.transfer import Transfer
from model.gpt import GPT
from pipeline.tokens import codec
from tests.model.finetune.small_tuning import choices, make_pretrained, task

HEAD = HeadConfig(kind="choice", n_outputs=1, dropout=0.1, lm_coef=0.5)


@pytest.fixture(scope="module", params=["pre", "post"])
def pretrained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pretrained(tmp_path_factory.mktemp(request.param), norm=request.param, n_layer=3)


def started(folder: Path, layers: int | None, seed: int = 5, *, use: bool = True) -> Classifier:
    base, _ = hf.load(folder)
    return transfer.start(base, HEAD, Transfer(pretrained=use, layers=layers), seed, dropout=0.3)


def taken(folder: Path, model: Classifier) -> set[str]:
    base = dict(hf.load(folder)[0].named_parameters())
    n = len(base["wte.weight"])
    return {
        name.removesuffix(".weight")
        for name, p in model.named_parameters()
        if name in base and name.endswith(".weight") and "ln_1" not in name and "ln_2" not in name
        if torch.equal(p[:n] if name == "wte.weight" else p, base[name])
    }


def matrices(*layers: int) -> set[str]:
    parts = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    return {f"h.{layer}.{part}" for layer in layers for part in parts}


@pytest.mark.parametrize("layers", [0, 1, 2, 3, None])
def test_start_takes_embeddings_and_the_blocks_below(pretrained: Path, layers: int | None) -> None:
    model = started(pretrained, layers)
    below = range(3 if layers is None else layers)
    assert taken(pretrained, model) - {"ln_f"} == {"wte", "wpe"} | matrices(*below)
    assert model.wte.weight.shape == (293, 32)
    assert model.config.dropout == model.h[0].attn.dropout == 0.3


def test_final_norm_goes_with_all_layers_only(tmp_path: Path) -> None:
    folder = make_pretrained(tmp_path)
    base, _ = hf.load(folder)
    assert base.ln_f is not None
    with torch.no_grad():
        base.ln_f.weight.fill_(2.0)
    gains = {}
    for layers in (1, 2, None):
        model = transfer.start(base, HEAD, Transfer(pretrained=True, layers=layers), 1, 0.0)
        assert model.ln_f is not None
        gains[layers] = model.ln_f.weight.mean().item()
    assert gains == {1: 1.0, 2: 2.0, None: 2.0}


def test_start_without_pretraining_takes_nothing_and_is_a_function_of_the_seed(
    pretrained: Path,
) -> None:
    fresh = [started(pretrained, None, seed, use=False) for seed in (5, 5, 6)]
    assert taken(pretrained, fresh[0]) - {"ln_f"} == set()
    assert torch.equal(fresh[0].wte.weight, fresh[1].wte.weight)
    assert not torch.equal(fresh[0].head.weight, fresh[2].head.weight)
    assert fresh[0].head.bias.eq(0).all()


def test_new_rows_and_head_have_the_released_spread() -> None:
    """N(0, .02) over enough of them: three marks and five outputs, 4096 wide."""
    shape = ModelConfig(
        norm="pre", n_layer=1, n_head=1, n_embd=4096, n_ctx=4, dropout=0.0, n_vocab=5
    )
    base = GPT(shape)
    head = HeadConfig(kind="text", n_outputs=5, dropout=0.0, lm_coef=0.0)
    model = transfer.start(base, head, Transfer(pretrained=True, layers=None), 1, 0.0)
    assert model.wte.weight[5:].std().item() == pytest.approx(0.02, rel=0.03)
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.03)


@pytest.mark.parametrize(
    ("layers", "use", "message"),
    [
        (4, True, "transfer_layers is 4; expected x <= n_layer = 3"),
        (-1, True, "transfer_layers is -1; expected null, or x >= 0"),
        (2, False, "transfer_layers is 2; expected null"),
    ],
)
def test_start_refuses_layers_that_are_not_there(
    layers: int, use: bool, message: str, pretrained: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        started(pretrained, layers, use=use)


def test_saved_model_reads_back_to_the_bit_and_scores_alike(
    pretrained: Path, tmp_path: Path
) -> None:
    model = started(pretrained, None).eval()
    folder = tmp_path / "finetuned" / "small"
    transfer.save(folder, model, task("choice"), pretrained, 289)
    again = transfer.load(folder)
    assert again.config == model.config
    assert again.head_config == HEAD
    assert not again.training
    ours, theirs = dict(model.named_parameters()), dict(again.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    coder = codec.load(folder / "tokenizer.json")
    shape = hf.read_config(pretrained / "config.json")
    batch = inputs.collate(inputs.encode(task("choice"), choices(5, 1), coder, shape), range(5))
    ours_told, theirs_told = model.scores(*batch[:2]), again.scores(*batch[:2])
    torch.testing.assert_close(ours_told, theirs_told, rtol=0, atol=1e-6)  # other addresses
    told = json.loads((folder / "config.json").read_bytes())["finetuned"]
    assert told["marks"] == {"start": 290, "delimiter": 291, "extract": 292}
    assert told["task"] == "small_choice"


def test_saved_model_is_a_language_model_to_transformers(pretrained: Path, tmp_path: Path) -> None:
    """The head is left aside; the three marks are entries of its vocabulary."""
    model = started(pretrained, None).eval()
    transfer.save(tmp_path / "small", model, task("choice"), pretrained, 289)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "small").eval()
    idx = torch.randint(293, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(theirs(idx).logits, model(idx), rtol=1e-4, atol=1e-5)
    text = "it is a lovely film"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "small")
    ids = codec.load(pretrained / "tokenizer.json").encode(text).tolist()
    assert tokenizer(text)["input_ids"] == ids


def test_load_refuses_a_model_without_a_head(pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json has no `finetuned`"):
        transfer.load(pretrained)
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        transfer.load(tmp_path)

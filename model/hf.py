"""The `transformers` folder layout, written and read without `transformers`.

    config.json             GPT2LMHeadModel (pre) or OpenAIGPTLMHeadModel (post)
    model.safetensors       fp32; names under `transformer.`, matrices of blocks transposed
    generation_config.json  the end-of-text id
    tokenizer.json, tokenizer_config.json, vocab.json, merges.txt

Decisions
- The tied output matrix is not stored, as in the published files.
- A setting that changes the logits and that `model.gpt` does not have is refused on reading:
  ignoring it would give wrong numbers without a sign.
- Only safetensors are read; a pickled file is never opened.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.config import ModelConfig
from model.gpt import GPT, NORM_EPS

PREFIX = "transformer."
# Conv1D of the published layouts stores (in, out); nn.Linear stores (out, in).
TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
# GPT-1's published names for the two tables.
POST_NAMES = {"wte.weight": "tokens_embed.weight", "wpe.weight": "positions_embed.weight"}
# Causal masks that older files carry as buffers.
BUFFERS = (".attn.bias", ".attn.masked_bias")
# The tokenizer's files: name in data/bpe -> name here.
TOKENIZER_FILES = {
    "tokenizer.json": "tokenizer.json",
    "encoder.json": "vocab.json",
    "vocab.bpe": "merges.txt",
}
# Settings of config.json that change logits, and the one value that model.gpt computes.
FIXED: dict[str, dict[str, tuple[object, ...]]] = {
    "gpt2": {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "layer_norm_epsilon": (NORM_EPS,),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "reorder_and_upcast_attn": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
    },
    "openai-gpt": {
        "afn": ("gelu", "gelu_new"),
        "layer_norm_epsilon": (NORM_EPS,),
        "tie_word_embeddings": (True,),
    },
}


def save(folder: Path, model: GPT, tokenizer: Path, eot_id: int) -> None:
    """Writes a model that opens with `AutoModelForCausalLM` and `AutoTokenizer`.

    Args:
        folder: Output folder; made if needed.
        model: The model; weights are written as fp32.
        tokenizer: Folder that holds `tokenizer.json`, `encoder.json` and `vocab.bpe`.
        eot_id: Id of `<|endoftext|>`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {PREFIX + k: v.contiguous() for k, v in to_published(model).items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes it readable by its owner only
    _write_json(folder / "config.json", published_config(model.config, eot_id))
    ids = {"bos_token_id": eot_id, "eos_token_id": eot_id}
    _write_json(folder / "generation_config.json", ids)
    for source, target in TOKENIZER_FILES.items():
        shutil.copyfile(tokenizer / source, folder / target)
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(model.config, folder, eot_id))


def load(folder: Path) -> tuple[GPT, ModelConfig]:
    """Reads a model in fp32, in evaluation mode.

    Raises:
        FileNotFoundError: the folder lacks `config.json` or `model.safetensors`.
        ValueError: the model is of another kind, or its weights do not fit its configuration.
    """
    config = read_config(folder / "config.json")
    with torch.device("meta"):
        model = GPT(config)
    fill(model, folder)
    return model.eval(), config


def fill(model: GPT, folder: Path) -> None:
    """Gives a model the fp32 weights of a folder.

    Raises:
        FileNotFoundError: the folder lacks `model.safetensors`.
        ValueError: the weights do not fit the model.
    """
    _present(folder / "model.safetensors")
    weights = from_published(load_file(folder / "model.safetensors"), model.config)
    expected = {name: tuple(p.shape) for name, p in model.named_parameters()}
    got = {name: tuple(w.shape) for name, w in weights.items()}
    if got != expected:
        wrong = sorted(dict(got.items() ^ expected.items()))
        raise ValueError(
            f"{folder}: weights do not fit config.json, first: {wrong[0]} "
            f"is {got.get(wrong[0], 'absent')}; expected {expected.get(wrong[0], 'no such name')}"
        )
    model.load_state_dict(weights, assign=True)


def _present(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; make it with: dvc repro train")


def to_published(model: GPT) -> dict[str, Tensor]:
    """Returns fp32 copies of the weights under their published names and layout, no prefix."""
    names = POST_NAMES if model.config.norm == "post" else {}
    weights = {}
    for name, parameter in model.named_parameters():
        weight = parameter.detach().to("cpu", torch.float32, copy=True)
        weights[names.get(name, name)] = weight.T if name.endswith(TRANSPOSED) else weight
    return weights


def from_published(weights: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Returns fp32 weights under our names and layout.

    Accepts files with and without the prefix, with mask buffers, and with a copy of the tied
    output matrix.

    Raises:
        ValueError: the output matrix differs from the token table.
    """
    names = {v: k for k, v in POST_NAMES.items()} if config.norm == "post" else {}
    ours: dict[str, Tensor] = {}
    for full_name, stored in weights.items():
        name = full_name.removeprefix(PREFIX)
        if not name.endswith(BUFFERS):
            weight = stored.T.contiguous() if name.endswith(TRANSPOSED) else stored
            ours[names.get(name, name)] = weight.to(torch.float32)
    head = ours.pop("lm_head.weight", None)
    if head is not None and not torch.equal(head, ours["wte.weight"]):
        raise ValueError("lm_head.weight differs from the token table; expected a tied model")
    return ours


def published_config(config: ModelConfig, eot_id: int) -> dict[str, Any]:
    """Returns the content of `config.json`."""
    shape = {
        "vocab_size": config.n_vocab,
        "n_positions": config.n_ctx,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
        "bos_token_id": eot_id,
        "eos_token_id": eot_id,
        "dtype": "float32",
    }
    pre = config.norm == "pre"
    kind = "gpt2" if pre else "openai-gpt"
    fixed = {key: allowed[0] for key, allowed in FIXED[kind].items()}
    architecture = "GPT2LMHeadModel" if pre else "OpenAIGPTLMHeadModel"
    return {"model_type": kind, "architectures": [architecture], **shape, **fixed}


def read_config(path: Path) -> ModelConfig:
    """Reads the shape from a `config.json`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the model is of another kind or has a setting that `model.gpt` lacks.
    """
    _present(path)
    given = json.loads(path.read_text(encoding="utf-8"))
    kind = given.get("model_type")
    if kind not in FIXED:
        raise ValueError(f"{path}: model_type is {kind!r}; expected one of {', '.join(FIXED)}")
    for key, allowed in FIXED[kind].items():
        if given.get(key, allowed[0]) not in allowed:
            raise ValueError(f"{path}: {key} is {given[key]!r}; expected {allowed[0]!r}")
    if given.get("n_inner") not in (None, 4 * given["n_embd"]):
        raise ValueError(f"{path}: n_inner is {given['n_inner']}; expected {4 * given['n_embd']}")
    return ModelConfig(
        norm="pre" if kind == "gpt2" else "post",
        n_layer=given["n_layer"],
        n_head=given["n_head"],
        n_embd=given["n_embd"],
        n_ctx=given["n_positions"],
        n_vocab=given["vocab_size"],
        dropout=given.get("resid_pdrop", 0.1),
    )


def _tokenizer_config(config: ModelConfig, folder: Path, eot_id: int) -> dict[str, Any]:
    """Names the generic fast class: it takes tokenizer.json as it is, for either kind of BPE."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    eot = next(t["content"] for t in tokenizer["added_tokens"] if t["id"] == eot_id)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.n_ctx,
        "bos_token": eot,
        "eos_token": eot,
        "clean_up_tokenization_spaces": False,
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")

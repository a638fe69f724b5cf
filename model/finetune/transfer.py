"""What a fine-tuning run starts from, and the folder that it leaves.

    model.safetensors   as `model.hf` has it, with three more rows in the token table, head.weight
                        and head.bias
    config.json         as `model.hf` has it, and `finetuned`: task, kind, labels, marks
    tokenizer files     those of the pre-trained folder

Paper: GPT-1, section 5 and figure 2 (left): embeddings and the first k blocks are transferred, what
is above them starts anew.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from model import hf
from model.config import ModelConfig
from model.finetune.head import Classifier, HeadConfig, with_marks
from model.finetune.inputs import Marks
from model.finetune.tasks import Task
from model.gpt import GPT, init_weights
from pipeline.store import shards
from pipeline.store.config import require

SECTION = "finetuned"  # of config.json
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What is taken from pre-training.

    Attributes:
        pretrained: whether anything is.
        layers: embeddings and so many blocks from below; None: all of the model, final norm too.
    """

    pretrained: bool
    layers: int | None

    def __post_init__(self) -> None:
        fits = self.layers is None or (self.pretrained and self.layers >= 0)
        require("transfer_layers", self.layers, fits, "null, or x >= 0 with pretrained: true")


def start(base: GPT, head: HeadConfig, transfer: Transfer, seed: int, dropout: float) -> Classifier:
    """Returns a model with a head, ready to be fine-tuned.

    Args:
        base: the pre-trained model.
        head: what is added.
        transfer: what is taken from `base`; the rest has initial values as in pre-training.
        seed: of the initial values.
        dropout: rate of embedding, attention and residual dropout.
    """
    layers = base.config.n_layer if transfer.layers is None else transfer.layers
    allowed = f"x <= n_layer = {base.config.n_layer}"
    require("transfer_layers", layers, layers <= base.config.n_layer, allowed)
    config = ModelConfig(**{**asdict(with_marks(base.config)), "dropout": dropout})
    with torch.device("meta"):
        model = Classifier(config, head)
    model.to_empty(device="cpu")
    init_weights(model, torch.Generator().manual_seed(seed))
    if transfer.pretrained:
        _take(model, dict(base.named_parameters()), layers)
    return model


@torch.no_grad()
def _take(model: Classifier, base: dict[str, Tensor], layers: int) -> None:
    model.wte.weight[: len(base["wte.weight"])] = base["wte.weight"]
    whole = layers == model.config.n_layer
    taken = ("wpe.", *(f"h.{layer}." for layer in range(layers)), *(("ln_f.",) if whole else ()))
    for name, parameter in model.named_parameters():
        if name.startswith(taken):
            parameter.copy_(base[name])


def save(folder: Path, model: Classifier, task: Task, tokenizer: Path, eot_id: int) -> None:
    """Writes a fine-tuned model; a finished folder of that name is replaced as a whole.

    Args:
        folder: output.
        model: the model; weights are written as fp32.
        task: what it was tuned for.
        tokenizer: folder of the pre-trained model.
        eot_id: id of `<|endoftext|>`.
    """
    draft = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    weights = {hf.PREFIX + k: v.contiguous() for k, v in hf.to_published(model).items()}
    save_file(weights, draft / "model.safetensors", metadata={"format": "pt"})
    (draft / "model.safetensors").chmod(0o644)
    told = {**hf.published_config(model.config, eot_id), SECTION: _about(model, task)}
    (draft / "config.json").write_bytes(shards.to_json(told))
    for name in _TOKENIZER:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, draft / name)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _about(model: Classifier, task: Task) -> dict[str, Any]:
    marks = Marks.behind(model.config.n_vocab - len(Marks._fields))
    return {
        "task": task.name,
        "labels": list(task.labels),
        "grades": task.grades,
        "marks": marks._asdict(),
        "head": asdict(model.head_config),
    }


def load(folder: Path) -> Classifier:
    """Reads what `save` has written, in fp32, in evaluation mode.

    Raises:
        FileNotFoundError: the folder lacks a file.
        ValueError: it is no fine-tuned model, or its weights do not fit its configuration.
    """
    config = hf.read_config(folder / "config.json")
    about = json.loads((folder / "config.json").read_bytes()).get(SECTION)
    if about is None:
        raise ValueError(
            f"{folder}: config.json has no `{SECTION}`; make it with: dvc repro finetune"
        )
    with torch.device("meta"):
        model = Classifier(config, HeadConfig(**about["head"]))
    hf.fill(model, folder)
    return model.eval()

"""The models that can be asked: what the graph left, and folders that the user names.

    models/pretrained                    pretrained
    models/checkpoints/<run>/step-*      <run>/step-00001000
    any folder of a GPT                  its own name

Decisions
- A request names a model of this list; no path comes from the page.
- Of a checkpoint the weights alone are read, and compared with the digest that was written down:
  the optimizer's moments are twice their size and answer nothing.
- Few models stay in memory. One that changed on disk is loaded again.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from safetensors.torch import load_file

from model import hf
from model.config import Architecture
from model.gpt import GPT
from model.training.checkpoint import FACTS, FILES
from pipeline.store import shards
from pipeline.store.errors import CheckpointError
from pipeline.tokens import codec
from pipeline.tokens.codec import Codec

PRETRAINED = "pretrained"
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A model that can be loaded.

    Attributes:
        name: What the page calls it.
        folder: Where it lies.
        note: Step and validation loss of a checkpoint, else "".
    """

    name: str
    folder: Path
    note: str

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is a checkpoint of training, not a folder as published."""
        return (self.folder / FACTS).is_file()

    @property
    def weights(self) -> Path:
        """The file of its weights."""
        return self.folder / (FILES["weights"] if self.is_checkpoint else "model.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model ready to answer."""

    name: str
    model: GPT
    coder: Codec

    @property
    def n_parameters(self) -> int:
        """Parameters, embeddings included, the tied matrix once."""
        return sum(p.numel() for p in self.model.parameters())


def listing(models: Path, others: Sequence[Path]) -> list[Entry]:
    """Returns what can be asked, the pretrained model first, then checkpoints, newest first.

    Args:
        models: The folder `models`; may be absent.
        others: Further folders; a name that is taken gets its parent's in front.
    """
    found = []
    if (models / PRETRAINED / "config.json").is_file():
        found.append(Entry(name=PRETRAINED, folder=models / PRETRAINED, note=""))
    for run in sorted((models / "checkpoints").glob("*")):
        steps = sorted(run.glob("step-*"), reverse=True)
        found += [_checkpoint(folder) for folder in steps if (folder / FACTS).is_file()]
    for folder in others:
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"{folder} holds no model: config.json is missing; expected a folder as "
                "models/pretrained or as published"
            )
        taken = {entry.name for entry in found}
        name = folder.name if folder.name not in taken else f"{folder.parent.name}/{folder.name}"
        found.append(Entry(name=name, folder=folder, note=""))
    return found


def _checkpoint(folder: Path) -> Entry:
    told = _facts(folder)
    loss = told["valid_loss"]
    note = f"{told['step']:,} steps" + (f", validation loss {loss:.3f}" if loss is not None else "")
    return Entry(name=f"{folder.parent.name[:8]}/{folder.name}", folder=folder, note=note)


def _facts(folder: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((folder / FACTS).read_bytes())
        _ = told["step"], told["valid_loss"], told["about"]["tokenizer_sha256"], told["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / FACTS} cannot be read ({error!r}); remove {folder}"
        ) from error
    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Models by name, of which the last used ones stay in memory.

    Attributes:
        entries: What can be asked, by name.
        tokenizers: Folders where a checkpoint's tokenizer may lie.
        n_kept: Models in memory, at most.
        device: Where they answer.
    """

    entries: dict[str, Entry]
    tokenizers: tuple[Path, ...]
    n_kept: int
    device: torch.device
    _kept: "OrderedDict[tuple[str, int], Loaded]" = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, name: str) -> Loaded:
        """Returns a model, from memory where it is there and unchanged on disk.

        Raises:
            ValueError: If it is not in the list, or its files do not fit each other.
            CheckpointError: If its bytes are not those that were written.
        """
        if name not in self.entries:
            known = ", ".join(self.entries) or "none: run dvc repro train"
            raise ValueError(f"model is {name!r}; expected one of {known}")
        entry = self.entries[name]
        with self._lock:
            key = (name, entry.weights.stat().st_mtime_ns)
            if key not in self._kept:
                while len(self._kept) >= self.n_kept:
                    self._kept.popitem(last=False)
                self._kept[key] = self._load(entry)
            self._kept.move_to_end(key)
            return self._kept[key]

    def _load(self, entry: Entry) -> Loaded:
        if not entry.is_checkpoint:
            model, _ = hf.load(entry.folder)
            coder = codec.load(entry.folder / TOKENIZER)
        else:
            told = _facts(entry.folder)
            coder = codec.load(self._tokenizer(told["about"]["tokenizer_sha256"], entry))
            model = _read(entry, told, coder.vocabulary.n_vocab)
        return Loaded(name=entry.name, model=model.to(self.device), coder=coder)

    def _tokenizer(self, digest: str, entry: Entry) -> Path:
        """Returns the tokenizer that a checkpoint was trained with."""
        for folder in self.tokenizers:
            path = folder / TOKENIZER
            if path.is_file() and shards.sha256_file(path) == digest:
                return path
        raise ValueError(
            f"{entry.folder} was trained with the tokenizer {digest[:16]}…, which is in none of "
            f"{', '.join(map(str, self.tokenizers))}; choose a checkpoint of the present run"
        )


def _read(entry: Entry, told: dict[str, Any], n_vocab: int) -> GPT:
    expected = told["files"][FILES["weights"]]
    if shards.sha256_file(entry.weights) != expected:
        raise CheckpointError(
            f"checkpoint {entry.folder} is damaged: digest of weights differs; remove it"
        )
    with torch.device("meta"):
        model = GPT(Architecture(**told["about"]["model"]).with_vocab(n_vocab))
    model.load_state_dict(load_file(entry.weights), assign=True)
    return model.eval()

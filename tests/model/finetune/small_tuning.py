"""A small pre-trained folder, tasks of every kind, and settings for runs that take a second."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model import hf
from model.config import ModelConfig
from model.finetune.settings import Config, Places
from model.finetune.tasks import Example, Kind, Split, Task
from model.gpt import GPT, init_weights
from pipeline.tokens import bpe

torch.set_num_threads(1)

CONFIG = Config(
    tasks=(),
    max_train_examples=None,
    seed=1,
    pretrained=True,
    transfer_layers=None,
    epochs=3,
    batch_size=8,
    micro_batch_size=4,
    lr=3e-3,
    embd_lr_ratio=1.0,
    warmup_frac=0.1,
    weight_decay=0.01,
    beta1=0.9,
    beta2=0.99,
    max_grad_norm=1.0,
    dropout=0.1,
    head_dropout=0.1,
    lm_coef=0.5,
    zero_stage=1,
    offload="none",
    dtype="fp32",
    activation_checkpointing=False,
    on_bad_step="stop",
    max_skipped_steps=3,
    checkpoint_every_steps=2,
    keep_checkpoints=1,
    export="last",
)
GOOD = ("bright", "lovely", "charming", "splendid")
BAD = ("dull", "dreadful", "boring", "awful")


def config(**changes: Any) -> Config:
    """The usual settings with some changed."""
    return replace(CONFIG, **changes)


def task(kind: Kind, **changes: Any) -> Task:
    """A task of a kind: two classes, or answers."""
    usual = Task(
        name=f"small_{kind}",
        kind=kind,
        labels=() if kind == "choice" else ("no", "yes"),
        grades=None,
        metrics=("accuracy",),
        scored_split="dev",
        use="",
        paper={},
        paper_split="",
        comparable=False,
    )
    return replace(usual, **changes)


def opinions(n: int, seed: int) -> list[Example]:
    """Texts that hold a good or a bad word: easy to learn, not trivial."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n):
        label = int(rng.integers(2))
        words = ["it", "is", "a", "film", "that", "we", "saw"][: int(rng.integers(2, 8))]
        words.insert(int(rng.integers(len(words))), str(rng.choice((BAD, GOOD)[label])))
        made.append(Example(example_id=str(number), texts=(" ".join(words),), label=label))
    return made


def pairs(n: int, seed: int, grades: int | None = None) -> list[Example]:
    """Pairs of opinions: whether one of them is good, or how good they are on a scale."""
    ones, others = opinions(n, seed), opinions(n, seed + 1)
    made = []
    for one, other in zip(ones, others, strict=True):
        n_good = one.label + other.label
        label = float(n_good > 0) if grades is None else n_good * (grades - 1.5) / 2
        texts = (*one.texts, *other.texts)
        made.append(Example(example_id=one.example_id, texts=texts, label=label))
    return made


def choices(n: int, seed: int, n_answers: int = 3) -> list[Example]:
    """An opinion and words, one of which is of its kind."""
    rng = np.random.default_rng(seed)
    made = []
    for each in opinions(n, seed):
        right = int(rng.integers(n_answers))
        kinds = (GOOD, BAD) if each.label else (BAD, GOOD)
        words = [str(rng.choice(kinds[int(i != right)])) for i in range(n_answers)]
        texts = (*each.texts, "what is it?", *words)
        made.append(Example(example_id=each.example_id, texts=texts, label=right))
    return made


def examples(kind: Kind, n: int = 40, n_dev: int = 13) -> dict[Split, list[Example]]:
    """Train and dev examples of a kind."""
    make = {"text": opinions, "entailment": pairs, "similarity": pairs, "choice": choices}[kind]
    return {"train": make(n, seed=1), "dev": make(n_dev, seed=101)}


def make_pretrained(folder: Path, norm: str = "pre", n_layer: int = 2, n_ctx: int = 48) -> Path:
    """A `transformers` folder with random weights and a vocabulary of its own."""
    (folder / "bpe").mkdir(parents=True)
    words = [" ".join(("it is a film that we saw", *GOOD, *BAD))] * 4
    merges = bpe.train(iter([words]), 290, 2)
    bpe.write(folder / "bpe", merges)
    n_vocab = 257 + len(merges)
    shape = ModelConfig(
        norm=norm, n_layer=n_layer, n_head=2, n_embd=32, n_ctx=n_ctx, dropout=0.1, n_vocab=n_vocab
    )
    model = GPT(shape)
    init_weights(model, torch.Generator().manual_seed(0))
    hf.save(folder / "pretrained", model, folder / "bpe", n_vocab - 1)
    return folder / "pretrained"


def places(inputs: Path, outputs: Path) -> Places:
    """The pre-trained model of one root with the outputs in another."""
    return Places(
        pretrained=inputs / "pretrained",
        checkpoints=outputs / "models" / "checkpoints",
        model=outputs / "models" / "finetuned" / "small",
    )

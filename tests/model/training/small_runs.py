"""Tokens, tokenizers and settings for training runs that take a second."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from model.config import Architecture
from model.training.settings import Config, Places
from pipeline.store import manifest, shards
from pipeline.store.shards import Counts, FileInfo
from pipeline.tokens.arrow import Vocabulary, write_shard

torch.set_num_threads(1)

SHAPE = Architecture(norm="pre", n_layer=2, n_head=2, n_embd=32, n_ctx=16, dropout=0.1)
CONFIG = Config(
    seed=1,
    steps=12,
    global_batch_tokens=128,
    micro_batch_size=2,
    lr=1e-2,
    embd_lr_ratio=2.0,
    min_lr_frac=0.1,
    warmup_steps=3,
    weight_decay=0.1,
    beta1=0.9,
    beta2=0.95,
    max_grad_norm=1.0,
    zero_stage=2,
    offload="none",
    dtype="fp32",
    compile=False,
    activation_checkpointing=False,
    on_bad_step="stop",
    max_skipped_steps=5,
    max_spike_zscore=None,
    spike_window=8,
    eval_every_steps=5,
    eval_tokens=64,
    checkpoint_every_steps=3,
    keep_checkpoints=2,
    export="last",
    log_every_steps=1,
)


def make_tokenizer(folder: Path, n_vocab: int) -> Path:
    """A byte-level BPE in the three files of data/bpe; `<|endoftext|>` is its last id."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [f"return the value of the {word} at index {word}" for word in dir(str)]
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    assert tokenizer.token_to_id("<|endoftext|>") == n_vocab - 1
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))
    (folder / "vocab.json").rename(folder / "encoder.json")
    (folder / "merges.txt").rename(folder / "vocab.bpe")
    return folder


def make_tokens(folder: Path, tokenizer: Path, documents: Mapping[str, list[list[int]]]) -> Path:
    """Token shards of `train` and `valid` documents, at 3 bytes a token."""
    vocabulary = Vocabulary(shards.sha256_file(tokenizer / "tokenizer.json"), 300, 299)
    files = {}
    for split, texts in documents.items():
        half = len(texts) // 2
        for index, part in enumerate((texts[:half], texts[half:])):
            name = f"{split}/part-{index:05d}.arrow"
            (folder / split).mkdir(parents=True, exist_ok=True)
            numbers = [f"{number:016x}" for number in range(len(part))]
            n_bytes = [3 * len(text) for text in part]
            write_shard(folder / name, numbers, part, n_bytes, vocabulary)
            files[name] = FileInfo(
                n_bytes=(folder / name).stat().st_size,
                sha256=shards.sha256_file(folder / name),
                rows=len(part),
            )
    n = sum(len(texts) for texts in documents.values())
    manifest.write(folder, "encode", files, Counts(n_in=n, n_out=n, dropped={}), {}, 2)
    return folder


def counting(n_documents: int, seed: int) -> list[list[int]]:
    """Documents that count upwards in steps of one to four: easy to learn, not trivial."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n_documents):
        start, by = rng.integers(0, 200), rng.integers(1, 5)
        made.append([*((start + by * np.arange(20)) % 280).tolist(), 299])
    return made


def make_places(root: Path) -> Places:
    """A small tokenizer, tokens made for it, and empty outputs."""
    (root / "bpe").mkdir(parents=True)
    make_tokenizer(root / "bpe", 300)
    documents = {"train": counting(60, seed=1), "valid": counting(9, seed=2)}
    make_tokens(root / "tokens", root / "bpe", documents)
    return places_for(root, root)


def places_for(inputs: Path, outputs: Path) -> Places:
    """The tokens of one root with the outputs in another."""
    return Places(
        tokens=inputs / "tokens",
        bpe=inputs / "bpe",
        checkpoints=outputs / "models" / "checkpoints",
        model=outputs / "models" / "pretrained",
        curve=outputs / "metrics" / "train",
    )


def config(**changes: Any) -> Config:
    """The usual settings with some changed."""
    return replace(CONFIG, **changes)

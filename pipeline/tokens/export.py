r"""Token shards in the forms that other trainers read.

    nanogpt    train.bin, val.bin                        ids in a row, uint16, no header
    megatron   train.bin, train.idx, valid.bin, ...      ids in a row, and where documents begin

    .idx   magic "MMIDIDX\0\0", u64 version 1, u8 type of an id, u64 sequences, u64 documents + 1,
           i32 ids of each sequence, i64 first byte of each sequence in .bin,
           i64 first sequence of each document, and the number of sequences

Decisions:
- One sequence per document, `<|endoftext|>` included, documents in the order of the shards.
- All integers are little-endian, whatever the machine.
- Shards are mapped and copied a few MB at a time; of the documents only one shard's lengths are in
  memory. A file gets its name when it is complete.
- nanoGPT's `meta.pkl` is not written: nothing here pickles, and nanoGPT takes the file for a sign
  of character-level data. `meta.json` says what it would (`vocab_size`), and `tokenizer.json` goes
  along.
"""

import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from pipeline.store import manifest, shards
from pipeline.store.errors import ManifestError
from pipeline.tokens.arrow import TokenShards, open_shards

Format = Literal["nanogpt", "megatron"]
Pieces = Iterable[Any]  # arrays or bytes: what a binary file can write

FORMATS: tuple[Format, ...] = get_args(Format)
_MAX_UINT16 = 1 << 16  # entries that nanoGPT's fixed type can number
_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_TYPE_CODES = {"<u2": 8, "<i4": 4}  # Megatron-LM, megatron/core/datasets/indexed_dataset.py
_COPY_TOKENS = 1 << 22  # ids copied at once


def run(tokens: Path, bpe: Path, output: Path, form: Format) -> dict[str, int]:
    """Writes both splits in a trainer's format.

    Args:
        tokens: Output of `encode`.
        bpe: Output of `bpe`.
        output: Folder to write to; files of the same names are replaced.
        form: Whose format.

    Returns:
        Tokens of each split.

    Raises:
        ManifestError: If tokens are missing or were made by another tokenizer.
        ValueError: If the format cannot number the vocabulary.
    """
    found = manifest.load(tokens, "encode")
    splits = {split: open_shards(found.paths(split)) for split in ("train", "valid")}
    tokenizer = (bpe / "tokenizer.json").read_bytes()
    _check_tokenizer(splits["train"], shards.sha256_file(bpe / "tokenizer.json"), tokens)
    for split, opened in splits.items():
        _WRITERS[form](output, split, opened)
    shards.write_atomic(output / "tokenizer.json", tokenizer)
    shards.write_atomic(output / "meta.json", _meta(form, splits).encode())
    return {split: opened.n_tokens for split, opened in splits.items()}


def _check_tokenizer(opened: TokenShards, digest: str, tokens: Path) -> None:
    if opened.tokenizer_sha256 != digest:
        raise ManifestError(
            f"{tokens}: tokens of tokenizer {opened.tokenizer_sha256[:12]}; expected "
            f"{digest[:12]}; make them again with: dvc repro encode"
        )


def _meta(form: Format, splits: dict[str, TokenShards]) -> str:
    train = splits["train"]
    counts = {
        split: {"n_tokens": o.n_tokens, "n_documents": o.n_documents, "n_bytes": o.n_bytes}
        for split, o in splits.items()
    }
    facts = {"format": form, "vocab_size": train.n_vocab, "eot_id": train.eot_id}
    digest = {"tokenizer_sha256": train.tokenizer_sha256}
    return json.dumps({**facts, **digest, "splits": counts}, indent=1) + "\n"


def _write_nanogpt(output: Path, split: str, opened: TokenShards) -> None:
    if opened.n_vocab > _MAX_UINT16:
        raise ValueError(
            f"--format nanogpt stores ids as uint16; the vocabulary has {opened.n_vocab} entries, "
            f"at most {_MAX_UINT16} are possible; use --format megatron or a smaller bpe.n_vocab"
        )
    name = {"train": "train.bin", "valid": "val.bin"}[split]
    _write(output / name, _ids(opened, "<u2"))


def _write_megatron(output: Path, split: str, opened: TokenShards) -> None:
    kind = "<u2" if opened.slice(0, 0).dtype == np.uint16 else "<i4"
    _write(output / f"{split}.bin", _ids(opened, kind))
    _write(output / f"{split}.idx", _index(opened, kind))


def _ids(opened: TokenShards, kind: str) -> Iterator[npt.NDArray[Any]]:
    for values, _ in opened.shards():
        for start in range(0, len(values), _COPY_TOKENS):
            yield values[start : start + _COPY_TOKENS].astype(kind, copy=False)


def _index(opened: TokenShards, kind: str) -> Pieces:
    n = opened.n_documents
    yield _MAGIC + struct.pack("<QBQQ", _VERSION, _TYPE_CODES[kind], n, n + 1)
    for _, lengths in opened.shards():
        yield lengths.astype("<i4")
    first_byte = 0
    for _, lengths in opened.shards():
        ends = np.cumsum(lengths, dtype="<i8") * np.dtype(kind).itemsize + first_byte
        yield np.concatenate([np.array([first_byte], "<i8"), ends[:-1]])[: len(lengths)]
        first_byte = int(ends[-1]) if len(ends) else first_byte
    for start in range(0, n + 1, _COPY_TOKENS):
        yield np.arange(start, min(start + _COPY_TOKENS, n + 1), dtype="<i8")


def _write(path: Path, pieces: Pieces) -> None:
    """Writes pieces one after the other, then gives the file its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    with unfinished.open("wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


_WRITERS: dict[Format, Callable[[Path, str, TokenShards], None]] = {
    "nanogpt": _write_nanogpt,
    "megatron": _write_megatron,
}

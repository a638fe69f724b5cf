"""Exports, read back by readers written from the formats' published layouts."""

import json
import struct
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pytest

from pipeline.engine.tasks import Engine
from pipeline.store import manifest
from pipeline.store.errors import ManifestError
from pipeline.store.manifest import Counts, FileInfo
from pipeline.store.shards import sha256_file
from pipeline.tokens import bpe, encode, export
from pipeline.tokens.arrow import Vocabulary, write_shard


class MakeCorpus(Protocol):
    def __call__(self, shards: list[tuple[list[str], list[str]]]) -> Path: ...


class Made(NamedTuple):
    tokens: Path
    bpe: Path
    documents: dict[str, list[list[int]]]


def seal(folder: Path, parts: dict[str, list[list[list[int]]]], vocabulary: Vocabulary) -> None:
    """Writes token shards of (split -> shards -> documents) as a sealed folder."""
    files = {}
    for split, split_shards in parts.items():
        for index, documents in enumerate(split_shards):
            path = folder / split / f"part-{index:05d}.arrow"
            path.parent.mkdir(parents=True, exist_ok=True)
            ids = [f"{index}-{row}" for row in range(len(documents))]
            write_shard(path, ids, documents, [1] * len(documents), vocabulary)
            name = path.relative_to(folder).as_posix()
            info = FileInfo(n_bytes=path.stat().st_size, sha256=sha256_file(path), rows=0)
            files[name] = info
    counts = Counts(n_in=0, n_out=0, dropped={})
    manifest.write(folder, "encode", files, counts, {}, len(parts["train"]))


def tokens_of(n_vocab: int, tmp_path: Path) -> Made:
    """Three shards of which one is empty; documents of one to 700 ids up to the largest one."""
    rng = np.random.default_rng(3)
    (tmp_path / "bpe").mkdir()
    (tmp_path / "bpe" / "tokenizer.json").write_text("{}")
    digest = sha256_file(tmp_path / "bpe" / "tokenizer.json")
    sizes = {"train": [[1, 700, 3], [], [2, 2]], "valid": [[5], [], []]}
    parts = {
        split: [
            [[*rng.integers(0, n_vocab, n - 1).tolist(), n_vocab - 1] for n in documents]
            for documents in shards
        ]
        for split, shards in sizes.items()
    }
    seal(tmp_path / "tokens", parts, Vocabulary(digest, n_vocab, n_vocab - 1))
    documents = {split: [d for shard in shards for d in shard] for split, shards in parts.items()}
    return Made(tmp_path / "tokens", tmp_path / "bpe", documents)


def read_megatron(prefix: Path) -> tuple[np.dtype, list[list[int]], list[int]]:
    """Reads .bin and .idx: the type, the sequences and where documents begin."""
    index = prefix.with_suffix(".idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, n_sequences, n_documents = struct.unpack_from("<QBQQ", index, 9)
    assert version == 1
    kind = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 8: np.uint16}[code]
    at = 9 + 8 + 1 + 8 + 8
    sizes = np.frombuffer(index, np.int32, n_sequences, at)
    pointers = np.frombuffer(index, np.int64, n_sequences, at + sizes.nbytes)
    starts = np.frombuffer(index, np.int64, n_documents, at + sizes.nbytes + pointers.nbytes)
    assert at + sizes.nbytes + pointers.nbytes + starts.nbytes == len(index)
    data = prefix.with_suffix(".bin").read_bytes()
    sequences = [
        np.frombuffer(data, kind, int(size), int(first)).tolist()
        for size, first in zip(sizes, pointers, strict=True)
    ]
    assert sum(sizes) * np.dtype(kind).itemsize == len(data)
    return np.dtype(kind), sequences, starts.tolist()


@pytest.mark.parametrize(("n_vocab", "kind"), [(300, np.uint16), (100_000, np.int32)])
def test_megatron_files_hold_every_document(tmp_path: Path, n_vocab: int, kind: type) -> None:
    made = tokens_of(n_vocab, tmp_path)
    counts = export.run(made.tokens, made.bpe, tmp_path / "out", "megatron")
    for split, documents in made.documents.items():
        found, sequences, starts = read_megatron(tmp_path / "out" / split)
        assert found == kind
        assert sequences == documents
        assert starts == list(range(len(documents) + 1))
        assert counts[split] == sum(map(len, documents))


def test_nanogpt_files_are_the_ids_in_a_row(tmp_path: Path) -> None:
    made = tokens_of(65_536, tmp_path)
    export.run(made.tokens, made.bpe, tmp_path / "out", "nanogpt")
    for name, split in (("train.bin", "train"), ("val.bin", "valid")):
        found = np.memmap(tmp_path / "out" / name, np.uint16, "r").tolist()
        assert found == [i for document in made.documents[split] for i in document]


def test_nanogpt_refuses_ids_that_do_not_fit(tmp_path: Path) -> None:
    made = tokens_of(65_537, tmp_path)
    with pytest.raises(ValueError, match=r"nanogpt stores ids as uint16.*65537.*--format megatron"):
        export.run(made.tokens, made.bpe, tmp_path / "out", "nanogpt")
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("form", export.FORMATS)
def test_meta_and_tokenizer_say_what_the_ids_mean(tmp_path: Path, form: export.Format) -> None:
    made = tokens_of(300, tmp_path)
    export.run(made.tokens, made.bpe, tmp_path / "out", form)
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    assert (meta["format"], meta["vocab_size"], meta["eot_id"]) == (form, 300, 299)
    assert meta["tokenizer_sha256"] == sha256_file(tmp_path / "out" / "tokenizer.json")
    assert meta["splits"]["train"] == {"n_tokens": 708, "n_documents": 5, "n_bytes": 5}


@pytest.mark.parametrize("size", [1, 3, 7])
def test_files_do_not_depend_on_how_much_is_copied_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    made = tokens_of(100_000, tmp_path)
    export.run(made.tokens, made.bpe, tmp_path / "whole", "megatron")
    monkeypatch.setattr(export, "_COPY_TOKENS", size)
    export.run(made.tokens, made.bpe, tmp_path / "pieces", "megatron")
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "pieces" / path.name).read_bytes()


def test_tokens_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    made = tokens_of(300, tmp_path)
    (made.bpe / "tokenizer.json").write_text("{ }")
    with pytest.raises(ManifestError, match=r"tokens of tokenizer .*; expected .*dvc repro encode"):
        export.run(made.tokens, made.bpe, tmp_path / "out", "megatron")


def test_encoded_corpus_comes_out_as_it_was(
    make_corpus: MakeCorpus, prose: list[str], workspace: Path, inline: Engine
) -> None:
    bpe.write(workspace / "bpe", bpe.train(iter([prose]), 500, 2))
    corpus = make_corpus([(prose[:30], prose[30:32]), (prose[32:50], [])])
    encode.run(corpus, workspace / "bpe", workspace / "tokens", inline)
    export.run(workspace / "tokens", workspace / "bpe", workspace / "out", "megatron")
    _, sequences, _ = read_megatron(workspace / "out" / "train")
    coder = bpe.codec.load(workspace / "out" / "tokenizer.json")
    assert [coder.decode(ids[:-1]) for ids in sequences] == [*prose[:30], *prose[32:50]]

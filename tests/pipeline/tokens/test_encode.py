"""Encoding a corpus: every document comes back, whatever ran it."""

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline.engine.tasks import Engine
from pipeline.store import manifest
from pipeline.store.errors import ManifestError
from pipeline.store.records import doc_id
from pipeline.store.shards import sha256_file
from pipeline.tokens import bpe, codec, encode
from pipeline.tokens.arrow import open_shards


class MakeCorpus(Protocol):
    def __call__(self, shards: list[tuple[list[str], list[str]]]) -> Path: ...


@pytest.fixture
def vocabulary(prose: list[str], tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "bpe"
    bpe.write(folder, bpe.train(iter([prose]), 600, 2))
    return folder


def digests(folder: Path) -> dict[str, str]:
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def documents(path: Path) -> list[dict[str, object]]:
    return list(pa.ipc.open_file(path).read_all().to_pylist())


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(st.text(max_size=60), max_size=5))
def test_every_document_comes_back_from_its_ids(
    make_corpus: MakeCorpus, vocabulary: Path, workspace: Path, inline: Engine, texts: list[str]
) -> None:
    texts = [*texts, "", "<|endoftext|>", "a <|endoftext|> b"]
    output = workspace / "data" / "tokens"
    encode.run(make_corpus([(texts, texts[::-1])]), vocabulary, output, inline)
    made = codec.load(vocabulary / "tokenizer.json")
    for split, expected in (("train", texts), ("valid", texts[::-1])):
        rows = documents(output / split / "part-00000.arrow")
        assert [row["doc_id"] for row in rows] == [
            doc_id(f"0/{split}/{i}") for i in range(len(texts))
        ]
        for row, text in zip(rows, expected, strict=True):
            *ids, last = row["tokens"]
            assert made.decode(ids) == text
            assert last == made.vocabulary.eot_id
            assert made.vocabulary.eot_id not in ids
            assert row["n_bytes"] == len(text.encode())


def test_read_texts_gives_the_corpus_back(
    make_corpus: MakeCorpus, vocabulary: Path, workspace: Path, prose: list[str], inline: Engine
) -> None:
    texts = [*prose[:3], "", "naïve <|endoftext|> café"]
    encode.run(make_corpus([(texts, [])]), vocabulary, workspace / "tokens", inline)
    (path,) = (workspace / "tokens" / "train").glob("*.arrow")
    told = list(encode.read_texts(vocabulary / "tokenizer.json", path))
    assert [text for _, text in told] == texts
    assert [i for i, _ in told] == [row["doc_id"] for row in documents(path)]


def test_ids_are_those_of_tokenizer_json_read_by_its_own_library(
    make_corpus: MakeCorpus, vocabulary: Path, workspace: Path, inline: Engine, prose: list[str]
) -> None:
    encode.run(make_corpus([(prose, [])]), vocabulary, workspace / "tokens", inline)
    theirs = Tokenizer.from_file(str(vocabulary / "tokenizer.json"))
    end = theirs.token_to_id("<|endoftext|>")
    rows = documents(workspace / "tokens" / "train" / "part-00000.arrow")
    assert [row["tokens"] for row in rows] == [[*theirs.encode(text).ids, end] for text in prose]


def test_stream_is_the_documents_in_shard_order_each_closed_once(
    make_corpus: MakeCorpus, vocabulary: Path, workspace: Path, inline: Engine, prose: list[str]
) -> None:
    corpus = make_corpus([(prose[:5], [prose[9]]), ([], []), (prose[5:8], [])])
    encode.run(corpus, vocabulary, workspace / "tokens", inline)
    found = manifest.load(workspace / "tokens", "encode")
    made = codec.load(vocabulary / "tokenizer.json")
    train, valid = (open_shards(found.paths(split)) for split in ("train", "valid"))
    stream = train.slice(0, train.n_tokens)
    ends = np.flatnonzero(stream == train.eot_id)
    assert len(ends) == 8
    assert ends[-1] == train.n_tokens - 1
    assert made.decode(stream) == "".join(text + "<|endoftext|>" for text in prose[:8])
    assert made.decode(valid.slice(0, valid.n_tokens)) == prose[9] + "<|endoftext|>"
    assert train.tokenizer_sha256 == sha256_file(vocabulary / "tokenizer.json")


def test_figures_are_sums_over_the_documents(
    make_corpus: MakeCorpus, vocabulary: Path, workspace: Path, inline: Engine, prose: list[str]
) -> None:
    corpus = make_corpus([(prose[:3], []), (prose[3:6], [])])
    figures = encode.run(corpus, vocabulary, workspace / "tokens", inline)
    theirs = Tokenizer.from_file(str(vocabulary / "tokenizer.json"))
    n_text = sum(len(theirs.encode(text).ids) for text in prose[:6])
    n_bytes = sum(len(text.encode()) for text in prose[:6])
    assert figures["train"] == {
        "n_documents": 6,
        "n_tokens": n_text + 6,
        "n_bytes": n_bytes,
        "bytes_per_token": round(n_bytes / n_text, 4),
    }
    empty = {"n_documents": 0, "n_tokens": 0, "n_bytes": 0, "bytes_per_token": None}
    assert figures["valid"] == empty
    assert figures["counts"] == {"n_in": 6, "n_out": 6, "dropped": {}}
    assert figures["n_vocab"] == 600


def test_two_workers_make_the_bytes_that_one_process_makes(
    make_corpus: MakeCorpus,
    vocabulary: Path,
    workspace: Path,
    inline: Engine,
    ray_engine: Engine,
    prose: list[str],
) -> None:
    corpus = make_corpus([(prose[i::5], prose[i::50]) for i in range(5)])
    encode.run(corpus, vocabulary, workspace / "one", inline)
    (workspace / ".shards").rename(workspace / "kept")  # nothing to reuse
    encode.run(corpus, vocabulary, workspace / "two", ray_engine)
    assert digests(workspace / "one") == digests(workspace / "two")
    assert (
        len(digests(workspace / "one")) == 1 + 5 * 4
    )  # manifest; train, valid, decisions, sidecar


def test_other_vocabulary_makes_other_shards(
    make_corpus: MakeCorpus, vocabulary: Path, workspace: Path, inline: Engine, prose: list[str]
) -> None:
    corpus = make_corpus([(prose[:20], [])])
    encode.run(corpus, vocabulary, workspace / "tokens", inline)
    before = open_shards([workspace / "tokens" / "train" / "part-00000.arrow"])
    bpe.write(vocabulary, bpe.train(iter([prose]), 500, 2))
    encode.run(corpus, vocabulary, workspace / "tokens", inline)
    after = open_shards([workspace / "tokens" / "train" / "part-00000.arrow"])
    assert (before.n_vocab, after.n_vocab) == (600, 500)
    assert after.n_tokens > before.n_tokens


def test_missing_inputs_name_the_command_that_makes_them(
    make_corpus: MakeCorpus, vocabulary: Path, workspace: Path, inline: Engine
) -> None:
    corpus = make_corpus([(["text"], [])])
    with pytest.raises(FileNotFoundError, match="dvc repro bpe"):
        encode.run(corpus, workspace / "absent", workspace / "tokens", inline)
    with pytest.raises(ManifestError, match="dvc repro decontaminate"):
        encode.run(workspace / "absent", vocabulary, workspace / "tokens", inline)

"""The encoding benchmark runs from end to end, without peers, on a little text."""

import json
from pathlib import Path

import pytest

from benchmarks import encode, harness
from pipeline.store import manifest
from pipeline.store.manifest import Counts
from pipeline.tokens import bpe
from tests.benchmarks.small import NO_PEERS, run

TEXTS = [f"Paragraph {n} of some text.\n\nIt's the {n}th, 三 {n * n}." for n in range(200)]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A corpus of one shard and its vocabulary."""
    encode._write_documents(tmp_path / "corpus" / "train" / "part-00000.parquet", TEXTS, 0)
    encode._write_documents(tmp_path / "corpus" / "valid" / "part-00000.parquet", [], 0)
    files = {
        f"{split}/part-00000.parquet": encode.described(
            tmp_path / "corpus" / split / "part-00000.parquet"
        )
        for split in ("train", "valid")
    }
    manifest.write(
        tmp_path / "corpus", "decontaminate", files, Counts(n_in=0, n_out=0, dropped={}), {}, 1
    )
    bpe.write(tmp_path / "bpe", bpe.train(iter([TEXTS]), 300, 2))
    return tmp_path


@pytest.mark.slow
def test_encode_small_without_peers_finds_equal_ids(made: Path) -> None:
    options = ["--small", "--corpus", str(made / "corpus"), "--bpe", str(made / "bpe")]
    told = run("encode", *options, "--results", str(made / "results"), **NO_PEERS)
    assert (told["name"], told["unit"], told["peers"]) == ("encode", "MB per CPU-second", {})
    assert told["checks"] == {"ids_equal": 1.0}
    (path,) = (made / "results").glob("*.json")
    entries = json.loads(path.read_bytes())["entries"]
    assert set(entries) == {"encode", "encode/bare-new", "encode/bare-repeated"}
    for case in ("encode/bare-new", "encode/bare-repeated"):
        assert "bare gigatoken-list" in entries[case]["peers"]
        assert "bare tiktoken-1" in entries[case]["swept"]


def test_input_is_as_large_as_asked_for_and_the_same_again(made: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        texts = encode.recombined(made / "corpus", 40_000)
        encode.make_input(tmp_path / name, made / "bpe", texts)
    assert 0.04 <= encode._megabytes(tmp_path / "one") < 0.045
    first, second = (harness.digest(encode._files(tmp_path / n)) for n in ("one", "two"))
    assert first == second


def test_sources_are_texts_of_many_files_each_once() -> None:
    found = encode.sources(500_000)
    assert len(set(found)) == len(found) > 10
    assert 500_000 <= sum(len(text.encode()) for text in found) < 2_000_000

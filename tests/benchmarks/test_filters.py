"""The benchmarks of clean and decontaminate: their input, and small runs with and without peers."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks import clean, decontaminate, harness, texts
from pipeline.store import manifest, records
from tests.benchmarks.small import NO_PEERS, PARAGRAPHS, run

PEERS = {f"{clean._PEER} en", f"{clean._PEER} split"}


@pytest.mark.parametrize(
    ("step", "schema"), [("extract", records.PAGES), ("dedup", records.UNIQUE)]
)
def test_both_sides_read_the_same_documents(tmp_path: Path, step: str, schema: Any) -> None:
    made = list(texts.documents(PARAGRAPHS, 1, 40_000))
    assert made == list(texts.documents(PARAGRAPHS, 1, 40_000))
    ids = texts.write(tmp_path, step, schema, made, 3)
    paths = manifest.load(tmp_path / "shards", step).paths("train" if step == "dedup" else "")
    ours = [row for path in paths for row in pq.read_table(path).to_pylist()]
    assert pq.read_schema(paths[0]).equals(schema)
    files = sorted((tmp_path / "jsonl").glob("*.jsonl"))
    theirs = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    assert [(row["doc_id"], row["text"]) for row in ours] == [(t["id"], t["text"]) for t in theirs]
    assert sorted(row["text"] for row in ours) == sorted(made)
    assert sorted(ids) == sorted(row["doc_id"] for row in ours)


def test_every_tenth_document_is_damaged_each_in_its_way() -> None:
    kinds = [clean.kind_of(number) for number in range(100)]
    assert [n for n, kind in enumerate(kinds) if kind] == list(range(0, 100, 10))
    assert set(kinds) == {"", *clean._KINDS}
    text = texts.prose.plain_text(PARAGRAPHS[:9])
    damaged = {kind: clean.damage(text, kind) for kind in kinds}
    assert damaged.pop("") == text
    assert len({*damaged.values(), text}) == 6


def test_examples_are_longer_than_the_run_of_words_that_is_allowed() -> None:
    examples = decontaminate.make_examples(PARAGRAPHS[:40])
    assert len(examples) > 5
    assert min(len(text.split()) for text in examples) >= decontaminate._MIN_WORDS


@pytest.mark.slow
@pytest.mark.parametrize("module", ["clean", "decontaminate"])
def test_small_without_peers_judges_as_it_should(module: str) -> None:
    told = run(module, "--small", OUTBOUND_ENGINE="inline", **NO_PEERS)
    assert (told["name"], told["unit"]) == (module, "MB per CPU-second")
    assert (told["peers"], told["ratio"], told["further"]) == ({}, None, [])
    assert min(told["checks"].values()) >= 0.99
    assert [n for n, _ in told["cost"]] == sorted(n for n, _ in told["cost"])


@pytest.mark.slow
@pytest.mark.parametrize("module", ["clean", "decontaminate"])
def test_small_with_peers_compares_both_tokenizers(module: str) -> None:
    if harness.peer_python() is None:
        pytest.skip("datatrove is not installed: make bench-env")
    told = run(module, "--small", OUTBOUND_ENGINE="inline")
    assert (told["name"], told["unit"]) == (module, "MB per CPU-second")
    assert set(told["peers"]) == PEERS
    assert told["against"] in PEERS
    assert {one["against"] for one in told["further"]} == PEERS - {told["against"]}
    assert set(told["swept"]) == {"outbound", *PEERS}

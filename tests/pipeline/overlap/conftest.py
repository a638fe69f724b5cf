"""Folders of shards as earlier stages leave them, and an engine that finishes in another order."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.engine.tasks import Item, Result
from pipeline.store import manifest, records, shards
from pipeline.store.shards import Counts, FileInfo

Rows = Sequence[dict[str, Any]]
LayOut = Callable[..., Path]


class ShuffledEngine:
    """Runs tasks in this process in a random order, as a loaded cluster would."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        order = list(range(len(items)))
        self._random.shuffle(order)
        for index in order:
            yield index, function(items[index])


@pytest.fixture
def shuffled() -> Callable[[int], ShuffledEngine]:
    return ShuffledEngine


def clean_row(number: int, text: str, created_utc: int | None = 0) -> dict[str, Any]:
    url = f"https://example.org/{number}"
    return {
        "doc_id": records.doc_id(url),
        "url": url,
        "host": "example.org",
        "domain": "example.org",
        "created_utc": created_utc,
        "title": None,
        "language": "en",
        "text": text,
        "n_chars": len(text),
        "n_words": len(text.split()),
    }


def unique_row(number: int, text: str) -> dict[str, Any]:
    row = clean_row(number, text)
    return row | {"cluster_id": row["doc_id"], "cluster_size": 1}


@pytest.fixture
def make_row() -> Callable[..., dict[str, Any]]:
    return clean_row


def _write(folder: Path, step: str, tables: dict[str, pa.Table], n_rows: int) -> Path:
    files = {}
    for name, table in tables.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shards.write_table(path, table)
        files[name] = FileInfo(
            n_bytes=path.stat().st_size, sha256=shards.sha256_file(path), rows=table.num_rows
        )
    counts = Counts(n_in=n_rows, n_out=n_rows, dropped={})
    manifest.write(folder, step, files, counts, {}, len(tables))
    return folder


@pytest.fixture
def write_clean(workspace: Path) -> LayOut:
    """Returns a function that writes shards of rows as `data/clean/`."""

    def write(parts: Sequence[Rows], folder: str = "data/clean") -> Path:
        tables = {
            f"part-{i:05d}.parquet": pa.Table.from_pylist(list(rows), records.CLEAN)
            for i, rows in enumerate(parts)
        }
        return _write(workspace / folder, "clean", tables, sum(map(len, parts)))

    return write


@pytest.fixture
def write_unique(workspace: Path) -> LayOut:
    """Returns a function that writes shards of (train texts, valid texts) as `data/unique/`."""

    def write(parts: Sequence[tuple[Sequence[str], Sequence[str]]]) -> Path:
        tables, number = {}, 0
        for i, sides in enumerate(parts):
            for side, texts in zip(("train", "valid"), sides, strict=True):
                rows = [unique_row(number + n, text) for n, text in enumerate(texts)]
                number += len(texts)
                tables[f"{side}/part-{i:05d}.parquet"] = pa.Table.from_pylist(rows, records.UNIQUE)
        return _write(workspace / "data/unique", "dedup", tables, number)

    return write


@pytest.fixture
def write_eval(workspace: Path) -> LayOut:
    """Returns a function that writes evaluation sets, texts by set name, as `data/eval/`."""

    def write(sets: dict[str, Sequence[str]]) -> Path:
        folder = workspace / "data/eval"
        folder.mkdir(parents=True, exist_ok=True)
        for name, texts in sets.items():
            rows = [
                {
                    "set": name,
                    "split": "test",
                    "example_id": f"{name}-{i}",
                    "text": t,
                    "fields": "{}",
                }
                for i, t in enumerate(texts)
            ]
            table = pa.Table.from_pylist(rows, records.EVAL)
            shards.write_table(folder / f"{name}.parquet", table)
        return folder

    return write

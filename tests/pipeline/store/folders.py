"""Folders as finished stages leave them, for tests of what reads them."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from pipeline.store import ledger, manifest
from pipeline.store.records import Drop
from pipeline.store.shards import ShardDraft

Rows = Sequence[str]
Drops = Sequence[tuple[str, Drop]]


def write_folder(data: Path, stage: str, shards: Sequence[tuple[Rows, Drops]]) -> None:
    """Writes one stage's folder through the store's own writer."""
    place = next(p for p in ledger.PLACES if p.stage == stage)
    finished = []
    for index, (rows, drops) in enumerate(shards):
        draft = ShardDraft(stage, data / ".shards" / stage)
        for name, table in _tables(place, rows, drops).items():
            _write(draft, name, table)
        draft.count_in(len(rows) + len(drops))
        draft.count_out(len(rows))
        for document, drop in drops:
            draft.drop(document, drop, "an excerpt")
        finished.append(draft.commit(f"{index}-{uuid.uuid4().hex}", ()))
    manifest.link_shards(data / place.folder, stage, finished)


def _tables(place: ledger.Place, rows: Rows, drops: Drops) -> Mapping[str, pa.Table]:
    ids = sorted(rows)
    if place.stage == "crawl":  # one row per link, fetched or not
        outcomes = [(row, "fetched") for row in ids] + [(d, drop.reason) for d, drop in drops]
        columns = zip(*sorted(outcomes), strict=True) if outcomes else ([], [])
        names = [pa.array(list(c), pa.string()) for c in columns]
        return {"part.parquet": pa.table(names, names=["doc_id", "outcome"])}
    table = pa.table({"doc_id": pa.array(ids, pa.string())})
    if place.subfolders == ("",):
        return {"part.parquet": table}
    extension = "arrow" if place.format == "ipc" else "parquet"
    half = len(ids) // 2
    return {f"train.{extension}": table[:half], f"valid.{extension}": table[half:]}


def _write(draft: ShardDraft, name: str, table: pa.Table) -> None:
    if name.endswith(".parquet"):
        draft.write_table(name, table)
        return
    with pa.ipc.new_file(draft.path(name), table.schema) as writer:
        writer.write_table(table)

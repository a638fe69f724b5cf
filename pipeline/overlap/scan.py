"""Decontamination, steps 2 and 3: what the corpus shares with the evaluation sets.

Step 2 (map over shards) writes, for each document of the training and of the validation part, what
it shares with any set; thresholds are applied later, to these figures. Step 3 (one task) turns the
8-grams seen in training text into the paper's table: for each set, how many of its distinct 8-grams
occur in the training text.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.overlap import columns, evalgrams
from pipeline.overlap.evalgrams import FILES, EvalGrams, Overlap
from pipeline.overlap.words import Hashes, distinct
from pipeline.store.shards import ShardDraft, to_json

TRAIN = "overlap-train.parquet"
VALID = "overlap-valid.parquet"
FOUND = "found.parquet"
TABLE = "table.json"

# Paper: GPT-2, table 6, "WebText train": % of test 8-grams found in WebText.
PAPER_PERCENT = {
    "ptb": 0.88,
    "wikitext2": 1.63,
    "enwik8": 6.31,
    "text8": 3.94,
    "wikitext103": 2.42,
    "1bw": 3.75,
}

_ROWS_AT_ONCE = 256
_OVERLAPS = pa.schema(
    [
        ("doc_id", pa.string()),
        ("n_ngrams", pa.int64()),
        ("n_found", pa.int64()),
        ("overlap_frac", pa.float32()),
        ("set", pa.string()),
        ("example_id", pa.string()),
        ("n_shared", pa.int64()),
    ]
)


def write(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Writes the overlaps of one shard (step 2).

    Args:
        inputs: A shard's training and validation file, then the index's files.
        draft: Where to write.
    """
    train, valid, *rest = inputs
    grams = evalgrams.read(rest)
    found: list[Hashes] = [np.empty(0, np.uint64)]
    for path, name in ((train, TRAIN), (valid, VALID)):
        rows = []
        for doc_id, text in _documents(path):
            seen = grams.overlap(text)
            rows.append(_row(doc_id, seen, grams))
            draft.tally("n_lookups", seen.n_ngrams)
            draft.tally("n_false_lookups", seen.n_false)
            if path == train:
                found.append(seen.found)
        draft.write_table(name, pa.Table.from_pylist(rows, _OVERLAPS))
    hashes = distinct(np.concatenate(found))
    draft.write_table(FOUND, pa.table({"hash": pa.array(hashes, columns.HASH)}))


def _documents(path: Path) -> Iterator[tuple[str, str]]:
    for batch in pq.ParquetFile(path).iter_batches(_ROWS_AT_ONCE, columns=["doc_id", "text"]):
        yield from zip(*(batch.column(i).to_pylist() for i in range(2)), strict=True)


def _row(doc_id: str, seen: Overlap, grams: EvalGrams) -> dict[str, Any]:
    known = seen.example is not None
    return {
        "doc_id": doc_id,
        "n_ngrams": seen.n_ngrams,
        "n_found": len(seen.found),
        "overlap_frac": seen.frac,
        "set": grams.examples["set"][seen.example].as_py() if known else "",
        "example_id": grams.examples["example_id"][seen.example].as_py() if known else "",
        "n_shared": seen.n_shared,
    }


def tabulate(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Writes the paper's table as `table.json` (step 3).

    Args:
        inputs: The index's files, then `found.parquet` of every shard.
        draft: Where to write.
    """
    grams = evalgrams.read(inputs[: len(FILES)])
    found = distinct(columns.read(inputs[len(FILES) :])["hash"].to_numpy())
    names, set_of_example = np.unique(
        np.array(grams.examples["set"].to_pylist(), np.str_), return_inverse=True
    )
    set_of_row = set_of_example[grams.grams.owners]
    table = {
        str(name): _figures(str(name), grams.grams.hashes[set_of_row == number], found)
        | {"n_examples": int((set_of_example == number).sum())}
        for number, name in enumerate(names)
    }
    draft.write_bytes(TABLE, to_json(table))


def _figures(name: str, hashes: Hashes, found: Hashes) -> dict[str, Any]:
    mine = distinct(hashes)
    n_found = int(np.isin(mine, found, assume_unique=True).sum())
    percent = round(100 * n_found / len(mine), 4) if len(mine) else 0.0
    figures = {"n_8grams": len(mine), "n_found": n_found, "percent": percent}
    known = "".join(filter(str.isalnum, name.lower()))
    return figures | ({"paper_percent": PAPER_PERCENT[known]} if known in PAPER_PERCENT else {})


def read_table(path: Path) -> dict[str, Any]:
    """Returns the table that `tabulate` wrote."""
    table: dict[str, Any] = json.loads(path.read_bytes())
    return table

"""Decontamination, step 2 (map over shards): what the documents share with the evaluation sets.

Writes what each document of the training and of the validation part shares with any set, and for
the training part the 8-grams that were found, the spans that hold them, and for each example the
longest run of words that a document repeats. Thresholds are applied later, to these figures.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.overlap import columns, evalgrams, spans
from pipeline.overlap.evalgrams import NGRAM_WORDS, EvalGrams, Overlap
from pipeline.overlap.verbatim import MAX_TEXT_CHARS, Longest
from pipeline.overlap.words import distinct
from pipeline.store import records, shards
from pipeline.store.shards import ShardDraft

TRAIN = "overlap-train.parquet"
VALID = "overlap-valid.parquet"
FOUND = "found.parquet"
SPANS = "spans.parquet"
LONGEST = "longest.parquet"

OVERLAPS = pa.schema(
    [
        ("doc_id", pa.string()),
        ("n_ngrams", pa.int64()),
        ("n_found", pa.int64()),
        ("overlap_frac", pa.float32()),
        ("set", pa.string()),
        ("example_id", pa.string()),
        ("n_shared", pa.int64()),
        ("found", columns.HASHES),
    ]
)


def write(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Writes the overlaps of one shard.

    Args:
        inputs: A shard's training and validation file, then the index's files.
        draft: Where to write.
    """
    train, valid, *rest = inputs
    grams = evalgrams.read(rest)
    longest = Longest(grams)
    rows, matched = [], []
    for doc_id, text in documents(train):
        seen = grams.overlap(text)
        rows.append(row(doc_id, seen, grams))
        longest.see(doc_id, text, seen)
        matched += find_spans(doc_id, text, seen, grams)
        draft.tally("n_lookups", seen.n_ngrams)
        draft.tally("n_false_lookups", seen.n_false)
    overlaps = pa.Table.from_pylist(rows, OVERLAPS)
    draft.write_table(TRAIN, overlaps)
    draft.write_table(SPANS, pa.Table.from_pylist(matched, records.SPANS))
    draft.write_table(LONGEST, longest.table())
    draft.write_table(FOUND, found_table(overlaps))
    others = [row(doc_id, grams.overlap(text), grams) for doc_id, text in documents(valid)]
    draft.write_table(VALID, pa.Table.from_pylist(others, OVERLAPS))


def documents(path: Path) -> Iterator[tuple[str, str]]:
    """Yields (doc_id, text) of a shard, a few rows in memory at a time."""
    yield from shards.read_rows(path, ["doc_id", "text"])


def row(doc_id: str, seen: Overlap, grams: EvalGrams) -> dict[str, Any]:
    """Returns a row of `OVERLAPS`."""
    return {
        "doc_id": doc_id,
        "n_ngrams": seen.n_ngrams,
        "n_found": len(seen.found),
        "overlap_frac": seen.frac,
        **_name(seen.example, grams),
        "n_shared": seen.n_shared,
        "found": seen.found.tolist(),
    }


def _name(example: int | None, grams: EvalGrams) -> dict[str, str]:
    if example is None:
        return {"set": "", "example_id": ""}
    return {name: grams.examples[name][example].as_py() for name in ("set", "example_id")}


def find_spans(doc_id: str, text: str, seen: Overlap, grams: EvalGrams) -> list[dict[str, Any]]:
    """Returns the matched spans of a document, in order, as rows of `records.SPANS`.

    A span is attributed to the example that has most of its 8-grams.
    """
    if not len(seen.found):
        return []
    starts, ends = spans.locate(text)
    rows = []
    for first, last in spans.runs(seen.is_found):
        example, n_shared, example_word = grams.closest(distinct(seen.hashes[first : last + 1]))
        start, end = int(starts[first]), int(ends[last + NGRAM_WORDS - 1])
        rows.append(
            {
                "doc_id": doc_id,
                "start_char": start,
                "end_char": end,
                "n_words": last - first + NGRAM_WORDS,
                **_name(example, grams),
                "example_word": example_word,
                "n_shared": n_shared,
                "is_cut": False,
                "text": text[start:end][:MAX_TEXT_CHARS],
            }
        )
    return rows


def found_table(overlaps: pa.Table) -> pa.Table:
    """Returns the distinct 8-grams that any of these documents shares with a set."""
    found = columns.to_lists(overlaps["found"])
    hashes = distinct(np.concatenate([np.empty(0, np.uint64), *found]))
    return pa.table({"hash": pa.array(hashes, columns.HASH)})

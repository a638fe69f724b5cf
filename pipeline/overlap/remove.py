"""Decontamination, step 3 (map over shards): the corpus without what is contaminated.

A training document beyond a threshold is kept as it is, dropped, or freed of its matched spans.
What is left of a freed document is compared with the evaluation sets again, and dropped if it is
still beyond a threshold; its id stays, its pieces are joined by a blank line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.overlap import evalgrams, scan
from pipeline.overlap.evalgrams import EvalGrams
from pipeline.overlap.spans import Cutting, Span, pieces
from pipeline.store import records
from pipeline.store.records import Drop
from pipeline.store.shards import ShardDraft

CONTAMINATED = "contaminated"
LEFT = "left"
SPANS = "spans"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a document is contaminated, and what is done about it.

    Attributes:
        remove: What goes: nothing, the document, or its matched spans.
        max_overlap_frac: Share of a document's 8-grams that may be found in evaluation sets.
        max_matched_ngrams: Distinct 8-grams that a document may share with one example.
        span: For `remove: span`.
    """

    remove: Literal["none", "document", "span"]
    max_overlap_frac: float
    max_matched_ngrams: int
    span: Cutting

    def allows(self, overlap: Mapping[str, Any]) -> bool:
        """Returns whether a document with these figures (a row of `scan`) may stay."""
        n_found, n_ngrams, n_shared = (overlap[k] for k in ("n_found", "n_ngrams", "n_shared"))
        frac = n_found / max(1, n_ngrams)  # not `overlap_frac`, a rounded float32
        return bool(frac <= self.max_overlap_frac and n_shared <= self.max_matched_ngrams)


def write(inputs: tuple[Path, ...], draft: ShardDraft, limits: Limits) -> None:
    """Writes one shard of the corpus.

    Args:
        inputs: Training and validation file of `data/unique/`, their overlaps, the spans, then the
            index's files.
        draft: Where to write.
        limits: Thresholds, and what is done beyond them.
    """
    train, valid = (pq.read_table(path, schema=records.UNIQUE) for path in inputs[:2])
    overlaps, valid_overlaps, spans = (pq.read_table(path) for path in inputs[2:5])
    draft.count_in(train.num_rows + valid.num_rows)
    texts, rows, matched = train["text"].to_pylist(), overlaps.to_pylist(), _by_document(spans)
    grams = evalgrams.read(inputs[5:])
    is_kept = [True] * len(rows)
    for i, row in enumerate(rows):
        if limits.allows(row):
            continue
        draft.tally("n_contaminated", 1)
        made = _judge(texts[i], row, matched.get(row["doc_id"], []), grams, limits)
        if isinstance(made, Drop):
            draft.drop(row["doc_id"], made, texts[i])
            is_kept[i] = False
        else:
            _count_cut(texts[i], made[0], limits, draft)
            texts[i], rows[i] = made
    _write_train(train, texts, rows, is_kept, draft)
    all_spans = [span for row in rows for span in matched.get(row["doc_id"], [])]
    draft.write_table(f"{SPANS}.parquet", pa.Table.from_pylist(all_spans, records.SPANS))
    draft.write_table("valid.parquet", _with_overlap(valid, valid_overlaps["overlap_frac"]))
    draft.count_out(valid.num_rows)
    draft.tally("n_valid", valid.num_rows)


def _by_document(spans: pa.Table) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for span in spans.to_pylist():
        found.setdefault(span["doc_id"], []).append(span)
    return found


def _judge(
    text: str, row: Row, spans: Sequence[Row], grams: EvalGrams, limits: Limits
) -> Drop | tuple[str, Row]:
    """Returns a contaminated document's text and overlap as they go on, or why it goes no further.

    Spans that are cut out of a document that stays are marked as such.
    """
    if limits.remove == "none":
        return text, row
    if limits.remove == "document":
        return Drop(CONTAMINATED, _detail(row))
    chosen = [span for span in spans if span["n_words"] >= limits.span.min_words]
    cuts = [Span(span["start_char"], span["end_char"]) for span in chosen]
    left = pieces(text, cuts, limits.span)
    shorter = "\n\n".join(left)
    after = scan.row(row["doc_id"], grams.overlap(shorter), grams)
    if not left or len(left) > limits.span.max_pieces or not limits.allows(after):
        return Drop(CONTAMINATED, f"{_detail(row)} spans={len(cuts)} pieces={len(left)}")
    for span in chosen:
        span["is_cut"] = True
    return shorter, after


def _detail(row: Row) -> str:
    return (
        f"set={row['set']} example_id={row['example_id']} "
        f"8grams={row['n_shared']} overlap_frac={row['overlap_frac']:.4f}"
    )


def _count_cut(before: str, after: str, limits: Limits, draft: ShardDraft) -> None:
    if limits.remove == "span":
        draft.tally("n_cut_documents", 1)
        draft.tally("n_cut_chars", len(before) - len(after))


def _write_train(
    train: pa.Table,
    texts: Sequence[str],
    rows: Sequence[Row],
    is_kept: list[bool],
    draft: ShardDraft,
) -> None:
    """Writes the training part, and which 8-grams of the evaluation sets are left in it."""
    changed = {
        "text": pa.array(texts, pa.string()),
        "n_chars": pa.array(map(len, texts), pa.int64()),
        "n_words": pa.array([len(text.split()) for text in texts], pa.int64()),
    }
    for name, column in changed.items():
        train = train.set_column(train.schema.get_field_index(name), train.field(name), column)
    overlaps = pa.Table.from_pylist(list(rows), scan.OVERLAPS)
    mask = pa.array(is_kept, pa.bool_())
    kept = _with_overlap(train, overlaps["overlap_frac"]).filter(mask)
    draft.write_table("train.parquet", kept)
    draft.write_table(f"{LEFT}.parquet", scan.found_table(overlaps.filter(mask)))
    draft.count_out(kept.num_rows)
    draft.tally("n_train", kept.num_rows)


def _with_overlap(documents: pa.Table, overlap_frac: pa.ChunkedArray) -> pa.Table:
    return documents.append_column(records.CORPUS.field("overlap_frac"), overlap_frac)

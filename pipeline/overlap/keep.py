"""Dedup, step 7 (map over shards): write the survivors, split into training and validation.

The split follows the survivor's doc_id (`records.is_validation`), after duplicates are gone, so no
training document is a known duplicate of a validation document. What can still be shared by the
two: texts below the threshold, the few pairs above it that share no band, and single passages.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import records
from pipeline.store.records import Drop
from pipeline.store.shards import ShardDraft


def write(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Writes `train.parquet`, `valid.parquet` and the decisions of one shard.

    Args:
        inputs: A shard of `data/clean/` and its `verdicts-<shard>.parquet`.
        draft: Where to write.
    """
    documents = pq.read_table(inputs[0], schema=records.CLEAN)
    verdicts = pq.read_table(inputs[1])
    draft.count_in(documents.num_rows)
    reasons = verdicts["reason"].to_pylist()
    for row in (row for row, reason in enumerate(reasons) if reason):
        fate = {name: verdicts[name][row].as_py() for name in ("reason", "cluster_id", "jaccard")}
        detail = f"{fate['cluster_id']} jaccard={fate['jaccard']:.4f}"
        doc_id, text = (documents[name][row].as_py() for name in ("doc_id", "text"))
        draft.drop(doc_id, Drop(fate["reason"], detail), text)
    for name in ("cluster_id", "cluster_size"):
        documents = documents.append_column(records.UNIQUE.field(name), verdicts[name])
    kept = documents.filter(pa.array([not reason for reason in reasons], pa.bool_()))
    _write_split(kept, draft)


def _write_split(kept: pa.Table, draft: ShardDraft) -> None:
    held_out = [records.is_validation(doc_id) for doc_id in kept["doc_id"].to_pylist()]
    valid = kept.filter(pa.array(held_out, pa.bool_()))
    train = kept.filter(pa.array([not held for held in held_out], pa.bool_()))
    draft.write_table("train.parquet", train)
    draft.write_table("valid.parquet", valid)
    draft.count_out(kept.num_rows)
    draft.tally("n_train", train.num_rows)
    draft.tally("n_valid", valid.num_rows)
    draft.tally("n_train_chars", sum(train["n_chars"].to_pylist()))
    draft.tally("n_valid_chars", sum(valid["n_chars"].to_pylist()))

"""Dedup, step 8 (map over shards): write the survivors, split into training and validation.

The split follows the survivor's doc_id (`records.is_validation`), after duplicates are gone, so no
training document is a known duplicate of a validation document. What can still be shared by the
two: texts below the threshold, the few pairs above it that share no band, and single passages.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.overlap import columns
from pipeline.overlap.verdicts import REASONS
from pipeline.store import records
from pipeline.store.records import Drop
from pipeline.store.shards import ShardDraft


def write(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Writes `train.parquet`, `valid.parquet` and the decisions of one shard.

    Args:
        inputs: A shard of `data/clean/` and its `verdicts` of all partitions.
        draft: Where to write.
    """
    documents = pq.read_table(inputs[0], schema=records.CLEAN)
    verdicts = columns.read(inputs[1:]).to_pylist()
    fates = {columns.to_doc_id(row["doc"]): row for row in verdicts}
    ids = documents["doc_id"].to_pylist()
    draft.count_in(len(ids))
    dropped = {i: REASONS[fate["reason"]] for i, fate in fates.items() if fate["reason"]}
    for row, doc_id in enumerate(ids):
        if doc_id in dropped:
            drop = Drop(dropped[doc_id], detail(fates[doc_id]))
            draft.drop(doc_id, drop, documents["text"][row].as_py())
    kept = [doc_id for doc_id in ids if doc_id not in dropped]
    documents = documents.filter(pa.array([doc_id not in dropped for doc_id in ids], pa.bool_()))
    sizes = [fates[doc_id]["size"] if doc_id in fates else 1 for doc_id in kept]
    for name, values in (("cluster_id", kept), ("cluster_size", sizes)):
        field = records.UNIQUE.field(name)
        documents = documents.append_column(field, pa.array(values, field.type))
    _write_split(documents, kept, draft)


def detail(fate: Mapping[str, Any]) -> str:
    """Returns what the decision says of a dropped document.

    >>> detail({"cluster": 10, "through": 0, "jaccard": 0.8125})
    '000000000000000a jaccard=0.8125'
    >>> detail({"cluster": 10, "through": 11, "jaccard": 0.75})
    '000000000000000a through 000000000000000b jaccard=0.7500'
    """
    through = f" through {columns.to_doc_id(fate['through'])}" if fate["through"] else ""
    return f"{columns.to_doc_id(fate['cluster'])}{through} jaccard={fate['jaccard']:.4f}"


def _write_split(kept: pa.Table, ids: list[str], draft: ShardDraft) -> None:
    held_out = pa.array([records.is_validation(doc_id) for doc_id in ids], pa.bool_())
    valid, train = kept.filter(held_out), kept.filter(pa.compute.invert(held_out))
    draft.write_table("train.parquet", train)
    draft.write_table("valid.parquet", valid)
    draft.count_out(kept.num_rows)
    draft.tally("n_train", train.num_rows)
    draft.tally("n_valid", valid.num_rows)
    draft.tally("n_train_chars", sum(train["n_chars"].to_pylist()))
    draft.tally("n_valid_chars", sum(valid["n_chars"].to_pylist()))

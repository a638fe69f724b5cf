"""Columns of hashes between Arrow tables and numpy: plain ones, and lists of different lengths."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.overlap.words import Hashes

HASH = pa.uint64()
HASHES = pa.list_(pa.uint64())


def read(paths: Sequence[Path], columns: Sequence[str] | None = None) -> pa.Table:
    """Returns the rows of several Parquet files, one after the other."""
    return pa.concat_tables([pq.read_table(p, columns=columns) for p in paths]).combine_chunks()


def to_lists(column: pa.ChunkedArray) -> list[Hashes]:
    """Returns one array per row of a list column, views of one buffer."""
    joined = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], HASHES)
    flat, ends = joined.values.to_numpy(), joined.offsets.to_numpy()
    return [flat[start:end] for start, end in pairwise(ends)]


def from_lists(lists: Sequence[Hashes]) -> pa.ListArray:
    """Returns a list column with one row per array."""
    ends = np.cumsum([0, *map(len, lists)], dtype=np.int32)
    flat = np.concatenate(lists) if lists else np.empty(0, np.uint64)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat, HASH))


def to_ids(column: pa.ChunkedArray) -> Hashes:
    """Returns doc_ids (16 hex digits each) as (n,) uint64."""
    return np.fromiter((int(i, 16) for i in column.to_pylist()), np.uint64, len(column))


def to_doc_id(number: int) -> str:
    """Returns a number as a doc_id.

    >>> to_doc_id(255)
    '00000000000000ff'
    """
    return f"{number:016x}"

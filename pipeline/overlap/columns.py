"""Columns of hashes between Arrow tables and numpy: plain ones, and lists of different lengths.

What only the next step reads lies in Arrow files (`.arrow`): hashes don't compress, and such a file
is mapped, not parsed. Writing and reading 10^6 pairs takes 8 ms so, 210 ms as zstd Parquet.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.overlap.words import Hashes
from pipeline.store.shards import ShardDraft

HASH = pa.uint64()
HASHES = pa.list_(pa.uint64())
ARROW = ".arrow"

Columns = Mapping[str, npt.NDArray[Any] | pa.Array]


def write(draft: ShardDraft, name: str, columns: Columns) -> None:
    """Writes one Arrow file of a shard, one record batch, not compressed."""
    table = pa.table(dict(columns))
    with pa.OSFile(str(draft.path(name)), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table)


def read(paths: Sequence[Path], columns: Sequence[str] | None = None) -> pa.Table:
    """Returns the rows of several Arrow or Parquet files, one after the other."""
    return pa.concat_tables([_read(path, columns) for path in paths]).combine_chunks()


def read_numbered(paths: Sequence[Path]) -> pa.Table:
    """Returns the rows of several files with the number of the file as column `source`."""
    tables = [_read(path, None) for path in paths]
    sources = np.repeat(np.arange(len(tables)), [table.num_rows for table in tables])
    return pa.concat_tables(tables).combine_chunks().append_column("source", pa.array(sources))


def named(paths: Sequence[Path], prefix: str) -> list[Path]:
    """Returns the files of one kind among the inputs of a task, in their order."""
    return [path for path in paths if path.name.startswith(prefix)]


def _read(path: Path, columns: Sequence[str] | None) -> pa.Table:
    if path.suffix != ARROW:
        return pq.read_table(path, columns=columns)
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    return table if columns is None else table.select(columns)


def partition_of(keys: Hashes, n_partitions: int) -> npt.NDArray[np.int64]:
    """Returns the partition of each key: equal ranges of its upper 32 bits."""
    upper = keys >> np.uint64(32)
    return (upper * np.uint64(n_partitions) >> np.uint64(32)).astype(np.int64)


def split(owners: npt.NDArray[np.int64], n: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yields (owner, its rows in order) for owners 0 .. n - 1; some may have none.

    >>> [(o, rows.tolist()) for o, rows in split(np.array([1, 0, 1]), 3)]
    [(0, [1]), (1, [0, 2]), (2, [])]
    """
    order = np.argsort(owners, kind="stable")
    bounds = np.searchsorted(owners[order], np.arange(n + 1))
    for owner, (start, end) in enumerate(pairwise(bounds.tolist())):
        yield owner, order[start:end]


def spread(draft: ShardDraft, prefix: str, owners: Any, n: int, columns: Columns) -> None:
    """Writes one file `<prefix>-<owner>.arrow` per owner with the rows that are its own.

    Args:
        draft: Where to write.
        prefix: Of the names.
        owners: (n_rows,) int64 in 0 .. n - 1.
        n: How many files to write, empty ones included.
        columns: (n_rows,) each.
    """
    for owner, rows in split(owners, n):
        write(draft, owned(prefix, owner), {name: of[rows] for name, of in columns.items()})


def owned(prefix: str, owner: int) -> str:
    """Returns the name of the file that belongs to one partition or shard.

    >>> owned("bands", 3)
    'bands-00003.arrow'
    """
    return f"{prefix}-{owner:05d}{ARROW}"


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

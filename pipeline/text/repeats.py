"""Several rows with one document id in different shards: which one counts.

    source 0 ─> keys by id range ─┬─> range 0: the best of each id ─┬─> rows of source 0 that lost
    source 1 ─> keys by id range ─┴─> range 1: the best of each id ─┴─> rows of source 1 that lost

Decisions:
- The best row is one of the sources that come first (pages before a user's documents), then the
  latest, then the longest, then the first; never the one that was read first.
- Memory is one range of ids; there is one range per 64 sources.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import intermediate
from pipeline.engine.tasks import Engine
from pipeline.store.shards import Shard, ShardDraft

# `row`: what its source calls the row; `date`: sorts like time.
KEYS = pa.schema(
    [("doc_id", pa.string()), ("date", pa.string()), ("n_bytes", pa.int64()), ("row", pa.int64())]
)

_SOURCES_PER_RANGE = 64


def lost(
    name: str,
    code: str,
    sources: Sequence[Path],
    keys: Callable[[Path], pa.Table],
    n_first: int,
    engine: Engine,
) -> list[tuple[Path, ...]]:
    """Returns for each source the files with rows of it that another row supersedes.

    Args:
        name: The step, from which the names of the two steps here are made.
        code: The module that holds `keys`.
        sources: Files whose rows have ids.
        keys: Module-level function from a source to a table of `KEYS`.
        n_first: How many sources come first whatever their dates.
        engine: Where tasks run.
    """
    if not sources:
        return []
    n_ranges = -(-len(sources) // _SOURCES_PER_RANGE)
    step = Step(name=f"{name}-keys", code=code, config={"n_ranges": n_ranges})
    work = partial(scatter, keys=keys, n_ranges=n_ranges)
    keyed = intermediate(step, [(path,) for path in sources], work, engine).shards
    step = Step(name=f"{name}-repeats", code=__name__, config={"n_first": n_first})
    tasks = [[shard.path(_range_name(i)) for shard in keyed] for i in range(n_ranges)]
    judged = intermediate(step, tasks, partial(judge, n_first=n_first), engine).shards
    return [_of_source(judged, i) for i in range(len(sources))]


def read(files: Sequence[Path]) -> set[int]:
    """Returns the rows that lost, from the files that `lost` gave for a source."""
    return {row for path in files for row in pq.read_table(path)["row"].to_pylist()}


def _of_source(judged: Sequence[Shard], source: int) -> tuple[Path, ...]:
    name = f"lost-{source:05d}.parquet"
    return tuple(shard.path(name) for shard in judged if name in shard.files)


def _range_name(number: int) -> str:
    return f"range-{number:05d}.parquet"


def scatter(
    inputs: tuple[Path, ...],
    draft: ShardDraft,
    *,
    keys: Callable[[Path], pa.Table],
    n_ranges: int,
) -> None:
    """Writes one source's keys by range of ids."""
    table = keys(inputs[0])
    draft.count_in(table.num_rows)
    draft.count_out(table.num_rows)
    ids = table["doc_id"].to_pylist()
    owners = pa.array([int(i[:8], 16) * n_ranges >> 32 for i in ids], pa.int64())
    for number in range(n_ranges):
        mine = table.filter(pc.equal(owners, number))
        draft.write_table(_range_name(number), mine)


def judge(inputs: tuple[Path, ...], draft: ShardDraft, *, n_first: int) -> None:
    """Writes the rows of each source that are not the best of their id."""
    tables = [_numbered(path, i, n_first) for i, path in enumerate(inputs)]
    rows = pa.concat_tables(tables).sort_by(
        [
            ("doc_id", "ascending"),
            ("is_later", "ascending"),
            ("date", "descending"),
            ("n_bytes", "descending"),
            ("source", "ascending"),
            ("row", "ascending"),
        ]
    )
    draft.count_in(rows.num_rows)
    draft.count_out(rows.num_rows)
    if rows.num_rows < 2:
        return
    ids = rows["doc_id"].combine_chunks()
    repeated = rows.slice(1).filter(pc.equal(ids.slice(1), ids.slice(0, len(ids) - 1)))
    for source in pc.unique(repeated["source"]).to_pylist():
        mine = repeated.filter(pc.equal(repeated["source"], source)).sort_by("row")
        draft.write_table(f"lost-{source:05d}.parquet", mine.select(["doc_id", "row"]))


def _numbered(path: Path, source: int, n_first: int) -> pa.Table:
    table = pq.read_table(path, schema=KEYS, partitioning=None)
    n = table.num_rows
    table = table.append_column("source", pa.repeat(pa.scalar(source, pa.int32()), n))
    return table.append_column("is_later", pa.repeat(pa.scalar(source >= n_first), n))

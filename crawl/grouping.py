"""One partition of the exchange becomes links: rows sorted, cut into groups, columns all along.

    doc_id created id  score         link     max_score  submissions
    1a     100     x   4      ─┐
    1a     120     y   9      ─┼──>  1a       9          [x 4, y 9]      `y` is also a `repeat`
    2c     110     z   3      ────>  2c       3          [z 3]

Decisions:
- A link's URL and host are those of its earliest submission; ties are broken by every column, so
  that no order of the input shows.
- A submission that several dumps hold counts once, at its highest score.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store import records
from pipeline.store.errors import ShardError

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]

EXCHANGE = pa.schema(
    [
        ("doc_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("url", pa.string()),
        ("key", pa.string()),
        ("host", pa.string()),
        ("domain", pa.string()),
        ("created_utc", pa.int64()),
        ("score", pa.int32()),
        ("submission_id", pa.string()),
        ("subreddit", pa.string()),
    ]
)
_STAGE = "links"
_OLDEST_FIRST = ("doc_id", "created_utc", "submission_id", "url", "score", "subreddit")


class Read(NamedTuple):
    """A partition as it was scattered: links (columns of EXCHANGE) and drops (of DECISIONS)."""

    links: pa.Table
    drops: pa.Table


class Grouped(NamedTuple):
    """A partition's links (columns of LINKS), and what was dropped on the way."""

    links: pa.Table
    drops: pa.Table
    n_submissions: int


def read(paths: Iterable[Path]) -> Read:
    """Reads buckets; drops are reduced to what is kept of them batch by batch."""
    links, drops = [EXCHANGE.empty_table()], [records.DECISIONS.empty_table()]
    for path in paths:
        with pa.memory_map(str(path)) as file:
            for batch in pa.ipc.open_stream(file):
                table = pa.Table.from_batches([batch])
                is_link = pc.is_null(table["reason"])
                links.append(table.filter(is_link))
                dropped = table.filter(pc.invert(is_link))
                drops.append(
                    _drops(dropped["doc_id"], dropped["reason"], dropped["detail"], dropped["url"])
                )
    return Read(pa.concat_tables(links), pa.concat_tables(drops))


def _drops(
    doc_ids: pa.ChunkedArray,
    reasons: pa.ChunkedArray | str,
    details: pa.ChunkedArray,
    shown: pa.ChunkedArray | str = "",
) -> pa.Table:
    n_rows = len(doc_ids)
    columns = [
        doc_ids,
        pa.repeat(_STAGE, n_rows),
        pa.repeat(reasons, n_rows) if isinstance(reasons, str) else reasons,
        details,
        pa.repeat(shown, n_rows) if isinstance(shown, str) else _excerpts(shown),
    ]
    return pa.Table.from_arrays(columns, schema=records.DECISIONS)


def _excerpts(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_slice_codeunits(pc.fill_null(texts, ""), 0, records.EXCERPT_CHARS)


def group(rows: pa.Table, min_score: int | None) -> Grouped:
    """Returns one row per link.

    Args:
        rows: Columns of EXCHANGE, none dropped.
        min_score: Least sum of a link's scores; None where each submission was judged alone. Links
            with a submission whose score is unknown are not judged by it.

    Raises:
        ShardError: If two keys have the same id.
    """
    rows = rows.sort_by([(name, "ascending") for name in _OLDEST_FIRST])
    is_first = _is_new(rows["doc_id"])
    _check_keys(rows, is_first)
    starts = np.flatnonzero(is_first)
    groups = np.cumsum(is_first) - 1
    best = _distinct(rows, groups)
    is_kept = np.ones(len(starts), dtype=bool)
    sums = np.zeros(len(starts), dtype=np.int64)
    if min_score is not None:
        sums, is_known = _sums(rows, groups, best)
        is_kept = (sums >= min_score) | ~is_known
    best = best[is_kept[groups[best]]]
    links = _links(rows, starts, groups, best).filter(pa.array(is_kept))
    is_repeat = ~is_first & is_kept[groups]
    drops = pa.concat_tables([_low(rows, groups, sums, is_kept), _repeats(rows, is_repeat)])
    return Grouped(links, drops, len(best))


def _is_new(values: pa.ChunkedArray) -> Flags:
    """Returns which values differ from the one before."""
    found = np.ones(len(values), dtype=bool)
    if len(values) > 1:
        found[1:] = pc.not_equal(values.slice(1), values.slice(0, len(values) - 1)).to_numpy()
    return found


def _check_keys(rows: pa.Table, is_first: Flags) -> None:
    clashes = np.flatnonzero(_is_new(rows["key"]) & ~is_first)
    if len(clashes):
        i = int(clashes[0])
        first, second = rows["key"][i - 1].as_py(), rows["key"][i].as_py()
        raise ShardError(
            f"id {rows['doc_id'][i].as_py()} stands for {first} and {second}; remove one of "
            "the two from the input and report the pair, no run has met one before"
        )


def _distinct(rows: pa.Table, groups: Ints) -> Ints:
    """Returns the row of each submission at its highest score, in order of first appearance."""
    names = rows["submission_id"]
    codes = names.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    named = np.flatnonzero(pc.not_equal(names, "").to_numpy())
    if not len(named):
        return named
    scores = _scores(rows)[named]
    order = named[np.lexsort((named, -scores, codes[named], groups[named]))]
    pairs = np.stack([groups[order], codes[order]])
    starts = np.flatnonzero(np.r_[True, (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)])
    appeared = np.minimum.reduceat(order, starts)
    return order[starts][np.argsort(appeared)]


def _scores(rows: pa.Table) -> Ints:
    return pc.fill_null(rows["score"], 0).to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _sums(rows: pa.Table, groups: Ints, best: Ints) -> tuple[Ints, Flags]:
    """Returns the sum of each group's scores, each submission once, and whether all are known."""
    nameless = np.flatnonzero(pc.equal(rows["submission_id"], "").to_numpy())
    counted = np.concatenate([best, nameless])
    n_groups = int(groups[-1]) + 1 if len(groups) else 0
    sums = np.zeros(n_groups, dtype=np.int64)
    np.add.at(sums, groups[counted], _scores(rows)[counted])
    is_known = np.ones(n_groups, dtype=bool)
    is_known[groups[pc.is_null(rows["score"]).to_numpy()]] = False
    return sums, is_known


def _links(rows: pa.Table, starts: Ints, groups: Ints, best: Ints) -> pa.Table:
    firsts = rows.take(pa.array(starts))
    named = rows.take(pa.array(best))
    n_each = np.bincount(groups[best], minlength=len(starts))
    offsets = np.concatenate([[0], np.cumsum(n_each)]).astype(np.int32)
    fields = list(records.LINKS.field("submissions").type.value_type)
    structs = pa.StructArray.from_arrays(
        [named[field.name].combine_chunks() for field in fields], fields=fields
    )
    columns = {name: firsts[name] for name in ("doc_id", "url", "key", "host", "domain")}
    columns["created_utc"] = pc.fill_null(firsts["created_utc"], 0)
    most = np.maximum.reduceat(_scores(rows), starts) if len(starts) else np.zeros(0)
    columns["max_score"] = pa.array(most.astype(np.int32))
    columns["submissions"] = pa.ListArray.from_arrays(pa.array(offsets), structs)
    ordered = [columns[name] for name in records.LINKS.names]
    return pa.Table.from_arrays(ordered, schema=records.LINKS).combine_chunks()


def _low(rows: pa.Table, groups: Ints, sums: Ints, is_kept: Flags) -> pa.Table:
    low = np.flatnonzero(~is_kept[groups])
    told = pc.binary_join_element_wise(
        "score", "of", "url", pa.array(sums[groups[low]]).cast(pa.string()), " "
    )
    return _drops(rows["doc_id"].take(pa.array(low)), "low_score", pa.chunked_array([told]))


def _repeats(rows: pa.Table, is_repeat: Flags) -> pa.Table:
    again = rows.take(pa.array(np.flatnonzero(is_repeat)))
    return _drops(again["doc_id"], "repeat", again["submission_id"])

"""Dedup, step 2 (one task per partition): texts that share a band key, and who must bring them.

Task p reads file p of every shard and so sees all texts whose keys fall into its range. The texts
under one key are a group; they will be verified where the group's *unit* lives, the least text of
it, so that a pair that shares six bands in six partitions meets in one place, once.

    groups-<q>.arrow   unit, first, content: the groups of units in partition q, one text per row
    wanted-<s>.arrow   content, partition, brings: texts that shard s holds, where they must go, and
                       whether this shard brings the text or only names its document

A group is as long as its bucket; no list of pairs is ever written. A bucket of more than `_MEETING`
texts is cut into slices, each led by the same few texts, so that no task needs more memory than a
slice however many copies of a page there are.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.overlap import columns
from pipeline.overlap.columns import partition_of
from pipeline.overlap.signatures import BANDS, IDS
from pipeline.overlap.words import Hashes, is_new, mix
from pipeline.store.errors import ShardError
from pipeline.store.shards import ShardDraft

GROUPS, WANTED = "groups", "wanted"

_MEETING = 4096  # texts verified together; their shingles are some 10 MB
_LEADERS = 16  # first of these that is like a text joins it to the others of its kind

Rows = npt.NDArray[np.int64]


class Groups(NamedTuple):
    """Groups of texts, one after the other.

    Attributes:
        unit: (n_rows,) uint64, where a row's group is verified.
        first: (n_rows,) bool, where a group begins.
        content: (n_rows,) uint64, the texts, ascending in each group.
    """

    unit: Hashes
    first: npt.NDArray[np.bool_]
    content: Hashes


def write(inputs: tuple[Path, ...], draft: ShardDraft, partitions: int) -> None:
    """Writes the groups of one partition.

    Args:
        inputs: `ids-<p>` of all shards, and `bands-<p>` of all shards in order.
        draft: Where to write.
        partitions: Of the verification.

    Raises:
        ShardError: If one doc_id has two rows.
    """
    _check_ids(columns.read(columns.named(inputs, IDS))["doc"].to_numpy())
    paths = columns.named(inputs, BANDS)
    bands = repeated(columns.read_numbered(paths))
    keys, contents = (bands[name].to_numpy() for name in ("key", "content"))
    groups, n_sliced = group_equal(keys, contents)
    homes = partition_of(groups.unit, partitions)
    columns.spread(draft, GROUPS, homes, partitions, groups._asdict())
    draft.tally("n_sliced_buckets", n_sliced)
    _write_wanted(groups.content, homes, bands, draft, len(paths))


def repeated(bands: pa.Table) -> pa.Table:
    """Returns the rows whose key occurs more than once, sorted by key, text and shard."""
    order = np.argsort(bands["key"].to_numpy())
    new = is_new(bands["key"].to_numpy()[order])
    alone = new & np.append(new[1:], np.ones(min(1, len(new)), np.bool_))
    some = bands.take(pa.array(order[~alone]))
    by = [some[name].to_numpy() for name in ("source", "content", "key")]
    return some.take(pa.array(np.lexsort(by)))


def group_equal(keys: Hashes, contents: Hashes) -> tuple[Groups, int]:
    """Returns the groups of two or more different texts under one key, and how many were sliced.

    Args:
        keys: (n,) uint64, ascending.
        contents: (n,) uint64, the text that has each key, ascending under each key; may repeat.

    >>> group_equal(np.uint64([7, 7, 7, 8, 9]), np.uint64([1, 1, 2, 1, 2]))[0].content
    array([1, 2], dtype=uint64)
    """
    fresh = is_new(keys) | is_new(contents)
    keys, contents = keys[fresh], contents[fresh]
    starts = np.flatnonzero(is_new(keys))
    sizes = np.diff(np.append(starts, len(keys)))
    grouped = np.repeat((sizes > 1) & (sizes <= _MEETING), sizes)
    first = is_new(keys)[grouped]
    mine = contents[grouped]
    least = np.repeat(mine[first], np.diff(np.append(np.flatnonzero(first), len(mine))))
    giant = np.flatnonzero(sizes > _MEETING)
    slices = [
        part
        for i in giant.tolist()
        for part in _slices(keys[starts[i]], contents[starts[i] : starts[i] + sizes[i]])
    ]
    parts = [Groups(least, first, mine), *slices]
    return Groups(*(np.concatenate(of) for of in zip(*parts, strict=True))), len(giant)


def _slices(key: np.uint64, contents: Hashes) -> list[Groups]:
    """Cuts a giant bucket; other bands cut the same texts otherwise, for the key mixes them."""
    mixed = contents[np.argsort(mix(contents ^ key), kind="stable")]
    leaders, others = mixed[:_LEADERS], mixed[_LEADERS:]
    n_slices = -(-len(others) // (_MEETING - _LEADERS))
    return [
        _group(np.append(leaders, part), part.min()) for part in np.array_split(others, n_slices)
    ]


def _group(contents: Hashes, unit: np.uint64) -> Groups:
    first = np.zeros(len(contents), np.bool_)
    first[0] = True
    return Groups(np.full(len(contents), unit), first, np.sort(contents))


def _write_wanted(
    contents: Hashes, homes: Rows, bands: pa.Table, draft: ShardDraft, n_shards: int
) -> None:
    """Tells every shard which of its texts must go where; the first that holds a text brings it."""
    order = np.lexsort((homes, contents))
    order = order[is_new(contents[order]) | is_new(homes[order])]
    contents, homes = contents[order], homes[order]
    held, holders = (bands[name].to_numpy() for name in ("content", "source"))
    by = np.lexsort((holders, held))
    by = by[is_new(held[by]) | is_new(holders[by])]
    held, holders = held[by], holders[by]
    starts = np.searchsorted(held, contents)
    sizes = np.searchsorted(held, contents, side="right") - starts
    row = np.repeat(np.arange(len(contents)), sizes)
    place = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    told = {"content": contents[row], "partition": homes[row], "brings": place == 0}
    columns.spread(draft, WANTED, holders[starts[row] + place], n_shards, told)


def _check_ids(docs: Hashes) -> None:
    ids = np.sort(docs)
    again = ids[1:][~is_new(ids)[1:]]
    if len(again):
        raise ShardError(
            f"doc_id {columns.to_doc_id(int(again[0]))} occurs in two rows of the input "
            f"({len(again)} such rows here); expected one row per document: remove data/clean and "
            "run `dvc repro clean`"
        )

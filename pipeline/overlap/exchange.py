"""Dedup, step 2 (one task per partition): texts that share a band key.

Task p reads file p of every shard and so sees all texts whose keys fall into its range. It writes
`groups.parquet`: the contents under one key, two or more of them, sorted, equal groups once. A
group is as long as its bucket; no list of pairs is ever written, so a bucket of n texts costs n.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.overlap import columns
from pipeline.overlap.words import Hashes, is_new
from pipeline.store.shards import ShardDraft

GROUPS = "groups.parquet"


def write(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Writes the groups of one partition."""
    bands = columns.read(inputs)
    groups = group_equal(bands["key"].to_numpy(), bands["content"].to_numpy())
    draft.write_table(GROUPS, pa.table({"contents": columns.from_lists(groups)}))
    draft.tally("n_buckets", len(groups))


def group_equal(keys: Hashes, members: Hashes) -> list[Hashes]:
    """Returns the distinct sets of two or more different members under one key, sorted.

    Args:
        keys: (n,) uint64.
        members: (n,) uint64, the member that has each key; a pair may repeat.

    >>> group_equal(np.uint64([7, 7, 8, 9, 9]), np.uint64([2, 1, 1, 2, 1]))
    [array([1, 2], dtype=uint64)]
    """
    order = np.lexsort((members, keys))
    keys, members = keys[order], members[order]
    new_key = is_new(keys)
    fresh = new_key | is_new(members)  # not the same (key, member) pair as the row before
    members, starts = members[fresh], np.flatnonzero(new_key[fresh])
    ends = np.append(starts[1:], len(members))
    long = ends - starts > 1
    spans = zip(starts[long], ends[long], strict=True)
    distinct = {members[start:end].tobytes(): members[start:end] for start, end in spans}
    return sorted(distinct.values(), key=lambda group: (len(group), group.tolist()))

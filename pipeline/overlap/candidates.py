"""Dedup, steps 3 and 4: bring the shingles of possible duplicates together.

    groups of all partitions ──> connected components of candidates ──> one partition each
                                             │
    step 3 (one task)   members-<shard>.parquet: whose shingles the shard must send, and where to
                        groups-<q>.parquet:      the groups whose members meet in partition q
    step 4 (map)        shingles-<q>.parquet:    the shingle sets of one shard for partition q

A component of candidates decides nothing: it is only the least set of texts that can be verified
without looking anywhere else. Each text is sent once, by the shard that holds its best document;
texts in no group, most of a corpus, are not read again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.overlap import cluster, columns, minhash
from pipeline.overlap.cluster import Nodes
from pipeline.overlap.exchange import GROUPS
from pipeline.overlap.signatures import DOCUMENTS
from pipeline.overlap.words import Hashes, is_new, mix
from pipeline.store.errors import ShardError
from pipeline.store.shards import ShardDraft

_MEMBERS = pa.schema(
    [
        ("row", pa.int64()),
        ("partition", pa.int64()),
        ("content", columns.HASH),
        ("doc", columns.HASH),
        ("created", pa.int64()),
        ("n_chars", pa.int64()),
    ]
)


def members_name(shard: int) -> str:
    """Returns the file name of the texts that one shard must send."""
    return f"members-{shard:05d}.parquet"


def groups_name(partition: int) -> str:
    """Returns the file name of the groups of one verification partition."""
    return f"groups-{partition:05d}.parquet"


def shingles_name(partition: int) -> str:
    """Returns the file name of the shingle sets for one verification partition."""
    return f"shingles-{partition:05d}.parquet"


def plan(inputs: tuple[Path, ...], draft: ShardDraft, partitions: int) -> None:
    """Writes who must send what where (step 3).

    Args:
        inputs: `documents.parquet` of each shard in order, then all `groups.parquet`.
        draft: Where to write.
        partitions: Of the verification.

    Raises:
        ShardError: If one doc_id has two rows, or two different texts have one content key.
    """
    paths = [path for path in inputs if path.name == DOCUMENTS]
    documents = read_documents(paths)
    check(documents)
    groups = columns.to_lists(columns.read([p for p in inputs if p.name == GROUPS])["contents"])
    distinct = sorted({group.tobytes(): group for group in groups}.values(), key=list)
    nodes, labels = label(distinct)
    homes = (mix(labels) % np.uint64(partitions)).astype(np.int64)
    _write_groups(distinct, nodes, homes, draft, partitions)
    _write_members(documents, nodes, homes, draft, len(paths))


def read_documents(paths: Sequence[Path]) -> pa.Table:
    """Returns the documents of all shards with their shard and their row in it."""
    tables = [columns.read([path]) for path in paths]
    sizes = [table.num_rows for table in tables]
    documents = pa.concat_tables(tables).combine_chunks()
    rows = np.concatenate([np.arange(n) for n in sizes])
    documents = documents.append_column("shard", pa.array(np.repeat(np.arange(len(sizes)), sizes)))
    return documents.append_column("row", pa.array(rows))


def best_first(documents: pa.Table, *groups: npt.NDArray[Any]) -> Nodes:
    """Returns the order by the given groups, and in each by who survives.

    The survivor of a cluster is the earliest submission (`created_utc`, unknown last), among those
    the longest text (characters), among those the least doc_id.
    """
    by = [documents[name].to_numpy() for name in ("doc", "n_chars", "created")]
    return np.lexsort((by[0], -by[1], by[2], *groups[::-1]))


def check(documents: pa.Table) -> None:
    """Raises ShardError for a repeated doc_id and for a collision of content keys."""
    ids = np.sort(documents["doc"].to_numpy())
    repeated = ids[1:][ids[1:] == ids[:-1]]
    if len(repeated):
        raise ShardError(
            f"doc_id {columns.to_doc_id(int(repeated[0]))} occurs in two rows of the input "
            f"({len(repeated)} such rows); dedup needs one row per document"
        )
    content, checks = (documents[name].to_numpy() for name in ("content", "check"))
    order = np.lexsort((checks, content))
    content, checks = content[order], checks[order]
    if np.any((content[1:] == content[:-1]) & (checks[1:] != checks[:-1])):
        raise ShardError(
            "two different texts have one 64-bit content key (chance 3e-6 in 10^7 texts); "
            "set another dedup.minhash.seed and run `dvc repro dedup`"
        )


def label(groups: Sequence[Hashes]) -> tuple[Hashes, Hashes]:
    """Returns the sorted contents of all groups, and for each the least content it hangs with."""
    flat = np.concatenate([*groups, np.empty(0, np.uint64)])
    nodes, index = np.unique(flat, return_inverse=True)
    sizes = np.array([len(group) for group in groups], np.int64)
    firsts = index[np.cumsum(sizes) - sizes]
    labels = cluster.components(len(nodes), np.repeat(firsts, sizes), index)
    return nodes, nodes[labels]


def _write_groups(
    groups: Sequence[Hashes], nodes: Hashes, homes: Nodes, draft: ShardDraft, n: int
) -> None:
    sent: list[list[Hashes]] = [[] for _ in range(n)]
    for group in groups:
        sent[homes[np.searchsorted(nodes, group[0])]].append(group)
    for partition, part in enumerate(sent):
        table = pa.table({"contents": columns.from_lists(part)})
        draft.write_table(groups_name(partition), table)
    draft.tally("n_candidate_groups", len(groups))
    draft.tally("n_candidate_texts", len(nodes))


def _write_members(
    documents: pa.Table, nodes: Hashes, homes: Nodes, draft: ShardDraft, n_shards: int
) -> None:
    content = documents["content"].to_numpy()
    order = best_first(documents, content)
    best = order[is_new(content[order])]
    place = np.searchsorted(nodes, content[best])
    known = place < len(nodes)
    known[known] = nodes[place[known]] == content[best][known]
    members = documents.take(pa.array(best[known]))
    members = members.append_column("partition", pa.array(homes[place[known]]))
    for shard in range(n_shards):
        mine = members.filter(pa.array(members["shard"].to_numpy() == shard))
        draft.write_table(members_name(shard), mine.select(_MEMBERS.names).cast(_MEMBERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What decides the bytes of step 4."""

    shingle_words: int
    partitions: int


def send(inputs: tuple[Path, ...], draft: ShardDraft, config: Sending) -> None:
    """Writes the shingle sets that one shard owes each partition (step 4).

    Args:
        inputs: A shard of `data/clean/` and its `members-<shard>.parquet`.
        draft: Where to write.
        config: Shingles and partitions.
    """
    shard, plan_ = inputs
    members = columns.read([plan_])
    texts = pq.read_table(shard, columns=["text"]).take(members["row"])["text"]
    sets = [minhash.shingles(text.as_py(), config.shingle_words) for text in texts]
    members = members.append_column("shingles", columns.from_lists(sets))
    for partition in range(config.partitions):
        mine = members.filter(pa.array(members["partition"].to_numpy() == partition))
        draft.write_table(shingles_name(partition), mine.drop_columns(["row", "partition"]))

"""Dedup, step 6 (one task per partition): the documents of every cluster, sent to one place.

    members-<r>.arrow   label, content, doc, created, n_chars, source: documents of clusters whose
                        least text lies in partition r
    near-<r>.arrow      label, content, center, jaccard: the similarities known among them

Documents of one text belong together, and so do texts that hang together. A text that is neither,
most of a corpus, goes nowhere.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.overlap import columns, components
from pipeline.overlap.columns import partition_of
from pipeline.overlap.signatures import TEXTS
from pipeline.overlap.verify import LINKS
from pipeline.overlap.words import Hashes, is_new
from pipeline.store.errors import ShardError
from pipeline.store.shards import ShardDraft

MEMBERS, NEAR = "members", "near"


def write(inputs: tuple[Path, ...], draft: ShardDraft, partitions: int) -> None:
    """Writes the members of clusters among the texts of one partition.

    Args:
        inputs: The partition's `texts` of all shards in order, its `edges` of the last round, and
            its `links`.
        draft: Where to write.
        partitions: How many there are.

    Raises:
        ShardError: If two different texts have one content key.
    """
    texts = columns.read_numbered(columns.named(inputs, TEXTS))
    texts = texts.sort_by([("content", "ascending"), ("doc", "ascending")])
    content = texts["content"].to_numpy()
    check(content, texts["check"].to_numpy())
    nodes, least = components.labels(*components.read(inputs))
    label = look_up(content, nodes, least)
    new = is_new(content)
    alone = new & np.append(new[1:], np.ones(min(1, len(new)), np.bool_))
    shared = ~alone | np.isin(content, nodes)
    rows = texts.filter(pa.array(shared)).drop_columns(["check"])
    told = {name: rows[name].to_numpy() for name in rows.column_names}
    told["label"] = label[shared]
    columns.spread(draft, MEMBERS, partition_of(told["label"], partitions), partitions, told)
    links = columns.read(columns.named(inputs, LINKS))
    told = {name: links[name].to_numpy() for name in links.column_names}
    told["label"] = look_up(told["content"], nodes, least)
    columns.spread(draft, NEAR, partition_of(told["label"], partitions), partitions, told)


def look_up(contents: Hashes, nodes: Hashes, least: Hashes) -> Hashes:
    """Returns the label of each text: the least one it hangs with, else itself."""
    labels = contents.copy()
    if len(nodes):
        place = np.minimum(np.searchsorted(nodes, contents), len(nodes) - 1)
        known = nodes[place] == contents
        labels[known] = least[place[known]]
    return labels


def check(content: Hashes, checks: Hashes) -> None:
    """Raises ShardError for a collision of content keys; `content` is ascending."""
    if np.any((content[1:] == content[:-1]) & (checks[1:] != checks[:-1])):
        raise ShardError(
            "two different texts have one 64-bit content key (chance 3e-6 in 10^7 texts); "
            "set another dedup.minhash.seed and run `dvc repro dedup`"
        )

"""What a run reads, written down beside its checkpoints: which document lies where in its stream.

A checkpoint outlives its tokens: once a document is removed and the corpus built again, the old
shards are gone. With this table the ledger still tells which steps and checkpoints saw it.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import shards
from pipeline.tokens.arrow import TokenShards

FILE = "documents.parquet"


def record(root: Path, tokens: TokenShards) -> None:
    """Writes `doc_id, start, n_tokens` of every document of the stream, unless it is there.

    Args:
        root: The folder of this run's identity; the identity covers the tokens.
        tokens: What the run reads.
    """
    target = root / FILE
    if target.is_file():
        return
    root.mkdir(parents=True, exist_ok=True)
    draft = root / f".{FILE}.tmp"
    shards.write_table(draft, tokens.documents())
    shards.sync(draft)
    draft.rename(target)


def read(root: Path) -> pa.Table | None:
    """Returns the table of a run, None where it was never written."""
    path = root / FILE
    return pq.read_table(path, partitioning=None) if path.is_file() else None


def documents_in(documents: pa.Table, windows: Iterable[int], n_ctx: int) -> dict[str, int]:
    """Returns how many tokens of each document some windows read, in the windows' order.

    A token that two windows share, as a target and as an input, counts twice.

    Args:
        documents: `doc_id, start, n_tokens` in stream order.
        windows: Their numbers.
        n_ctx: Tokens per window.
    """
    ids, starts = documents["doc_id"], documents["start"].to_numpy()
    ends = starts + documents["n_tokens"].to_numpy()
    found = Counter[str]()
    for window in windows:
        low = window * n_ctx
        high = low + n_ctx + 1
        row = int(np.searchsorted(starts, low, side="right")) - 1
        while row < len(starts) and starts[row] < high:
            found[ids[row].as_py()] += int(min(high, ends[row]) - max(low, starts[row]))
            row += 1
    return dict(found)

"""What a run reads, written down beside its checkpoints: which document lies where in its stream.

A checkpoint outlives its tokens: once a document is removed and the corpus built again, the old
shards are gone. With this table the ledger still tells which steps and checkpoints saw it.
"""

from pathlib import Path

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

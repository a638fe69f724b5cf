"""One digest of a corpus: the same for any number of files, partitions and workers.

    root = SHA-256 of the lines `<doc_id> <SHA-256 of the text, UTF-8>`, one per document, sorted

Decisions:
- Train and validation part together: which part a document is in follows from its id.
- Texts are digested in parallel, one task per file (kept in the shard store like any shard, so
  asking again reads no text); the lines are joined in slices of the id's range, so that memory
  stays flat and any sharding gives the same sequence.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import intermediate
from pipeline.engine.tasks import Engine
from pipeline.store import manifest
from pipeline.store.shards import ShardDraft

ROWS_PER_SLICE = 1_000_000  # about 150 MB

_DIGESTS = "digests.parquet"
_ROWS_AT_ONCE = 1024


def run(corpus: Path, engine: Engine) -> str:
    """Returns the root of a finished corpus folder.

    Args:
        corpus: Output of `decontaminate`.
        engine: Where texts are digested.

    Raises:
        ManifestError: If it is unfinished, or a file's bytes are not those that were written.
    """
    told = manifest.load(corpus, "decontaminate")
    files = [*told.paths("train"), *told.paths("valid")]
    step = Step(name="root", code=__name__, config=None, libraries=("pyarrow",))
    made = intermediate(step, [(path,) for path in files], write_digests, engine).shards
    return digest([shard.path(_DIGESTS) for shard in made])


def write_digests(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Writes `doc_id, sha256` of each document of one file."""
    rows = [(i, hashlib.sha256(t.encode()).hexdigest()) for i, t in _documents(inputs[0])]
    columns = [pa.array(list(c), pa.string()) for c in zip(*rows, strict=True)] or [[], []]
    schema = pa.schema([("doc_id", pa.string()), ("sha256", pa.string())])
    draft.write_table(_DIGESTS, pa.table(columns, schema=schema))


def _documents(path: Path) -> Iterator[tuple[str, str]]:
    for batch in pq.ParquetFile(path).iter_batches(_ROWS_AT_ONCE, columns=["doc_id", "text"]):
        yield from zip(*(batch.column(i).to_pylist() for i in range(2)), strict=True)


def digest(paths: Sequence[Path], rows_per_slice: int = ROWS_PER_SLICE) -> str:
    """Returns the root over files of `doc_id, sha256`.

    Args:
        paths: The files, in any order.
        rows_per_slice: Bounds the memory; the result does not depend on it.
    """
    source = ds.dataset([str(path) for path in paths], format="parquet")
    n = max(1, -(-source.count_rows() // rows_per_slice))
    edges = [f"{0x10000 * i // n:04x}" for i in range(n)] + ["g"]  # after any hex digit
    root = hashlib.sha256()
    for low, high in pairwise(edges):
        table = source.to_table(filter=(pc.field("doc_id") >= low) & (pc.field("doc_id") < high))
        table = table.sort_by([("doc_id", "ascending"), ("sha256", "ascending")])
        columns = (table[name].to_pylist() for name in ("doc_id", "sha256"))
        root.update("".join(f"{i} {s}\n" for i, s in zip(*columns, strict=True)).encode())
    return root.hexdigest()

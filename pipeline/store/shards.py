"""One shard: made in a temporary folder, described by a sidecar, kept by its fingerprint.

The shard store (`.shards/<step>/<fingerprint>/`) lies beside the outputs and is never an output:
DVC removes a stage's outputs before it runs, and what was finished must survive that. An output
folder holds hard links into the store (copies across file systems), so it is a plain folder of
plain files for DVC, rsync and people.

    draft tmp-…/          .shards/clean/<fingerprint>/     data/clean/
       part.parquet     ──>  part.parquet            ──>  part-00012.parquet
       decisions.parquet     decisions.parquet            decisions/part-00012.parquet
                             shard.json                   part-00012.json
          (sync, rename)                     (link)
"""

import hashlib
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.store import records
from pipeline.store.errors import ShardError

FORMAT_VERSION = 1
KEYS_VERSION = 2  # of `urls.canonical_key`, which decides what is one document
SIDECAR = "shard.json"

_ZSTD_LEVEL = 3  # 6 and 9 saved 2 and 3 % on 10 MB of prose here for 2x and 4x the time
_READ_BYTES = 1 << 20
_ROWS_AT_ONCE = 256


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Forces a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_bytes(data)
    sync(temporary)
    temporary.replace(path)


def to_json(value: Any) -> bytes:
    """Returns the one JSON form used for files: sorted keys, no NaN, final newline."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def write_table(path: Path, table: pa.Table) -> None:
    """Writes a Parquet file whose bytes depend on the table alone.

    Args:
        path: The file.
        table: Rows in their final order.
    """
    pq.write_table(
        table, path, compression="zstd", compression_level=_ZSTD_LEVEL, store_schema=False
    )


def read_batches(path: Path, columns: Sequence[str], n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yields a Parquet file's rows, at most `n_rows` at a time; memory is that of a batch.

    By itself pyarrow holds the compressed columns of a whole row group, which is a whole shard: 202
    instead of 88 MB for 300 MB of text.
    """
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES) as file:
        yield from file.iter_batches(batch_size=n_rows, columns=list(columns))


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yields each row's values in some columns; a few rows are in memory at a time."""
    for batch in read_batches(path, columns, _ROWS_AT_ONCE):
        yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What went in, what came out, what was dropped for which reason; it must add up."""

    n_in: int
    n_out: int
    dropped: dict[str, int]

    def check(self, where: str) -> None:
        """Raises ShardError unless n_in = n_out + sum(dropped)."""
        lost = self.n_in - self.n_out - sum(self.dropped.values())
        if lost:
            raise ShardError(
                f"{where}: {self.n_in} in, {self.n_out} out and {sum(self.dropped.values())} "
                f"dropped do not add up ({lost} unaccounted for); this is a bug in the step"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """Size and digest of one file of a shard."""

    n_bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A finished shard in the store."""

    step: str
    fingerprint: str
    folder: Path
    inputs: tuple[str, ...]
    counts: Counts
    tally: dict[str, int]
    files: dict[str, FileInfo]

    def path(self, name: str) -> Path:
        """Returns the place of one of its files, e.g. `bucket-00003.arrow`."""
        return self.folder / name

    def sidecar(self, index: int | None = None) -> dict[str, Any]:
        """Returns the sidecar's content."""
        described = {
            "format": FORMAT_VERSION,
            "step": self.step,
            "fingerprint": self.fingerprint,
            "inputs": list(self.inputs),
            "counts": counts_json(self.counts),
            "tally": self.tally,
            "files": {name: info_json(info) for name, info in self.files.items()},
        }
        return described if index is None else {**described, "index": index}


def counts_json(counts: Counts) -> dict[str, Any]:
    """Returns counts as plain JSON values."""
    return {"n_in": counts.n_in, "n_out": counts.n_out, "dropped": counts.dropped}


def info_json(info: FileInfo) -> dict[str, Any]:
    """Returns a file's description as plain JSON values."""
    return {"n_bytes": info.n_bytes, "sha256": info.sha256, "rows": info.rows}


class ShardDraft:
    """A shard in the making: a temporary folder, its counts, its decisions.

    A step's work function writes its files here and counts every document it sees. Nothing of it is
    visible to anyone until `commit`.
    """

    def __init__(self, step: str, store: Path) -> None:
        """Opens an empty draft.

        Args:
            step: The step's name, also the `stage` of its decisions.
            store: The shard store's folder of that step.
        """
        self.step = step
        self.folder = store / f"tmp-{os.getpid()}-{uuid.uuid4().hex}"
        self.folder.mkdir(parents=True)
        self._n_in = 0
        self._n_out = 0
        self._dropped: Counter[str] = Counter()
        self._tally: Counter[str] = Counter()
        self._decisions: list[dict[str, str]] = []
        self._decision_tables: list[pa.Table] = []
        self._rows: dict[str, int] = {}

    def path(self, name: str) -> Path:
        """Returns where a file of that name belongs, for writers that need a path."""
        return self.folder / name

    def write_table(self, name: str, table: pa.Table) -> None:
        """Writes one Parquet file; `part.parquet` is the shard's main one."""
        self._rows[name] = table.num_rows
        write_table(self.folder / name, table)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Writes one file as it is."""
        (self.folder / name).write_bytes(data)

    def count_in(self, n: int = 1) -> None:
        """Counts documents that were read."""
        self._n_in += n

    def count_out(self, n: int = 1) -> None:
        """Counts documents that go on."""
        self._n_out += n

    def count_dropped(self, reason: str, n: int = 1) -> None:
        """Counts drops that have no document to name, e.g. broken lines of a dump."""
        self._dropped[reason] += n

    def drop(self, doc_id: str, drop: records.Drop, excerpt: str = "") -> None:
        """Counts one dropped document and writes down why.

        Args:
            doc_id: Its id.
            drop: Reason and detail.
            excerpt: Its text, of which the beginning is kept for the report.
        """
        self._dropped[drop.reason] += 1
        self._decisions.append(
            {
                "doc_id": doc_id,
                "stage": self.step,
                "reason": drop.reason,
                "detail": drop.detail,
                "excerpt": records.excerpt(excerpt),
            }
        )

    def drop_all(self, drops: pa.Table) -> None:
        """Counts many dropped documents at once.

        Args:
            drops: Columns of `records.DECISIONS`.
        """
        for counted in pc.value_counts(drops["reason"]).to_pylist():
            self._dropped[counted["values"]] += counted["counts"]
        self._decision_tables.append(drops)

    def tally(self, key: str, n: int) -> None:
        """Adds to one of the step's own integer sums."""
        self._tally[key] += n

    def commit(self, fingerprint: str, inputs: tuple[str, ...]) -> Shard:
        """Makes the shard visible under its fingerprint: sync, then one rename.

        Args:
            fingerprint: Its identity.
            inputs: SHA-256 of each input file, in order.

        Returns:
            The finished shard; an equal one that another worker finished first wins.

        Raises:
            ShardError: If the counts do not add up.
        """
        self._write_decisions()
        shard = self._describe(fingerprint, inputs)
        shard.counts.check(f"{self.step} shard {fingerprint[:12]}")
        (self.folder / SIDECAR).write_bytes(to_json(shard.sidecar()))
        for path in [*self.folder.iterdir(), self.folder]:
            sync(path)
        try:
            self.folder.rename(shard.folder)
        except OSError:  # somebody else's equal shard, or a damaged one of ours, is in the way
            found = load(shard.folder)
            if found is None:
                discard(shard.folder)
                self.folder.rename(shard.folder)
            else:
                self.abandon()
                return found
        sync(shard.folder.parent)
        return shard

    def abandon(self) -> None:
        """Removes what was written so far."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_decisions(self) -> None:
        rows = sorted(self._decisions, key=lambda r: (r["doc_id"], r["reason"], r["detail"]))
        table = pa.Table.from_pylist(rows, records.DECISIONS)
        if self._decision_tables:
            order = [(name, "ascending") for name in ("doc_id", "reason", "detail", "excerpt")]
            table = pa.concat_tables([table, *self._decision_tables]).sort_by(order)
        self.write_table("decisions.parquet", table)

    def _describe(self, fingerprint: str, inputs: tuple[str, ...]) -> Shard:
        files = {
            path.name: FileInfo(
                n_bytes=path.stat().st_size,
                sha256=sha256_file(path),
                rows=self._rows.get(path.name, 0),
            )
            for path in sorted(self.folder.iterdir())
        }
        return Shard(
            step=self.step,
            fingerprint=fingerprint,
            folder=self.folder.parent / fingerprint,
            inputs=inputs,
            counts=Counts(
                n_in=self._n_in, n_out=self._n_out, dropped=dict(sorted(self._dropped.items()))
            ),
            tally=dict(sorted(self._tally.items())),
            files=files,
        )


def load(folder: Path) -> Shard | None:
    """Reads a finished shard back; None when it is absent or any of its bytes changed."""
    try:
        told = json.loads((folder / SIDECAR).read_bytes())
        if told["format"] != FORMAT_VERSION:
            return None
        shard = Shard(
            step=told["step"],
            fingerprint=told["fingerprint"],
            folder=folder,
            inputs=tuple(told["inputs"]),
            counts=Counts(**told["counts"]),
            tally=told["tally"],
            files={name: FileInfo(**info) for name, info in told["files"].items()},
        )
        intact = all(sha256_file(folder / n) == i.sha256 for n, i in shard.files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return shard if intact else None


def discard(folder: Path) -> None:
    """Removes a damaged shard in a way that a reader never sees half of it."""
    grave = folder.with_name(f"tmp-{uuid.uuid4().hex}")
    folder.rename(grave)
    shutil.rmtree(grave)


def linked_name(name: str, index: int) -> str:
    """Returns the place of a store file in an output folder.

    >>> linked_name("part.parquet", 12), linked_name("train.parquet", 3)
    ('part-00012.parquet', 'train/part-00003.parquet')
    """
    stem, _, extension = name.partition(".")
    file = f"part-{index:05d}.{extension}"
    return file if stem == "part" else f"{stem}/{file}"


def link(source: Path, target: Path) -> None:
    """Hard-links a file, or copies it where links across file systems do not exist."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

"""A partition's files in their places, sealed by sidecars; and whether they are there already."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from crawl import journal
from crawl.journal import Journal
from crawl.outcome import FETCHED
from pipeline.store import records, shards
from pipeline.store.errors import ShardError
from pipeline.store.shards import Counts, FileInfo, Shard

STEP = "crawl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One partition: what is to be fetched and where it goes.

    Attributes:
        index: Its number.
        links: Its part of `data/links/`.
        links_sha256: That file's digest.
        identity: What its outcome depends on.
        warc: Folder of WARC files, absolute.
        fetches: Folder of rows, absolute.
    """

    index: int
    links: Path
    links_sha256: str
    identity: str
    warc: Path
    fetches: Path

    @property
    def name(self) -> str:
        """The stem of its files."""
        return f"part-{self.index:05d}"

    @property
    def work(self) -> Path:
        """Where its journal is."""
        return self.warc / journal.FOLDER / self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A finished partition as both folders describe it, and whether it was there before."""

    warc: Shard
    fetches: Shard
    was_kept: bool


def load(job: Job) -> Sealed | None:
    """Returns a partition that an earlier run of the same identity finished, all bytes verified.

    One with links that were left for another run is not finished.
    """
    warc, fetches = _load(job, job.warc), _load(job, job.fetches)
    if warc is None or fetches is None or any(r in warc.counts.dropped for r in journal.LEFT):
        return None
    return Sealed(warc=warc, fetches=fetches, was_kept=True)


def _load(job: Job, folder: Path) -> Shard | None:
    try:
        told = json.loads((folder / f"{job.name}.json").read_bytes())
        if told["fingerprint"] != job.identity or told["format"] != shards.FORMAT_VERSION:
            return None
        files = {name: FileInfo(**info) for name, info in told["files"].items()}
        if any(shards.sha256_file(folder / n) != info.sha256 for n, info in files.items()):
            return None
        return _shard(job, folder, files, Counts(**told["counts"]), told["tally"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _shard(
    job: Job, folder: Path, files: dict[str, FileInfo], counts: Counts, tally: dict[str, int]
) -> Shard:
    return Shard(
        step=STEP,
        fingerprint=job.identity,
        folder=folder,
        inputs=(job.links_sha256,),
        counts=counts,
        tally=tally,
        files=files,
    )


def reopen(job: Job) -> None:
    """Takes back a WARC that was in place when its run was killed, and removes what is stale."""
    final = job.warc / f"{job.name}.warc.gz"
    if final.is_file() and journal.speaks_of(job.work, job.identity):
        final.rename(job.work / journal.WARC)
    for folder in (job.warc, job.fetches, job.fetches / "decisions"):
        for path in folder.glob(f"{job.name}.*"):
            path.unlink()


def seal(job: Job, opened: Journal, expected: set[str]) -> Sealed:
    """Puts a partition's files in place: all synced, sidecars last.

    Args:
        job: The partition.
        opened: Its journal, complete.
        expected: The ids of its links.

    Raises:
        ShardError: If the journal does not hold each link exactly once.
    """
    rows = sorted((entry.row for entry in opened.entries), key=lambda row: str(row["doc_id"]))
    if [row["doc_id"] for row in rows] != sorted(expected):
        raise ShardError(
            f"{job.work}: {len(rows)} rows for {len(expected)} links; remove the folder and run "
            "the same command again"
        )
    fetches = _place_fetches(job, rows)
    index = sorted(line for entry in opened.entries for line in entry.index)
    shards.write_atomic(job.warc / f"{job.name}.cdxj", "".join(f"{x}\n" for x in index).encode())
    shards.sync(opened.warc)
    opened.warc.rename(job.warc / f"{job.name}.warc.gz")
    files = {f"{job.name}.warc.gz": 0, f"{job.name}.cdxj": len(index)}
    warc = _describe(job, job.warc, files, rows)
    for shard in (warc, fetches):
        sidecar = shards.to_json(shard.sidecar(job.index))
        shards.write_atomic(shard.folder / f"{job.name}.json", sidecar)
    return Sealed(warc=warc, fetches=fetches, was_kept=False)


def _place_fetches(job: Job, rows: list[dict[str, Any]]) -> Shard:
    dropped = [
        {
            "doc_id": row["doc_id"],
            "stage": STEP,
            "reason": row["outcome"],
            "detail": row["detail"],
            "excerpt": row["url"],
        }
        for row in rows
        if row["outcome"] != FETCHED
    ]
    tables = {
        f"{job.name}.parquet": pa.Table.from_pylist(rows, records.FETCHES),
        f"decisions/{job.name}.parquet": pa.Table.from_pylist(dropped, records.DECISIONS),
    }
    (job.fetches / "decisions").mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        shards.write_table(job.fetches / name, table)
        shards.sync(job.fetches / name)
    files = {name: table.num_rows for name, table in tables.items()}
    return _describe(job, job.fetches, files, rows)


def _describe(job: Job, folder: Path, files: dict[str, int], rows: list[dict[str, Any]]) -> Shard:
    """Returns the description of files in place, given how many rows each has."""
    outcomes = Counter(row["outcome"] for row in rows)
    n_out = outcomes.pop(FETCHED, 0)
    counts = Counts(n_in=len(rows), n_out=n_out, dropped=dict(sorted(outcomes.items())))
    tally = {
        "n_redirects": sum(row["n_redirects"] for row in rows),
        "n_truncated": sum(row["truncated"] is not None for row in rows),
        "n_with_opt_outs": sum(bool(row["opt_outs"]) for row in rows),
        "wire_bytes": sum(row["wire_bytes"] for row in rows),
    }
    described = {
        name: FileInfo(
            n_bytes=(folder / name).stat().st_size,
            sha256=shards.sha256_file(folder / name),
            rows=n_rows,
        )
        for name, n_rows in files.items()
    }
    return _shard(job, folder, described, counts, tally)

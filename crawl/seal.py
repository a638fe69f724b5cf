"""A partition's files in their places, sealed by sidecars; and whether they are there already."""

import heapq
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TextIO

import pyarrow as pa
import pyarrow.compute as pc

from crawl import journal
from crawl.journal import Entry, Journal
from crawl.outcome import FETCHED, LEFT
from pipeline.store import manifest, records, shards
from pipeline.store.errors import ShardError
from pipeline.store.manifest import Manifest
from pipeline.store.shards import Counts, FileInfo, Shard

STEP = "crawl"
_RUN_LINES = 65_536  # 25 MB
_BATCH = 4096  # entries that are Python objects at a time, about 3 kB each


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One partition: what is to be fetched and where it goes.

    Attributes:
        step: Whose it is: `crawl`, or `recover`.
        index: Its number.
        links: Its part of `data/links/`.
        links_sha256: That file's digest.
        identity: What its outcome depends on.
        warc: Folder of WARC files, absolute.
        fetches: Folder of rows, absolute.
    """

    step: str
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
    if warc is None or fetches is None or any(r in warc.counts.dropped for r in LEFT):
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
        step=job.step,
        fingerprint=job.identity,
        folder=folder,
        inputs=(job.links_sha256,),
        counts=counts,
        tally=tally,
        files=files,
    )


def reopen(job: Job) -> None:
    """Takes back WARCs that were in place when their run was killed, and removes what is stale."""
    if journal.speaks_of(job.work, job.identity):
        for final in job.warc.glob(f"{job.name}*.warc.gz"):
            final.rename(job.work / final.name.replace(job.name, "part", 1))
    for folder in (job.warc, job.fetches, job.fetches / "decisions"):
        for path in folder.glob(f"{job.name}.*"):
            path.unlink()


def seal(job: Job, opened: Journal, expected: pa.Array) -> Sealed:
    """Puts a partition's files in place: all synced, sidecars last.

    Args:
        job: The partition.
        opened: Its journal, complete.
        expected: The ids of its links.

    Raises:
        ShardError: If the journal does not hold each link exactly once.
    """
    rows, lines = _gather(opened)
    if not rows["doc_id"].combine_chunks().equals(expected.take(pc.sort_indices(expected))):
        raise ShardError(
            f"{job.work}: {rows.num_rows} rows for {len(expected)} links; remove the folder and "
            "run the same command again"
        )
    fetches = _place_fetches(job, rows)
    n_lines = lines.write(job.warc / f"{job.name}.cdxj")
    files = {f"{job.name}.cdxj": n_lines}
    for volume, path in enumerate(opened.volumes()):
        name = journal.volume_name(job.name, volume)
        shards.sync(path)
        path.rename(job.warc / name)
        files[name] = 0
    warc = _describe(job, job.warc, files, rows)
    for shard in (warc, fetches):
        sidecar = shards.to_json(shard.sidecar(job.index))
        shards.write_atomic(shard.folder / f"{job.name}.json", sidecar)
    return Sealed(warc=warc, fetches=fetches, was_kept=False)


def _gather(opened: Journal) -> tuple[pa.Table, "_Lines"]:
    """Returns all rows by `doc_id`, as columns a tenth of objects; and all lines of the index."""
    rows, lines = [records.FETCHES.empty_table()], _Lines(opened.folder)
    for batch in _batched(opened.entries(), _BATCH):
        rows.append(pa.Table.from_pylist([entry.row for entry in batch], records.FETCHES))
        lines.add(line for entry in batch for line in entry.index)
    return pa.concat_tables(rows).sort_by("doc_id"), lines


class _Lines:
    """Lines to be sorted: runs of them on disk, merged when they are written; memory stays flat."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: list[str] = []
        self._runs: list[Path] = []

    def add(self, lines: Iterable[str]) -> None:
        """Takes lines in any order."""
        self._waiting.extend(f"{line}\n" for line in lines)
        if len(self._waiting) >= _RUN_LINES:
            self._runs.append(self._folder / f"index-{len(self._runs)}")
            with _open(self._runs[-1], "w") as file:
                file.writelines(sorted(self._waiting))
            self._waiting.clear()

    def write(self, path: Path) -> int:
        """Writes all lines in order, durably and at once; returns their number."""
        n_lines = 0
        temporary = self._folder / "index"
        with ExitStack() as opened, _open(temporary, "w") as file:
            runs = [opened.enter_context(_open(run, "r")) for run in self._runs]
            for line in heapq.merge(*runs, sorted(self._waiting)):
                file.write(line)
                n_lines += 1
        shards.sync(temporary)
        temporary.rename(path)
        for run in self._runs:
            run.unlink()
        return n_lines


def _open(path: Path, mode: Literal["r", "w"]) -> TextIO:
    return path.open(mode, encoding="utf-8", newline="\n")


def _batched(entries: Iterator[Entry], size: int) -> Iterator[list[Entry]]:
    """Yields lists of a size, the last one shorter."""
    while batch := list(islice(entries, size)):
        yield batch


def _place_fetches(job: Job, rows: pa.Table) -> Shard:
    dropped = rows.filter(pc.field("outcome") != FETCHED)
    told = [dropped[name] for name in ("doc_id", "outcome", "detail", "url")]
    stage = pa.array([job.step] * dropped.num_rows, pa.string())
    columns = [told[0], stage, *told[1:]]
    names = ["doc_id", "stage", "reason", "detail", "excerpt"]
    tables = {
        f"{job.name}.parquet": rows,
        f"decisions/{job.name}.parquet": pa.table(columns, names).cast(records.DECISIONS),
    }
    (job.fetches / "decisions").mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        shards.write_table(job.fetches / name, table)
        shards.sync(job.fetches / name)
    files = {name: table.num_rows for name, table in tables.items()}
    return _describe(job, job.fetches, files, rows)


def _describe(job: Job, folder: Path, files: dict[str, int], rows: pa.Table) -> Shard:
    """Returns the description of files in place, given how many rows each has."""
    counted = pc.value_counts(rows["outcome"]).to_pylist()
    outcomes = {each["values"]: each["counts"] for each in counted}
    n_out = outcomes.pop(FETCHED, 0)
    counts = Counts(n_in=rows.num_rows, n_out=n_out, dropped=dict(sorted(outcomes.items())))
    tally = {
        "n_redirects": _sum(rows["n_redirects"]),
        "n_truncated": rows.num_rows - rows["truncated"].null_count,
        "n_with_opt_outs": _sum(pc.greater(pc.list_value_length(rows["opt_outs"]), 0)),
        "wire_bytes": _sum(rows["wire_bytes"]),
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


def _sum(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)


def seal_folder(folder: Path, step: str, sealed: list[Shard]) -> Manifest:
    """Writes a folder's manifest and removes what belongs to no partition of this crawl."""
    files: dict[str, FileInfo] = {}
    for index, shard in enumerate(sealed):
        sidecar = folder / f"part-{index:05d}.json"
        files |= shard.files
        files[sidecar.name] = FileInfo(
            n_bytes=sidecar.stat().st_size, sha256=shards.sha256_file(sidecar), rows=0
        )
    for path in folder.rglob("part-*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in files and not name.startswith(journal.FOLDER):
            path.unlink()
    counts, tally = manifest.total(sealed)
    return manifest.write(folder, step, files, counts, tally, len(sealed))

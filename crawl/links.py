"""Submissions become links: one row per URL with everything that was submitted of it.

    RS_2017-10.zst ─> judge ─┬─> bucket 0 ─┐
    RS_2017-11.zst ─> judge ─┼─> bucket 1 ─┼─> group by key ─> data/links/part-00001.parquet
    urls.txt       ─> judge ─┴─> bucket 2 ─┘

Decisions:
- Links go to buckets by registered domain, so a partition of the crawl owns its hosts alone.
- What is dropped travels along, by its own id (half of Reddit's posts point at one domain, its
  own): every line of every dump is counted once.
- A link is the same link by its canonical key; what is fetched later is the URL of its earliest
  submission, unchanged. Neither order nor cut of the input files decides anything.
- The exchange is Arrow streams, not Parquet: a Parquet writer keeps a description of each of its
  row groups until it closes, a stream keeps nothing, so memory doesn't grow with the dump.
- A partition is grouped as columns and has to fit into memory: 190 bytes for a kept submission, 60
  for a dropped line, twice that while it is sorted. More partitions make smaller ones.
"""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crawl import grouping, sources
from crawl.dump import Line
from crawl.grouping import EXCHANGE
from crawl.rules import SELF_POST, Config, Rules
from pipeline.engine import elsewhere, shardmap
from pipeline.engine.identity import Step
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, shards, urls
from pipeline.store.records import Drop
from pipeline.store.shards import Shard, ShardDraft

_SHOWN = ("bad_url", "blocked_domain", "blocked_extension")  # whose URL is worth a look
_BUFFERED_ROWS = 32_768  # some 30 MB as Python objects

# A line of an input in the columns of EXCHANGE: a link, or what was dropped and why. Plain tuples
# of plain values are what the garbage collector forgets; named ones it walks again and again.
Row = tuple[str | int | None, ...]
_DOC_ID, _DOMAIN = (EXCHANGE.get_field_index(name) for name in ("doc_id", "domain"))
_NO_LINK = (None,) * (len(EXCHANGE) - 4)


def run(inputs: Path, output: Path, config: Config, engine: Engine) -> dict[str, Any]:
    """Makes `data/links/` from a folder of dumps and lists.

    Args:
        inputs: The folder; files that are neither dump nor list are left alone.
        output: Where the partitions go.
        config: The rules.
        engine: Where tasks run.

    Returns:
        Counts by reason and sums.

    Raises:
        FileNotFoundError: If there is nothing to read.
        ShardError: If an input is damaged or two keys share one id.
    """
    rules = {k: v for k, v in asdict(config).items() if k != "inputs"}
    libraries = ("ada-url", "msgspec", "publicsuffixlist", "xxhash", "pyarrow", "zstandard")
    scatter_step = Step(name="scatter", code=__name__, config=rules, libraries=libraries)
    scattered = shardmap.intermediate(
        scatter_step, [[path] for path in _files(inputs)], partial(scatter, config), engine
    )
    rule = {"score_per": config.score_per, "min_score": config.min_score}
    gather_step = Step(name="links", code=__name__, config=rule, libraries=("pyarrow", "numpy"))
    tasks = [_bucket_files(scattered.shards, p) for p in range(config.partitions)]
    made = shardmap.shard_map(gather_step, tasks, partial(gather, config), output, engine)
    return {"counts": shards.counts_json(made.counts), "tally": made.tally}


def folder(given: str, engine: Engine) -> Path:
    """Returns the folder to read; what an address (s3://, https://) holds is copied first.

    Raises:
        OSError: If an address cannot be read; see `remote.local`.
    """
    return elsewhere.place(
        given, lambda name: sources.is_input(Path(name)), "links.inputs", sources.FILES, engine
    )


def _files(inputs: Path) -> list[Path]:
    if (inputs / manifest.NAME).is_file():
        manifest.load(inputs, "demo")
    found = sorted(p for p in inputs.glob("*") if p.is_file() and sources.is_input(p))
    if not found:
        raise FileNotFoundError(
            f"{inputs} holds no {sources.FILES}; "
            "run `dvc repro demo`, or set links.inputs in params.yaml"
        )
    return found


def _bucket_name(number: int) -> str:
    return f"bucket-{number:05d}.arrow"


def _bucket_files(scattered: Iterable[Shard], number: int) -> list[Path]:
    name = _bucket_name(number)
    return [shard.path(name) for shard in scattered if name in shard.files]


def scatter(config: Config, inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Judges every line of one file and writes it to the bucket it belongs to."""
    (path,) = inputs
    rules = Rules(config)
    with Buckets(draft, config.partitions) as buckets, _collected_by_hand():
        buckets.write(map(row_of, sources.read(path), repeat(rules)))


@contextmanager
def _collected_by_hand() -> Iterator[None]:
    """Switches the search for cycles off; `Buckets` does it where few objects are left."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def row_of(line: Line, rules: Rules) -> Row:
    """Returns a line as a row of the exchange; a line without a URL has an id of its own."""
    data, entry = line
    if isinstance(entry, Drop):
        start = data[: records.EXCERPT_CHARS].decode("utf-8", "replace")
        return records.line_id(data), entry.reason, entry.detail, start, *_NO_LINK
    if entry.is_self:
        return records.line_id(data), *SELF_POST, None, *_NO_LINK
    url, drop = rules.judge(entry)
    key = urls.canonical_key(url) if url else ""
    doc_id = records.doc_id(key) if key else records.line_id(data)
    if drop is not None:
        reason, detail = drop
        shown = (url.href if url else entry.url) if reason in _SHOWN else None
        return doc_id, reason, detail, shown, *_NO_LINK
    assert url is not None  # what has no URL was dropped as `bad_url`
    domain = urls.registered_domain(urls.bare_host(url.host))
    told = entry.created_utc, entry.score, entry.submission_id, entry.subreddit
    return doc_id, None, None, url.href, key, url.host, domain, *told


class Buckets:
    """One Arrow stream per partition, written a little at a time: memory stays flat."""

    def __init__(self, draft: ShardDraft, n_buckets: int) -> None:
        """Opens no file before it has a row.

        Args:
            draft: The shard they belong to.
            n_buckets: How many there may be.
        """
        self._draft = draft
        self._n_buckets = n_buckets
        self._writers: dict[int, pa.RecordBatchStreamWriter] = {}

    def __enter__(self) -> "Buckets":
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()

    def write(self, rows: Iterable[Row]) -> None:
        """Writes each row to the bucket of its domain, or of its id where it is no link."""
        waiting = iter(rows)
        while self._write(list(islice(waiting, _BUFFERED_ROWS))):
            gc.collect(1)

    def _write(self, rows: list[Row]) -> int:
        if not rows:
            return 0
        owners = [str(row[_DOMAIN] or row[_DOC_ID]) for row in rows]
        numbers = records.partitions(owners, self._n_buckets)
        order = np.argsort(numbers, kind="stable")
        columns = zip(*map(rows.__getitem__, order.tolist()), strict=True)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, EXCHANGE, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, schema=EXCHANGE)
        present, starts, counts = np.unique(numbers[order], return_index=True, return_counts=True)
        for number, start, n_rows in zip(present, starts, counts, strict=True):
            self._writer(int(number)).write_batch(batch.slice(start, n_rows))
        self._draft.count_in(len(rows))
        self._draft.count_out(len(rows))
        return len(rows)

    def _writer(self, number: int) -> pa.RecordBatchStreamWriter:
        if number not in self._writers:
            path, options = self._draft.path(_bucket_name(number)), pa.ipc.IpcWriteOptions
            self._writers[number] = pa.ipc.new_stream(
                str(path), EXCHANGE, options=options(compression="lz4")
            )
        return self._writers[number]


def gather(config: Config, inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Groups one partition's submissions by canonical key, whatever file they came from.

    Raises:
        ShardError: If two keys have the same id.
    """
    found = grouping.read(inputs)
    draft.count_in(found.links.num_rows + found.drops.num_rows)
    draft.drop_all(found.drops)
    min_score = config.min_score if config.score_per == "url" else None
    grouped = grouping.group(found.links, min_score)
    draft.drop_all(grouped.drops)
    draft.count_out(grouped.links.num_rows)
    draft.tally("n_submissions", grouped.n_submissions)
    draft.tally("n_hosts", len(grouped.links["host"].unique()))
    draft.tally("n_domains", len(grouped.links["domain"].unique()))
    draft.write_table("part.parquet", grouped.links)

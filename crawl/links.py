"""Submissions become links: one row per URL with everything that was submitted of it.

    RS_2017-10.zst ─> judge ─┬─> bucket 0 ─┐
    RS_2017-11.zst ─> judge ─┼─> bucket 1 ─┼─> group by key ─> data/links/part-00001.parquet
    urls.txt       ─> judge ─┴─> bucket 2 ─┘

Decisions:
- Links go to buckets by registered domain, so a partition of the crawl owns its hosts alone.
- What is dropped travels along, by its own id (half of Reddit's posts point at one domain, its
  own): every line of every dump is counted once.
- A link is the same link by its canonical key; what is fetched later is the URL of its earliest
  submission, unchanged. The order of the input files decides nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crawl import dump
from crawl.rules import Config, Judged, Rules
from pipeline.engine import shardmap
from pipeline.engine.identity import Step
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, shards, urls
from pipeline.store.errors import ShardError
from pipeline.store.records import Drop
from pipeline.store.shards import Shard, ShardDraft

_SHOWN = ("bad_url", "blocked_domain", "blocked_extension")  # whose URL is worth a look
_BUFFERED_ROWS = 50_000  # some 50 MB as Python objects

EXCHANGE = pa.schema(
    [
        ("doc_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("url", pa.string()),
        ("key", pa.string()),
        ("host", pa.string()),
        ("domain", pa.string()),
        ("created_utc", pa.int64()),
        ("score", pa.int32()),
        ("submission_id", pa.string()),
        ("subreddit", pa.string()),
    ]
)


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
    libraries = ("ada-url", "tldextract", "xxhash", "pyarrow", "zstandard")
    scatter_step = Step(name="scatter", code=__name__, config=rules, libraries=libraries)
    scattered = shardmap.intermediate(
        scatter_step, [[path] for path in _files(inputs)], partial(scatter, config), engine
    )
    gather_step = Step(name="links", code=__name__, config={}, libraries=("pyarrow",))
    tasks = [_bucket_files(scattered.shards, p) for p in range(config.partitions)]
    made = shardmap.shard_map(gather_step, tasks, gather, output, engine)
    return {"counts": shards.counts_json(made.counts), "tally": made.tally}


def _files(inputs: Path) -> list[Path]:
    if (inputs / manifest.NAME).is_file():
        manifest.load(inputs, "demo")
    found = sorted(p for p in inputs.glob("*") if p.is_file() and dump.is_input(p))
    if not found:
        raise FileNotFoundError(
            f"{inputs} holds no dump (RS_*, .ndjson, .jsonl) and no list (.txt, .csv), plain or "
            "packed; run `dvc repro demo` or set links.inputs in params.yaml to your folder"
        )
    return found


def _bucket_name(number: int) -> str:
    return f"bucket-{number:05d}.parquet"


def _bucket_files(scattered: Iterable[Shard], number: int) -> list[Path]:
    name = _bucket_name(number)
    return [shard.path(name) for shard in scattered if name in shard.files]


def scatter(config: Config, inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Judges every line of one file and writes it to the bucket it belongs to."""
    (path,) = inputs
    rules, origin = Rules(config), shards.sha256_file(path)
    with Buckets(draft, config.partitions) as buckets:
        for line in dump.read(path):
            draft.count_in()
            row = row_of(line, rules, origin)
            owner = row["domain"] if row["reason"] is None else row["doc_id"]
            buckets.add(records.partition(owner, config.partitions), row)
            draft.count_out()


def row_of(line: dump.Line, rules: Rules, origin: str) -> dict[str, Any]:
    """Returns a line as a row of the exchange; a line without a URL has an id of its own."""
    row: dict[str, Any] = dict.fromkeys(EXCHANGE.names)
    entry = line.entry
    judged = Judged(None, entry) if isinstance(entry, Drop) else rules.judge(entry)
    if judged.drop is not None:
        row["reason"], row["detail"] = judged.drop
    if judged.url is not None:
        row["key"] = urls.canonical_key(judged.url)
        row["host"] = judged.url.host
        row["domain"] = _domain(row["key"])
    if not isinstance(entry, Drop):
        row["url"] = judged.url.href if judged.url else entry.url
        row["created_utc"], row["score"] = entry.created_utc, entry.score
        row["submission_id"], row["subreddit"] = entry.submission_id, entry.subreddit
    row["doc_id"] = records.doc_id(row["key"] or f"{origin} {line.number}")
    return row


def _domain(key: str) -> str:
    """Returns the registered domain of a key: equal keys must meet in one partition.

    >>> _domain("news.example.co.uk:8080/a"), _domain("host.invented?a=b")
    ('example.co.uk', 'host.invented')
    """
    authority = re.split(r"[/?#]", key, maxsplit=1)[0]
    return urls.registered_domain(re.sub(r":\d+$", "", authority))


class Buckets:
    """One Parquet file per partition, written a little at a time: memory stays flat."""

    def __init__(self, draft: ShardDraft, n_buckets: int) -> None:
        """Opens no file before it has a row.

        Args:
            draft: The shard they belong to.
            n_buckets: How many there may be.
        """
        self._draft = draft
        self._rows: list[list[dict[str, Any]]] = [[] for _ in range(n_buckets)]
        self._n_rows = 0
        self._writers: dict[int, pq.ParquetWriter] = {}

    def __enter__(self) -> "Buckets":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        for writer in self._writers.values():
            writer.close()

    def add(self, number: int, row: dict[str, Any]) -> None:
        """Adds one row to a bucket."""
        self._rows[number].append(row)
        self._n_rows += 1
        if self._n_rows >= _BUFFERED_ROWS:
            self._flush()

    def _flush(self) -> None:
        for number, rows in enumerate(self._rows):
            if rows:
                self._writer(number).write_table(pa.Table.from_pylist(rows, EXCHANGE))
                rows.clear()
        self._n_rows = 0

    def _writer(self, number: int) -> pq.ParquetWriter:
        if number not in self._writers:
            path = self._draft.path(_bucket_name(number))
            self._writers[number] = pq.ParquetWriter(
                path, EXCHANGE, compression="zstd", store_schema=False
            )
        return self._writers[number]


def gather(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Groups one partition's submissions by canonical key, whatever file they came from.

    Raises:
        ShardError: If two keys have the same id.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for path in inputs:
        for batch in pq.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                draft.count_in()
                if row["reason"] is None:
                    groups.setdefault(row["doc_id"], []).append(row)
                else:
                    shown = (row["url"] or "") if row["reason"] in _SHOWN else ""
                    draft.drop(row["doc_id"], Drop(row["reason"], row["detail"]), shown)
    links = [_link(groups[doc_id], draft) for doc_id in sorted(groups)]
    draft.count_out(len(links))
    draft.tally("n_submissions", sum(len(link["submissions"]) for link in links))
    draft.tally("n_hosts", len({link["host"] for link in links}))
    draft.tally("n_domains", len({link["domain"] for link in links}))
    draft.write_table("part.parquet", pa.Table.from_pylist(links, records.LINKS))


def _link(rows: list[dict[str, Any]], draft: ShardDraft) -> dict[str, Any]:
    """Returns the one row of a URL; its further submissions are counted as repeats."""
    rows.sort(key=_by_age)
    first = rows[0]
    for other in rows[1:]:
        if other["key"] != first["key"]:
            raise ShardError(
                f"id {first['doc_id']} stands for {first['key']} and {other['key']}; remove one of "
                "the two from the input and report the pair, no run has met one before"
            )
        draft.drop(first["doc_id"], Drop("repeat", other["submission_id"]))
    submissions = _distinct(rows)
    return {
        **{name: first[name] for name in ("doc_id", "url", "key", "host", "domain")},
        "created_utc": first["created_utc"] or 0,
        "max_score": max((row["score"] or 0 for row in rows), default=0),
        "submissions": submissions,
    }


def _by_age(row: dict[str, Any]) -> tuple[float, str, str, int]:
    created = row["created_utc"]
    unknown_last = float("inf") if created is None else created
    return (unknown_last, row["submission_id"], row["url"], -(row["score"] or 0))


def _distinct(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns submissions by age; one that several dumps hold counts once, at its highest score."""
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        identity = row["submission_id"]
        if identity and (row["score"] or 0) > best.setdefault(identity, row)["score"]:
            best[identity] = row
    names = ("submission_id", "subreddit", "score", "created_utc")
    return [{name: row[name] for name in names} for row in best.values()]

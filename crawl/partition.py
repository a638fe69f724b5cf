"""One partition's crawl: its hosts, its WARC file, its rows; what one Ray task does.

    data/links/part-00003.parquet ─┬─> worker: host a, link after link ─┐
                                   ├─> worker: host b ...               ├─> journal, WARC
                                   └─> worker: host c ...               ┘        │
                   data/warc/part-00003.{warc.gz,cdxj,json}, data/fetches/part-00003.* <─ at the end

Decisions:
- Hosts with most links start first: they take longest, whatever the others do.
- A link whose attempt fails goes to the end of its host's line.
- The order in the WARC is the order of arrival; all that follows is sorted by `doc_id`.
- Links wait as columns, 0.2 kB each, and become objects when their host's turn comes.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sized
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawl import journal, outcome, seal
from crawl.fetch import Client, Limits, Reach
from crawl.hosts import Pace
from crawl.journal import Journal
from crawl.leases import Leases, node_file
from crawl.outcome import Attempt, Link
from crawl.seal import Job, Sealed
from crawl.visit import Rules, Visit, Visitor
from pipeline.store import shards, warc
from pipeline.store.errors import ManifestError

_COLUMNS = ("doc_id", "url", "host", "created_utc")
_BATCH_ROWS = 1024  # links of a host that are Python objects at a time
_LONG_BYTES = 256 << 10  # as sent; 10 to 30 ms to inflate or deflate

_WARC_RULES = "https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/"

Item = TypeVar("Item")
Todo = TypeVar("Todo", bound=Sized)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every partition of a crawl shares.

    Attributes:
        rules: What decides outcomes.
        limits: What one request may cost.
        pace: How hard the crawl may push.
        user_agent: Names the crawler and whom to write to.
        captured_at: The WARC-Date of every record; "" is the real time.
        stop_after_s: When no further request begins, seconds after the beginning.
        max_warc_bytes: Size at which a WARC file is followed by the next one.
    """

    rules: Rules
    limits: Limits
    pace: Pace
    user_agent: str
    captured_at: str
    stop_after_s: float
    max_warc_bytes: int


def crawl(settings: Settings, reach: Reach | None, job: Job) -> Sealed:
    """Fetches what is left of a partition and puts its files in place.

    Args:
        settings: What all partitions share.
        reach: What may be fetched; None is nothing.
        job: The partition.

    Raises:
        ManifestError: If the links' bytes are not those that were written.
        ShardError: If another process works on it.
    """
    return finish(settings, job, partial(_read_links, job.links), partial(_fetch, settings, reach))


def finish(
    settings: Settings,
    job: Job,
    read: Callable[[set[str]], tuple[pa.Array, Todo]],
    work: Callable[[Job, Todo, Journal], None],
) -> Sealed:
    """Does what is left of a partition and puts its files in place; a finished one is kept.

    Args:
        settings: What all partitions share.
        job: The partition.
        read: Given the ids of what is done, returns the ids of all links, and what is left to do.
        work: Does that and writes it to the journal.

    Raises:
        ManifestError: If the links' bytes are not those that were written.
        ShardError: If another process works on it.
    """
    if shards.sha256_file(job.links) != job.links_sha256:
        raise ManifestError(f"{job.links} has changed since it was made; run `dvc repro links`")
    with journal.locked(job.work):
        kept = seal.load(job)
        if kept is not None:
            return kept
        seal.reopen(job)
        with closing(_open_journal(settings, job)) as opened:
            expected, left = read(opened.done)
            if len(left):
                work(job, left, opened)
            return seal.seal(job, opened, expected)


def _read_links(path: Path, done: set[str]) -> tuple[pa.Array, pa.Table]:
    """Returns the ids of all links, and those left, host by host, hosts with most links first."""
    links = pq.read_table(path, columns=list(_COLUMNS))
    ids = links["doc_id"].combine_chunks()
    left = links
    if done:
        left = links.filter(pc.invert(pc.is_in(ids, pa.array(sorted(done), ids.type))))
    return ids, sorted_by_host(left)


def sorted_by_host(links: pa.Table) -> pa.Table:
    """Returns links host by host in their own order, hosts with most links first."""
    counts = pc.value_counts(links["host"])
    by_size = pa.table({"host": counts.field("values"), "n": counts.field("counts")})
    by_size = by_size.sort_by([("n", "descending"), ("host", "ascending")])
    rank = pc.index_in(links["host"], by_size["host"].combine_chunks()).to_numpy()
    return links.take(pa.array(np.argsort(rank, kind="stable"))).combine_chunks()


def _open_journal(settings: Settings, job: Job) -> Journal:
    """Returns a partition's journal, with what an earlier run finished."""
    head = partial(_warc_head, settings)
    return journal.resume(job.work, job.identity, job.name, head, settings.max_warc_bytes)


def _warc_head(settings: Settings, name: str) -> bytes:
    """Returns the `warcinfo` record with which a file of that name begins."""
    fields = [
        ("software", settings.user_agent),
        ("format", "WARC File Format 1.1"),
        ("conformsTo", _WARC_RULES),
        ("robots", "obey"),
        ("http-header-user-agent", settings.user_agent),
    ]
    date = settings.captured_at or outcome.warc_date(time.time())
    return warc.encode_info(name, date, fields)


@asynccontextmanager
async def requests(settings: Settings, reach: Reach) -> AsyncIterator[tuple[Client, Leases]]:
    """Opens what requests are sent by, and where they wait for their turn at an address."""
    with Leases(node_file(), settings.pace.per_address, settings.pace.address_delay_s) as leases:
        async with Client(reach, settings.limits, settings.user_agent) as client:
            yield client, leases


async def share_out(
    items: Iterable[Item],
    work: Callable[[Iterator[Item]], Coroutine[Any, Any, None]],
    n_workers: int,
) -> None:
    """Lets workers take items until none is left; raises what one of them raised first."""
    left = iter(items)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(n_workers):
                group.create_task(work(left))
    except ExceptionGroup as errors:  # whatever stops one worker stops the partition
        raise errors.exceptions[0] from errors


async def settle(settings: Settings, attempt: Attempt) -> tuple[dict[str, Any], list[warc.Encoded]]:
    """Returns a link's row and the records to store; see `outcome.settle`."""
    # To and from a thread costs more than most pages do (docs/log.md); a long one would keep
    # the other hosts waiting.
    is_long = any(len(reply.body) > _LONG_BYTES for reply in attempt.visit.replies)
    made = partial(outcome.settle, attempt, settings.rules, settings.limits.max_decoded_bytes)
    return await asyncio.to_thread(made) if is_long else made()


def _fetch(
    settings: Settings, reach: Reach | None, job: Job, links: pa.Table, opened: Journal
) -> None:
    if reach is None:
        for link in links_of(links):
            opened.add(outcome.unfetched(link), [])
    else:
        asyncio.run(_fetch_all(settings, reach, job, links, opened))


async def _fetch_all(
    settings: Settings, reach: Reach, job: Job, links: pa.Table, opened: Journal
) -> None:
    """Fetches links host by host, many hosts at a time."""
    clock, pace = time.monotonic, settings.pace
    stop_at = clock() + settings.stop_after_s
    async with requests(settings, reach) as (client, leases):
        visitor = Visitor(client, settings.rules, pace, clock, stop_at, leases)
        crew = _Crew(settings, visitor, job, opened)
        await share_out(by_host(links), crew.work, min(pace.hosts, len(links)))


def by_host(links: pa.Table) -> Iterator[pa.Table]:
    """Yields the links of one host after the other, of a table that is sorted by host."""
    ends = pc.run_end_encode(links["host"].combine_chunks()).run_ends.to_pylist()
    for start, end in pairwise([0, *ends]):
        yield links.slice(start, end - start)


def links_of(rows: pa.Table) -> Iterator[Link]:
    """Yields rows as links, some at a time as Python objects."""
    for batch in rows.to_batches(_BATCH_ROWS):
        for row in batch.to_pylist():
            yield Link(**row)


class _Crew:
    """The workers of one partition; each takes one host at a time."""

    def __init__(
        self,
        settings: Settings,
        visitor: Visitor,
        job: Job,
        opened: Journal,
    ) -> None:
        self._settings, self._visitor = settings, visitor
        self._job, self._journal = job, opened

    async def work(self, hosts: Iterator[pa.Table]) -> None:
        """Takes hosts until none is left."""
        for rows in hosts:
            again: deque[tuple[Link, int]] = deque()
            for link in links_of(rows):
                await self._try(link, 1, again)
            while again:
                await self._try(*again.popleft(), again)

    async def _try(self, link: Link, attempt: int, again: deque[tuple[Link, int]]) -> None:
        visit = await self._visitor.visit(link.url)
        if visit.is_retryable and attempt < self._settings.pace.max_attempts:
            again.append((link, attempt + 1))
        else:
            await self._keep(link, visit, attempt)

    async def _keep(self, link: Link, visit: Visit, number: int) -> None:
        attempt = Attempt(
            link=link,
            visit=visit,
            number=number,
            captured_at=self._settings.captured_at,
            crawl=self._job.identity,
        )
        row, encoded = await settle(self._settings, attempt)
        self._journal.add(row, encoded)

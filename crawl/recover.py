"""Dead links, looked up in Common Crawl: the capture nearest to when the link was posted.

    data/fetches: dead ─> collections around the posting ─> cluster.idx ─> block ─> nearest capture
                                                                                        │ byte range
    data/recovered/{warc,fetches}/, as the crawl writes them <── checked, judged as a page <┘

Decisions:
- Dead is what cannot be had from its site. What a site refuses (robots.txt, opt-outs, 401, 403) is
  not looked up elsewhere. What an archived page itself says of its use is obeyed like a live one's.
- Nearest in time to the earliest submission, earlier or later, within `max_distance_days`; of two
  that are as near the earlier one. A collection that is farther off than the best capture found is
  not looked into.
- Journal, resume and layout are the crawl's. What the archive could not answer now is `deferred`.
- The archive is asked as it wishes bulk traffic to be: byte ranges of static files, few requests at
  a time over all processes of a node, backoff and Retry-After obeyed.

Not run against the real archive: there was no network where this was written. What it was run
against is a stand-in built from the published formats (tests/crawl/test_recover.py).
"""

import asyncio
import dataclasses
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin

import pyarrow as pa
import pyarrow.parquet as pq

from crawl import ccindex, crawl, optout, outcome, partition
from crawl.ccfiles import (
    Archive,
    UnavailableError,
    cluster_file,
    fetch_cluster,
    is_answer,
    read_capture,
    unanswered,
)
from crawl.ccindex import Block, Capture, Cluster, Collection
from crawl.crawl import Config as CrawlConfig
from crawl.fetch import Reach
from crawl.journal import Journal
from crawl.outcome import Attempt, Link
from crawl.partition import Settings
from crawl.seal import Job, Sealed
from crawl.surt import surt
from crawl.visit import Visit
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, shards, urls
from pipeline.store.config import require
from pipeline.store.errors import ManifestError, RetryableError
from pipeline.store.records import Drop

STEP = "recover"
INDEX = ".index"  # below the output: one cluster.idx per collection, fetched once

_REFUSED = (
    "robots_disallowed",
    "robots_unreachable",
    "opt_out",
    "http_401",
    "http_403",
    "http_451",
)
_MAX_BLOCKS = 32  # in memory at a time, 1.5 MB each
_RECORD_HEAD_BYTES = 128 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What counts as dead, and how far from the posting a capture may be.

    Attributes:
        collections_url: The list of the archive's collections, as `collinfo.json`.
        data_url: Where its files lie.
        outcomes: Outcomes of the crawl that make a link dead.
        max_distance_days: Between the submission and the capture.
        max_collections: Collections that are looked into for one link.
        concurrency: Requests of one partition under way at the same time.
        min_delay_s: From the end of a request to the beginning of the next one of the partition.
    """

    collections_url: str
    data_url: str
    outcomes: tuple[str, ...]
    max_distance_days: float
    max_collections: int
    concurrency: int
    min_delay_s: float

    def __post_init__(self) -> None:
        """Refuses values out of range, and outcomes by which a site refuses."""
        for name in ("collections_url", "data_url"):
            url = getattr(self, name)
            require(name, url, urls.parse(url) is not None, "an http(s) URL")
        require("data_url", self.data_url, self.data_url.endswith("/"), "a URL that ends in /")
        ok = bool(self.outcomes) and not set(self.outcomes) & set(_REFUSED)
        require("outcomes", self.outcomes, ok, f"at least one, none of {', '.join(_REFUSED)}")
        require("max_distance_days", self.max_distance_days, self.max_distance_days > 0, "x > 0")
        require("max_collections", self.max_collections, self.max_collections >= 1, "x >= 1")
        require("concurrency", self.concurrency, 1 <= self.concurrency <= 256, "1 <= x <= 256")
        require("min_delay_s", self.min_delay_s, self.min_delay_s >= 0, "x >= 0")


class Work(NamedTuple):
    """What all partitions share."""

    config: Config
    settings: Settings
    reach: Reach
    fetches: Path
    clusters: Path
    collections: list[Collection]


def run(
    inputs: tuple[Path, Path],
    output: Path,
    configs: tuple[Config, CrawlConfig],
    reach: Reach,
    engine: Engine,
) -> dict[str, Any]:
    """Looks up every dead link, and seals what was found.

    Args:
        inputs: `data/links` and `data/fetches`.
        output: `data/recovered`; gets `warc/` and `fetches/`.
        configs: Of this step, and the crawl's: identity, limits, pace, opt-outs.
        reach: Where requests may go.
        engine: Where partitions run.

    Returns:
        Counts by outcome and sums.

    Raises:
        ManifestError: If an input is not finished.
        RetryableError: If the archive's list or an index cannot be had now.
        ValueError: If the crawl has no contact.
    """
    config, crawl_config = configs
    if crawl_config.contact is None and reach.connect_to is None:
        raise ValueError("crawl.contact is null; expected mailto:you@example.org or a URL")
    links, fetches = manifest.load(inputs[0], "links"), manifest.load(inputs[1], "crawl")
    settings = _settings(config, crawl_config)
    index = (output / INDEX).absolute()
    days = _days_of_dead(links.paths(), fetches.paths(), config)
    collections = asyncio.run(_prepare(config, settings, reach, index, days))
    share = _identity(config, crawl_config, collections)
    jobs = [
        _job(number, paths, output, share)
        for number, paths in enumerate(zip(links.paths(), fetches.paths(), strict=True))
    ]
    work = Work(config, settings, reach, inputs[1].absolute(), index, collections)
    outputs = output / "warc", output / "fetches"
    return crawl.finish(STEP, outputs, jobs, partial(recover_partition, work), engine)


def _settings(config: Config, crawl_config: CrawlConfig) -> Settings:
    settings = crawl.settings(crawl_config)
    pace = dataclasses.replace(
        settings.pace, min_delay_s=config.min_delay_s, concurrency=config.concurrency
    )
    return dataclasses.replace(settings, pace=pace)


def _identity(config: Config, crawl_config: CrawlConfig, collections: list[Collection]) -> str:
    told = dataclasses.asdict(config)
    del told["concurrency"], told["min_delay_s"]
    told |= {"opt_outs": crawl_config.enforced_opt_outs, "types": crawl_config.content_types}
    return json.dumps([told, [c.name for c in collections]], sort_keys=True)


def _job(number: int, paths: tuple[Path, Path], output: Path, share: str) -> Job:
    digests = [shards.sha256_file(path) for path in paths]
    return Job(
        step=STEP,
        index=number,
        links=paths[0].absolute(),
        links_sha256=digests[0],
        identity=hashlib.sha256(f"{share} {number} {digests}".encode()).hexdigest(),
        warc=(output / "warc").absolute(),
        fetches=(output / "fetches").absolute(),
    )


class _Dead(NamedTuple):
    """A link that its site does not answer; `key` is its own, by which a capture is compared."""

    link: Link
    key: str


def _read_dead(links: Path, fetches: Path, config: Config) -> list[_Dead]:
    """Returns the dead links of a partition."""
    told = pq.read_table(fetches, columns=["doc_id", "outcome"]).to_pylist()
    ids = {row["doc_id"] for row in told if row["outcome"] in config.outcomes}
    columns = ["doc_id", "url", "host", "created_utc", "key"]
    rows = pq.read_table(links, columns=columns).to_pylist()
    return [_Dead(key=row.pop("key"), link=Link(**row)) for row in rows if row["doc_id"] in ids]


def _parse(url: str) -> urls.Url:
    parsed = urls.parse(url)
    if parsed is None:
        raise ManifestError(f"data/links holds {url}, which is no URL; run `dvc repro links`")
    return parsed


def _days_of_dead(links: tuple[Path, ...], fetches: tuple[Path, ...], config: Config) -> set[int]:
    """Returns the days, since 1970, on which dead links were posted."""
    found: set[int] = set()
    for pair in zip(links, fetches, strict=True):
        found |= {each.link.created_utc // 86_400 for each in _read_dead(*pair, config)}
    return found


async def _prepare(
    config: Config, settings: Settings, reach: Reach, index: Path, days: set[int]
) -> list[Collection]:
    """Returns the collections that dead links need, the index of each on disk."""
    if not days:
        return []
    index.mkdir(parents=True, exist_ok=True)
    async with partition.requests(settings, reach) as (client, leases):
        asked = Archive(client, settings, leases)
        reply = await asked.read(config.collections_url)
        if not is_answer(reply) or reply.status != 200:
            raise RetryableError(unanswered(config.collections_url, reply))
        known = ccindex.parse_collections(bytes(reply.body))
        max_s = config.max_distance_days * 86_400
        needed = {
            collection
            for day in days
            for utc in (day * 86_400, (day + 1) * 86_400 - 1)
            for collection in ccindex.by_distance(known, utc, max_s, config.max_collections)
        }
        for collection in sorted(needed):
            await fetch_cluster(asked, config.data_url, collection, index)
    return sorted(needed)


# ── one partition ────────────────────────────────────────────────────────────────────────────────


def recover_partition(work: Work, job: Job) -> Sealed:
    """Looks up one partition's dead links; one that is finished already is kept."""

    def read(done: set[str]) -> tuple[pa.Array, list[_Dead]]:
        dead = _read_dead(job.links, work.fetches / f"{job.name}.parquet", work.config)
        dead.sort(key=lambda each: (surt(_parse(each.link.url)), each.link.doc_id))  # as the index
        ids = pa.array([each.link.doc_id for each in dead], pa.string())
        return ids, [each for each in dead if each.link.doc_id not in done]

    return partition.finish(work.settings, job, read, partial(_recover, work))


def _recover(work: Work, job: Job, dead: list[_Dead], opened: Journal) -> None:
    asyncio.run(_recover_all(work, job, dead, opened))


async def _recover_all(work: Work, job: Job, dead: list[_Dead], opened: Journal) -> None:
    async with partition.requests(work.settings, work.reach) as (client, leases):
        crew = _Crew(work, job, Archive(client, work.settings, leases), opened)
        n_workers = min(work.settings.pace.concurrency, len(dead))
        await partition.share_out(dead, crew.work, n_workers)


class _Crew:
    """The workers of a partition, and the blocks of the index that they share."""

    def __init__(self, work: Work, job: Job, asked: Archive, opened: Journal) -> None:
        self._work, self._job, self._archive, self._journal = work, job, asked, opened
        self._clusters = {c: Cluster(cluster_file(work.clusters, c)) for c in work.collections}
        self._blocks: OrderedDict[tuple[str, Block], asyncio.Task[bytes]] = OrderedDict()

    async def work(self, links: Iterator[_Dead]) -> None:
        """Takes links until none is left."""
        for dead in links:
            capture, visit = None, Visit(drop=Drop("not_archived", ""))
            try:
                capture = await self._nearest(dead)
                visit = await self._fetch(capture) if capture else visit
            except UnavailableError as error:
                visit = Visit(drop=Drop("deferred", str(error)))
            await self._keep(dead.link, visit, capture)

    async def _nearest(self, dead: _Dead) -> Capture | None:
        """Returns the capture of a link that is nearest to its submission."""
        config, utc = self._work.config, dead.link.created_utc
        max_s = config.max_distance_days * 86_400
        best: Capture | None = None
        for one in ccindex.by_distance(self._work.collections, utc, max_s, config.max_collections):
            if best is not None and abs(best.captured_utc - utc) <= one.distance_s(utc):
                break
            found = await self._captures(one, dead)
            near = [c for c in found if abs(c.captured_utc - utc) <= max_s]
            candidates = near if best is None else [best, *near]
            best = min(candidates, default=None, key=lambda c: _rank(c, utc))
        return best

    async def _captures(self, one: Collection, dead: _Dead) -> list[Capture]:
        """Returns the pages of a collection that are the link's."""
        key = surt(_parse(dead.link.url))
        found: list[Capture] = []
        for block in self._clusters[one].blocks(key):
            found += ccindex.captures(await self._block(one, block), key)
        return [capture for capture in found if self._is_wanted(capture, dead.key)]

    def _is_wanted(self, capture: Capture, key: str) -> bool:
        url = urls.parse(capture.url)
        types = self._work.settings.rules.wanted.content_types
        is_page = capture.status in ("200", "") and (
            not capture.mimes or not types or any(mime in types for mime in capture.mimes)
        )
        return is_page and url is not None and urls.canonical_key(url) == key

    async def _block(self, one: Collection, block: Block) -> bytes:
        """Returns the lines of a block; who wants it at the same time waits for one request."""
        place = (one.name, block)
        if place not in self._blocks:
            self._blocks[place] = asyncio.create_task(self._read_block(one, block))
            while len(self._blocks) > _MAX_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(place)
        task = self._blocks[place]
        try:
            return await asyncio.shield(task)
        except UnavailableError:
            self._blocks.pop(place, None)
            raise

    async def _read_block(self, one: Collection, block: Block) -> bytes:
        path = f"cc-index/collections/{one.name}/indexes/{block.file}"
        url = urljoin(self._work.config.data_url, path)
        lines = ccindex.inflate(await self._archive.stretch(url, block), ccindex.BLOCK_BYTES)
        if lines is None:
            raise UnavailableError(f"{path} is damaged at byte {block.offset}")
        return lines

    async def _fetch(self, capture: Capture) -> Visit:
        """Returns what an archived capture brings, as if it had just been fetched."""
        url = urljoin(self._work.config.data_url, capture.place.file)
        member = await self._archive.stretch(url, capture.place)
        most = self._work.settings.limits.max_decoded_bytes + _RECORD_HEAD_BYTES
        record = ccindex.inflate(member, most)
        reply = read_capture(record or b"", capture)
        if isinstance(reply, Drop):
            return Visit(drop=reply)
        signals = optout.in_headers(reply.header_pairs(), self._work.settings.rules.product)
        return Visit(replies=[reply], opt_outs=signals)

    async def _keep(self, link: Link, visit: Visit, capture: Capture | None) -> None:
        date = outcome.warc_date(capture.captured_utc) if capture else ""
        attempt = Attempt(
            link=link, visit=visit, number=1, captured_at=date, crawl=self._job.identity
        )
        row, encoded = await partition.settle(self._work.settings, attempt)
        if capture is not None and not row["detail"]:
            row["detail"] = f"{date} {capture.place.file}"
        self._journal.add(row, encoded)


def _rank(capture: Capture, utc: int) -> tuple[int, int, Block]:
    return abs(capture.captured_utc - utc), capture.captured_utc, capture.place

"""A web on loopback for tests: exact bytes per host and path, and a log of what was asked when."""

import asyncio
import dataclasses
import math
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from crawl import partition
from crawl.fetch import Limits, Reach, Wanted
from crawl.hosts import Pace
from crawl.partition import Settings
from crawl.seal import Job, Sealed
from crawl.visit import Rules
from pipeline.store import records, shards, urls

Handler = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Request(NamedTuple):
    """One request as the server saw it; `at` is monotonic."""

    at: float
    host: str
    path: str
    head: bytes


@dataclass
class Site:
    """Hosts and what they answer; unknown paths give 404, so robots.txt allows all by default."""

    routes: dict[str, list[bytes | Handler]] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)
    port: int = 0
    tls: ssl.SSLContext | None = None

    def answer(self, url: str, *answers: bytes | Handler) -> str:
        """Sets what a URL answers, the last one for ever; returns the URL."""
        self.routes[url.partition("://")[2]] = list(answers)
        return url

    def asked(self, url: str) -> int:
        """Returns how often a URL was requested."""
        wanted = url.partition("://")[2]
        return sum(request.host + request.path == wanted for request in self.log)

    def __enter__(self) -> "Site":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20, ssl=self.tls),
            self._loop,
        ).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            at = time.monotonic()
            path = head.split(b" ", 2)[1].decode()
            host = head.partition(b"Host: ")[2].partition(b"\r\n")[0].decode()
            self.log.append(Request(at, host, path, head))
            answers = self.routes.get(host + path, [page(b"", 404)])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()


def page(body: bytes, status: int = 200, *headers: str, kind: str = "text/html") -> bytes:
    """Returns a whole answer as bytes."""
    lines = [f"HTTP/1.1 {status} Told", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def redirect(target: str, status: int = 302) -> bytes:
    """Returns a redirect as bytes."""
    return page(b"", status, f"Location: {target}")


PACE = Pace(
    hosts=64,
    per_address=64,
    address_delay_s=0.0,
    concurrency=16,
    min_delay_s=0.0,
    max_crawl_delay_s=5.0,
    backoff_s=0.01,
    max_backoff_s=0.02,
    max_retry_after_s=0.05,
    max_attempts=2,
    park_after=6,
)
LIMITS = Limits(
    connect_s=2.0,
    read_s=0.6,
    total_s=1.5,
    min_bytes_per_s=2000.0,
    min_speed_after_s=0.3,
    max_wire_bytes=20_000,
    max_decoded_bytes=100_000,
    max_header_bytes=16_384,
)
TYPES = ("text/html", "application/xhtml+xml", "text/plain")
SETTINGS = Settings(
    rules=Rules(
        product="OutboundBot",
        wanted=Wanted(
            accept=", ".join(TYPES),
            content_types=TYPES,
            max_bytes=LIMITS.max_wire_bytes,
            max_other_bytes=LIMITS.max_wire_bytes,
            may_be_cut=False,
        ),
        ports=(80, 443),
        enforced_opt_outs=("noai", "train-ai=n", "ai-train=no"),
        max_redirects=3,
        max_url_chars=2083,
    ),
    limits=LIMITS,
    pace=PACE,
    user_agent="OutboundBot/1.0 (+mailto:crawl@example.org)",
    captured_at="2017-12-01T00:00:00Z",
    stop_after_s=math.inf,
    max_warc_bytes=1 << 30,
)


def paced(**changes: Any) -> Settings:
    """Returns settings with another pace."""
    return dataclasses.replace(SETTINGS, pace=dataclasses.replace(PACE, **changes))


def reach(site: Site, *hosts: str) -> Reach:
    """Returns a way to the site for these hosts only."""
    address = ("127.0.0.1", site.port)
    return Reach(connect_to=dict.fromkeys(hosts, address), allowed=frozenset({address}))


def write_links(path: Path, addresses: list[str]) -> Path:
    """Writes a links shard."""
    rows = []
    for address in addresses:
        url = urls.parse(address)
        assert url is not None, address
        key = urls.canonical_key(url)
        rows.append(
            {
                "doc_id": records.doc_id(key),
                "url": url.href,
                "key": key,
                "host": url.host,
                "domain": urls.registered_domain(url.host),
                "created_utc": 1_509_494_400,
                "max_score": 5,
                "submissions": [],
            }
        )
    rows.sort(key=lambda row: str(row["doc_id"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    shards.write_table(path, pa.Table.from_pylist(rows, records.LINKS))
    return path


def job(folder: Path, addresses: list[str], identity: str = "one") -> Job:
    """Returns a partition of these links."""
    links = write_links(folder / "links" / "part-00000.parquet", addresses)
    return Job(
        step="crawl",
        index=0,
        links=links,
        links_sha256=shards.sha256_file(links),
        identity=identity,
        warc=folder / "warc",
        fetches=folder / "fetches",
    )


def crawl_links(folder: Path, site: Site, *addresses: str, settings: Settings = SETTINGS) -> Sealed:
    """Crawls links of a site as one partition."""
    hosts = {urls.parse(address).host for address in addresses}  # type: ignore[union-attr]
    known = {entry.partition("/")[0].partition(":")[0] for entry in site.routes} | hosts
    return partition.crawl(settings, reach(site, *known), job(folder, list(addresses)))

"""Common Crawl's files: asked for by byte range, politely, and what a record of theirs says.

Decisions:
- A request waits for its turn like a page's: delay, backoff and Retry-After of the host, the turns
  of its address over all processes of the node.
- A record counts when its gzip member is whole, its address is the one that was looked for, and its
  body has the digest that index or record tells.
- `cluster.idx` is fetched once and in pieces; a broken transfer goes on where it was.
"""

import asyncio
import base64
import hashlib
import re
import time
from pathlib import Path
from urllib.parse import urljoin

from crawl import robots
from crawl.ccindex import NUMBER, Block, Capture, Collection
from crawl.fetch import Client, Reply, Wanted
from crawl.hosts import Host, retry_after_s
from crawl.leases import Leases
from crawl.partition import Settings
from pipeline.store import archive, urls
from pipeline.store.errors import RetryableError
from pipeline.store.records import Drop

_PIECE_BYTES = 4 << 20  # of cluster.idx per request


class UnavailableError(Exception):
    """The archive did not answer; the link is left for another run."""


class Archive:
    """Files of the archive by byte range; every request waits for its turn."""

    def __init__(self, client: Client, settings: Settings, leases: Leases) -> None:
        """Starts with nothing asked."""
        self._client, self._settings, self._leases = client, settings, leases
        self._hosts: dict[str, Host] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._under_way = asyncio.Semaphore(settings.pace.concurrency)

    async def read(self, url: str, span: tuple[int, int] | None = None) -> Reply:
        """Returns the answer of the last attempt; retried while that may help.

        Args:
            url: The file.
            span: First and last byte, None for all of it.
        """
        for _ in range(self._settings.pace.max_attempts):
            reply = await self._ask(url, span)
            if is_answer(reply):
                break
        return reply

    async def _ask(self, url: str, span: tuple[int, int] | None) -> Reply:
        parsed = urls.parse(url)
        name = parsed.host if parsed is not None else ""
        host = self._hosts.setdefault(name, Host(pace=self._settings.pace, clock=time.monotonic))
        async with self._turns.setdefault(name, asyncio.Lock()):
            if host.is_parked:
                return Reply(url=url, drop=Drop("host_parked", name))
            await asyncio.sleep(host.wait_s())
        most = self._settings.limits.max_wire_bytes
        wanted = Wanted(
            accept="*/*",
            content_types=(),
            max_bytes=most,
            max_other_bytes=most,
            may_be_cut=False,
            byte_range=span,
        )
        async with self._leases.hold(await self._client.address(name)), self._under_way:
            reply = await self._client.get(url, wanted)
        if reply.drop is not None or robots.is_retryable(reply.status):
            host.failed(retry_after_s(reply.header("retry-after"), time.time()))
        else:
            host.succeeded()
        return reply

    async def stretch(self, url: str, place: Block) -> bytes:
        """Returns a stretch of a file, b"" if there is no such stretch.

        Raises:
            UnavailableError: If the archive does not answer now.
        """
        if place.length > self._settings.limits.max_wire_bytes:
            return b""
        reply = await self.read(url, (place.offset, place.offset + place.length - 1))
        if not is_answer(reply):
            raise UnavailableError(why(reply))
        is_whole = reply.status == 206 and len(reply.body) == place.length
        return bytes(reply.body) if is_whole else b""


def is_answer(reply: Reply) -> bool:
    """Returns whether a reply is whole and none that another attempt may better."""
    return reply.drop is None and not reply.truncated and not robots.is_retryable(reply.status)


def why(reply: Reply) -> str:
    """Returns in words why an answer is none."""
    if reply.drop is not None:
        return reply.drop.reason
    return f"status {reply.status}{', ' if reply.truncated else ''}{reply.truncated}"


async def fetch_cluster(asked: Archive, data_url: str, one: Collection, folder: Path) -> None:
    """Fetches a collection's `cluster.idx` piece by piece; what came before a break is kept.

    Raises:
        RetryableError: If it cannot be had now.
    """
    target = cluster_file(folder, one)
    if target.is_file():
        return
    url = urljoin(data_url, f"cc-index/collections/{one.name}/indexes/cluster.idx")
    partial_file = target.with_suffix(".part")
    with partial_file.open("ab") as file:
        while True:
            begin = file.tell()
            reply = await asked.read(url, (begin, begin + _PIECE_BYTES - 1))
            if begin and reply.status == 416:
                break
            if not is_answer(reply) or reply.status != 206:
                raise RetryableError(unanswered(url, reply))
            file.write(reply.body)
            if _is_last(reply, begin):
                break
    partial_file.rename(target)


def _is_last(reply: Reply, begin: int) -> bool:
    total = re.fullmatch(r"bytes \d+-\d+/(\d+)", reply.header("content-range") or "")
    return total is not None and begin + len(reply.body) >= int(total[1])


def cluster_file(folder: Path, collection: Collection) -> Path:
    """Returns where a collection's `cluster.idx` is kept."""
    return folder / f"{collection.name}.idx"


def unanswered(url: str, reply: Reply) -> str:
    """Returns the message for a file without which nothing can be looked up."""
    return f"{url} could not be had ({why(reply)}); run `python -m stages.recover` again"


def read_capture(record: bytes, capture: Capture) -> Reply | Drop:
    """Returns an archived answer, or why it is none.

    Args:
        record: One WARC record.
        capture: What the index told of it.
    """
    head, _, rest = record.partition(b"\r\n\r\n")
    fields = {name.lower(): value for name, value in archive.fields_of(head)}
    length = NUMBER.fullmatch(fields.get("content-length", ""))
    n_bytes = int(length[0]) if length else 0
    block = rest[:n_bytes]
    http, _, body = block.partition(b"\r\n\r\n")
    status_line, *lines = http.split(b"\r\n")
    status = re.match(rb"HTTP/[\d.]+ (\d{3})", status_line)
    is_asked = fields.get("warc-target-uri", "").strip("<>") == capture.url
    if not (
        is_asked and len(block) == n_bytes and status and fields.get("warc-type") == "response"
    ):
        return Drop("damaged_record", capture.place.file)
    digests = {capture.digest, fields.get("warc-payload-digest", "").removeprefix("sha1:")}
    whole = fields.get("warc-block-digest", "").removeprefix("sha1:")
    if _sha1(body) not in digests and _sha1(block) != whole:
        return Drop("damaged_record", f"digest of {capture.place.file}")
    return Reply(
        url=capture.url,
        began_utc=float(capture.captured_utc),
        status=int(status[1]),
        status_line=status_line.decode("latin-1"),
        headers=tuple(_pair(line) for line in lines if b":" in line),
        body=bytearray(body),
        truncated=fields.get("warc-truncated", ""),
        address=fields.get("warc-ip-address", ""),
        source=f"{capture.place.file} {capture.place.offset} {capture.place.length}",
    )


def _pair(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.strip(), value.strip()


def _sha1(data: bytes) -> str:
    return base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()

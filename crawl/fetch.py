"""One HTTP request: every limit explicit, every way to fail a named outcome.

    get ─> address ─> Guard.socket ─> connect, TLS ─┬─> request ─> head ─> judged ─> body ─> Reply
             kept connection of the same origin ────┘

Decisions:
- The client is written here, on `crawl.http1`: a page costs less than with the general HTTP library
  before it (docs/log.md); it takes nothing upon itself (no repetition, no decoding, no cookie, no
  proxy, no redirect), and sees each byte: the guard, limits and WARC need that.
- Each hop comes back to be judged (`crawl.visit`), and bodies are kept as they were sent.
- A connection is kept for the next request to the same origin (robots.txt, then the page), for a
  few seconds, if the answer was whole and nothing came behind it. One that the server has closed
  meanwhile is noticed by its giving no byte; then, and only then, the request is sent again.
- Certificates are verified: what is not verified may have been written by anyone on the way.
"""

import asyncio
import re
import ssl
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

from crawl.exchange import Connection, Exchange, Limits, Reply, Wanted, reason_of
from crawl.guard import Address, AddressRefusedError, Guard, Resolver, UnknownNameError
from pipeline.store.records import Drop
from pipeline.store.urls import PORTS

__all__ = ["INTERNET", "Client", "Limits", "Reach", "Reply", "Wanted"]

_KEPT_S = 5.0  # a connection without use; longer than the corpus presets' delay per host
_MAX_KEPT = 512  # connections without use, the oldest goes first
_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What the crawl can reach.

    Attributes:
        connect_to: Host to (address, port); None is DNS and the public internet.
        allowed: Addresses that are let through although they are not public.
    """

    connect_to: Mapping[str, Address] | None
    allowed: frozenset[Address]


INTERNET = Reach(connect_to=None, allowed=frozenset())


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int


class _FailedError(Exception):
    """A request that ended without an answer, or before the end of one."""

    def __init__(self, drop: Drop) -> None:
        super().__init__(drop.reason)
        self.drop = drop


class Client:
    """Sends requests within limits, to where the guard allows."""

    def __init__(self, reach: Reach, limits: Limits, user_agent: str) -> None:
        """Opens nothing yet; use as `async with`.

        Args:
            reach: Where requests may go.
            limits: What each may cost.
            user_agent: Names the crawler and whom to write to.
        """
        self._limits = limits
        self._resolver = Resolver(reach.connect_to)
        self._guard = Guard(reach.allowed)
        self._tls: ssl.SSLContext | None = None
        self._user_agent = user_agent
        self._kept: OrderedDict[_Origin, tuple[Connection, asyncio.TimerHandle]] = OrderedDict()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for origin in list(self._kept):
            self._drop_kept(origin)
        await self._resolver.close()

    async def address(self, host: str) -> str:
        """Returns the IP address that a host is asked at, "" if it has none."""
        try:
            return (await self._resolver.resolve(host))[0]
        except OSError:
            return ""  # `get` says why

    async def get(self, url: str, wanted: Wanted) -> Reply:
        """Returns what a URL answers; never raises for what a server does.

        Args:
            url: As it is to be sent.
            wanted: What is asked for.
        """
        reply = Reply(url=url, began_utc=time.time())
        try:
            async with asyncio.timeout(self._limits.total_s):
                await self._ask(reply, wanted)
        except TimeoutError:
            reply.drop = Drop("deadline", f"not done in {self._limits.total_s:g} s")
            reply.truncated = "time" if reply.body else ""
        except _FailedError as error:
            reply.drop = error.drop
        return reply

    async def _ask(self, reply: Reply, wanted: Wanted) -> None:
        """Sends the request and fills in the reply as it comes."""
        origin, target = _split(reply.url)
        reply.request = self._head(origin, target, wanted)
        connection = self._take(origin)
        while True:
            is_kept = connection is not None
            connection = connection or await self._connect(origin)
            exchange = Exchange(reply, wanted, self._limits)
            reply.address = connection.peer
            await connection.carry(exchange, reply.request)
            if not (is_kept and exchange.is_silent and not connection.is_open) or _timed_out(reply):
                break
            connection = None  # the server had closed it; this request has reached nobody
        if connection.is_open:
            self._keep(origin, connection)

    def _head(self, origin: _Origin, target: str, wanted: Wanted) -> bytes:
        """Returns the request as it is sent."""
        port = "" if origin.port == PORTS[origin.scheme] else f":{origin.port}"
        lines = [
            f"GET {target} HTTP/1.1",
            f"Host: {origin.host}{port}",
            f"User-Agent: {self._user_agent}",
            f"Accept: {wanted.accept}",
        ]
        if wanted.byte_range is None:
            lines.append("Accept-Encoding: gzip, deflate")
        else:  # of the file, not of what a server makes of it
            first, last = wanted.byte_range
            lines += [f"Range: bytes={first}-{last}", "Accept-Encoding: identity"]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")

    # ── connections ──────────────────────────────────────────────────────────────────────────────

    def _take(self, origin: _Origin) -> Connection | None:
        """Returns a connection that was kept, if the server has not closed it."""
        kept = self._kept.pop(origin, None)
        if kept is None:
            return None
        kept[1].cancel()
        return kept[0] if kept[0].is_open else None

    def _keep(self, origin: _Origin, connection: Connection) -> None:
        if origin in self._kept:
            self._drop_kept(origin)
        later = asyncio.get_running_loop().call_later(_KEPT_S, self._drop_kept, origin)
        self._kept[origin] = connection, later
        if len(self._kept) > _MAX_KEPT:
            self._drop_kept(next(iter(self._kept)))

    def _drop_kept(self, origin: _Origin) -> None:
        connection, later = self._kept.pop(origin)
        later.cancel()
        connection.close()

    async def _connect(self, origin: _Origin) -> Connection:
        """Returns a new connection.

        Raises:
            _FailedError: If there is none to be had.
        """
        host = origin.host.strip("[]")
        try:
            address = await self._resolver.resolve(host, origin.port)
            async with asyncio.timeout(self._limits.connect_s):
                return await self._connect_to(origin, address)
        except TimeoutError:
            failed = Drop("connect", f"no connection in {self._limits.connect_s:g} s")
        except (OSError, ValueError) as error:
            failed = drop_of(error)
        self._resolver.failed(host)
        raise _FailedError(failed)

    async def _connect_to(self, origin: _Origin, address: Address) -> Connection:
        made = self._guard.socket(address)
        loop = asyncio.get_running_loop()
        try:
            made.setblocking(False)
            await loop.sock_connect(made, address)
            is_tls = origin.scheme == "https"
            _, connection = await loop.create_connection(
                Connection,
                sock=made,
                ssl=self._context() if is_tls else None,
                server_hostname=origin.host.strip("[]") if is_tls else None,
            )
        except BaseException:
            made.close()
            raise
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


def _timed_out(reply: Reply) -> bool:
    return reply.drop is not None and reply.drop.reason == "timeout"


def _split(url: str) -> tuple[_Origin, str]:
    """Returns the origin of a URL and what is asked for there.

    >>> _split("https://me@a.test:8443?q#x")
    (_Origin(scheme='https', host='a.test', port=8443), '/?q')

    Raises:
        _FailedError: If it is no http(s) URL.
    """
    found = _URL.match(url)
    authority = found[2].rpartition("@")[2] if found else ""
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = authority, ""
    if found is None or not host or not (port or "0").isdigit():
        raise _FailedError(Drop("protocol", "no http(s) URL"))
    target = found[3] if found[3].startswith("/") else f"/{found[3]}"
    return _Origin(found[1], host, int(port or PORTS[found[1]])), target


def drop_of(error: BaseException) -> Drop:
    """Returns the outcome that an error on the way to a connection stands for.

    The detail names no address and no port, so that it is the same in every run.
    """
    if isinstance(error, UnknownNameError):
        return Drop("dns", "the name has no address")
    if isinstance(error, AddressRefusedError):
        return Drop("address_refused", "the address is not public")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Drop("certificate", error.verify_message or "not verified")
    if isinstance(error, ssl.SSLError):
        return Drop("tls", reason_of(error))
    return Drop("connect", reason_of(error))

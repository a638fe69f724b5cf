"""One link: from its URL to the answer, through robots.txt, politeness and redirects.

    link ─> robots of its origin ─> the host's turn ─> request ─┬─> answer
              ^                                                 │
              └───────── target, vetted as if it were new <─ redirect

Decisions:
- Each hop is judged by itself: scheme, port, address, robots.txt, opt-outs, the host's delay.
- The rules found for an origin are its own, wherever its robots.txt was redirected to.
- robots.txt that cannot be had closes the origin. If there is no such host at all, the link's
  outcome says that instead (`dns`, `connect`, `address_refused`).
- One host answers one request of this partition at a time, whoever asks: links of its own,
  redirects, robots.txt. One address answers a few of all partitions of this node (`crawl.leases`).
- A host that waits for its delay or after an error holds no place among the requests under way.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import ada_url
import msgspec

from crawl import optout, robots
from crawl.fetch import Client, Reply, Wanted
from crawl.hosts import Host, Pace, retry_after_s
from crawl.leases import Leases
from pipeline.store import content, urls
from pipeline.store.records import Drop
from pipeline.store.urls import Url

_REDIRECTS = (301, 302, 303, 307, 308)
OTHER_BODY_BYTES = 64 << 10  # of redirects and errors: enough to see what they were
_NEVER = ("address_refused", "certificate", "tls")  # asking again would bring the same
_NO_HOST = ("dns", "connect", *_NEVER, "host_parked", "deferred")
_HOST_ERRORS = ("dns", "connect", "timeout", "deadline", "too_slow", "protocol")
_RETRYABLE = ("dns", "connect", "timeout", "protocol")
_TIME_IS_UP = Drop("deferred", "the crawl's time is up")
_MIN_KNOWN = 4096  # origins and hosts in memory at least; rules have a few kB, 15 MB at most
_ROBOTS = Wanted(
    accept="text/plain,*/*;q=0.1",
    content_types=(),
    max_bytes=robots.MAX_BYTES,
    max_other_bytes=OTHER_BODY_BYTES,
    may_be_cut=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What decides an outcome, beside the limits.

    Attributes:
        product: This crawler's product token.
        wanted: What is asked for.
        ports: Ports that a redirect may lead to.
        enforced_opt_outs: Words that are obeyed, e.g. `noai`.
        max_redirects: Hops after the first.
        max_url_chars: Longest target of a redirect.
    """

    product: str
    wanted: Wanted
    ports: tuple[int, ...]
    enforced_opt_outs: tuple[str, ...]
    max_redirects: int
    max_url_chars: int


@dataclass(slots=True, kw_only=True)
class Visit:
    """What became of a link in one attempt.

    `replies` holds one per hop that was sent; `drop` None means that the last one is an answer.
    """

    replies: list[Reply] = field(default_factory=list)
    opt_outs: list[str] = field(default_factory=list)
    drop: Drop | None = None
    is_closed: bool = False  # by what is known of the origin; asking again would ask nobody

    @property
    def is_retryable(self) -> bool:
        """Whether another attempt may end otherwise."""
        if self.is_closed:
            return False
        if self.drop is not None:
            return self.drop.reason in _RETRYABLE
        return robots.is_retryable(self.replies[-1].status)


@dataclass(slots=True, kw_only=True)
class _Known:
    """The rules of an origin, and when they were fetched."""

    rules: robots.Rules
    drop: Drop | None
    fetched_at: float


class Visitor:
    """Visits links for one partition; knows its hosts and their rules."""

    def __init__(
        self,
        client: Client,
        rules: Rules,
        pace: Pace,
        clock: Callable[[], float],
        stop_at: float,
        leases: Leases | None = None,
    ) -> None:
        """Starts with no host known.

        Args:
            client: Sends requests.
            rules: What decides outcomes.
            pace: What decides when.
            clock: Seconds, monotonic.
            stop_at: When no further request begins, by that clock.
            leases: Turns at addresses; None where nobody else on this node crawls.
        """
        self._client, self._rules, self._pace = client, rules, pace
        self._clock, self._stop_at = clock, stop_at
        self._leases = leases
        self._under_way = asyncio.Semaphore(pace.concurrency)
        self._hosts: dict[str, Host] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._known: dict[str, _Known] = {}
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._max_known = max(_MIN_KNOWN, 2 * pace.hosts)
        self._n_crowd = self._max_known

    async def visit(self, url: str) -> Visit:
        """Returns what one attempt at a link brings."""
        visit = Visit()
        current: Url | Drop = urls.parse(url) or Drop("bad_redirect", "no http(s) URL")
        seen: set[str] = set()
        while isinstance(current, Url):
            seen.add(current.href)
            visit.drop = await self._hop(current, visit)
            if visit.drop is not None or visit.replies[-1].status not in _REDIRECTS:
                return visit
            current = self._target(visit.replies[-1])
            if isinstance(current, Url) and current.href in seen:
                current = Drop("too_many_redirects", "comes back to where it was")
            elif isinstance(current, Url) and len(visit.replies) > self._rules.max_redirects:
                current = Drop("too_many_redirects", f"more than {self._rules.max_redirects}")
        visit.drop = current
        return visit

    async def _hop(self, url: Url, visit: Visit) -> Drop | None:
        """Sends one request if everything allows it; returns what forbids it or goes wrong."""
        known = await self._rules_of(url)
        if known.drop is not None:
            visit.is_closed = True
            return known.drop
        if not known.rules.allows(url.href):
            return Drop("robots_disallowed", url.host)
        visit.opt_outs = optout.in_robots(known.rules.opt_outs)
        if refused := optout.refusal(visit.opt_outs, self._rules.enforced_opt_outs):
            return Drop("opt_out", refused)
        reply = await self._request(url, self._rules.wanted)
        if reply.status:
            visit.replies.append(reply)
            visit.opt_outs += optout.in_headers(reply.header_pairs(), self._rules.product)
        if reply.drop is None and 200 <= reply.status < 300:
            refused = optout.refusal(visit.opt_outs, self._rules.enforced_opt_outs)
            return Drop("opt_out", refused) if refused else None
        return reply.drop

    def _target(self, reply: Reply) -> Url | Drop:
        """Returns where a redirect leads, if that is a place to go to."""
        location = reply.header("location")
        if not location:
            return Drop("bad_redirect", "no Location")
        try:
            url = urls.parse(ada_url.join_url(reply.url, location))
        except (ValueError, UnicodeError):
            url = None
        if url is None:
            return Drop("bad_redirect", "no http(s) URL")
        if url.has_userinfo or len(url.href) > self._rules.max_url_chars:
            return Drop("bad_redirect", "names a user" if url.has_userinfo else "too long")
        if url.port not in self._rules.ports:
            return Drop("bad_redirect", f"port {url.port}")
        return msgspec.structs.replace(url, href=url.href.partition("#")[0])

    # ── politeness ───────────────────────────────────────────────────────────────────────────────

    def _host(self, name: str) -> Host:
        if name not in self._hosts:
            if len(self._hosts) >= self._n_crowd:
                self._forget()
            self._hosts[name] = Host(pace=self._pace, clock=self._clock)
        return self._hosts[name]

    def _forget(self) -> None:
        """Forgets hosts of which nothing is left to obey."""
        over = [name for name, host in self._hosts.items() if host.is_forgotten]
        for name in over:
            if name not in self._turns:
                del self._hosts[name]
        self._n_crowd = max(self._max_known, 2 * len(self._hosts))  # so a scan is paid for by many

    async def _request(self, url: Url, wanted: Wanted) -> Reply:
        """Sends one request when it is the host's turn, and notes how the host took it."""
        host = self._host(url.host)
        async with self._turns.setdefault(url.host, asyncio.Lock()):
            if host.is_parked:
                errors = f"{host.errors_in_row} errors in a row"
                return Reply(url=url.href, drop=Drop("host_parked", errors))
            wait_s = host.wait_s()
            if self._clock() + wait_s > self._stop_at:
                return Reply(url=url.href, drop=_TIME_IS_UP)
            await asyncio.sleep(wait_s)
            reply = await self._send(url, wanted)
            if reply.drop == _TIME_IS_UP:
                return reply
            is_error = robots.is_retryable(reply.status) if reply.status else False
            if is_error or (reply.drop is not None and reply.drop.reason in _HOST_ERRORS):
                host.failed(retry_after_s(reply.header("retry-after"), time.time()))
            else:
                host.succeeded()
            return reply

    async def _send(self, url: Url, wanted: Wanted) -> Reply:
        """Sends one request when it is the address's turn."""
        href = url.href.partition("#")[0]
        turn: AbstractAsyncContextManager[None] = nullcontext()
        if self._leases is not None:
            turn = self._leases.hold(await self._client.address(url.host))
        async with turn, self._under_way:
            if self._clock() > self._stop_at:
                return Reply(url=url.href, drop=_TIME_IS_UP)
            return await self._client.get(href, wanted)

    # ── robots.txt ───────────────────────────────────────────────────────────────────────────────

    async def _rules_of(self, url: Url) -> _Known:
        """Returns the rules of a URL's origin, fetched once a day."""
        port = "" if url.port == urls.PORTS[url.scheme] else f":{url.port}"
        origin = f"{url.scheme}://{url.host}{port}"
        async with self._asking.setdefault(origin, asyncio.Lock()):
            known = self._known.pop(origin, None)
            if known is not None:
                self._known[origin] = known  # those asked for last are forgotten last
            if known is None or self._clock() - known.fetched_at > robots.MAX_AGE_S:
                known = await self._ask(f"{origin}/robots.txt")
                self._known[origin] = known
                if len(self._known) > self._max_known:
                    del self._known[next(iter(self._known))]
        if known.rules.crawl_delay_s is not None:
            self._obey_delay(url.host, known)
        return known

    def _obey_delay(self, name: str, known: _Known) -> None:
        asked_s = known.rules.crawl_delay_s or 0.0
        host = self._host(name)
        host.crawl_delay_s = max(host.crawl_delay_s, min(asked_s, self._pace.max_crawl_delay_s))
        if asked_s > self._pace.max_crawl_delay_s:
            known.drop = Drop("deferred", f"Crawl-delay {asked_s:g} s")

    async def _ask(self, address: str) -> _Known:
        """Fetches one robots.txt, as often as a page may be tried."""
        rules, drop = robots.FORBIDDEN, Drop(robots.UNREACHABLE)
        for _ in range(self._pace.max_attempts):
            rules, drop = await self._ask_once(address)
            if rules.is_reachable:
                return _Known(rules=rules, drop=None, fetched_at=self._clock())
            if drop.reason in (*_NEVER, "host_parked", "deferred"):
                break
        return _Known(rules=rules, drop=drop, fetched_at=self._clock())

    async def _ask_once(self, address: str) -> tuple[robots.Rules, Drop]:
        reply = await self._request(urls.parse(address), _ROBOTS)  # type: ignore[arg-type]
        if reply.drop is not None and reply.drop.reason in _NO_HOST:
            return robots.FORBIDDEN, reply.drop
        n_redirects = 0
        while reply.status in _REDIRECTS and reply.drop is None:
            target = self._target(reply)
            n_redirects += 1
            if isinstance(target, Drop) or n_redirects > robots.MAX_REDIRECTS:
                break
            reply = await self._request(target, _ROBOTS)
        return self._judge_robots(reply)

    def _judge_robots(self, reply: Reply) -> tuple[robots.Rules, Drop]:
        """Returns the rules of an answer, and what to say of links if there are none."""
        is_cut = reply.truncated == "length"
        if reply.drop is not None or (reply.truncated and not is_cut):
            why = reply.drop.reason if reply.drop is not None else reply.truncated
            return robots.FORBIDDEN, Drop(robots.UNREACHABLE, why)
        encoding = reply.header("content-encoding") or ""
        decoded = content.decode(bytes(reply.body), encoding, robots.MAX_BYTES)
        rules = robots.judge(
            reply.status,
            decoded.body,
            self._rules.product,
            is_cut=is_cut or decoded.exceeded,
        )
        return rules, Drop(robots.UNREACHABLE, f"status {reply.status}")

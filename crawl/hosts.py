"""Politeness to one host: one request at a time, never sooner than it asked for.

             ┌── success: errors_in_row = 0 ──┐
    ready ─> request ─> failure: wait backoff_s · 2^(errors_in_row-1), or Retry-After if longer
                            └── park_after errors in a row ─> parked: nothing more this run

The waiting is done elsewhere; this file only says when. The clock is injected.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from crawl.leases import MAX_SLOTS
from pipeline.store.config import require


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How hard the crawl may push. Nothing here decides what is fetched, only when.

    Attributes:
        hosts: Hosts that one partition works on at the same time; most of them wait.
        concurrency: Requests of one partition that are under way at the same time.
        per_address: Requests to one IP address that are under way at the same time, over all
            partitions of a node.
        address_delay_s: From the end of such a request to the next one in its place.
        min_delay_s: From the end of one request to a host to the beginning of the next.
        max_crawl_delay_s: Longest `Crawl-delay` that is waited for; a host that asks for more is
            left for another run.
        backoff_s: First wait after an error; doubles with each further one.
        max_backoff_s: Longest such wait.
        max_retry_after_s: Longest `Retry-After` that is honoured in full.
        max_attempts: Requests for one link before its error stands.
        park_after: Errors in a row after which a host is left alone.
    """

    hosts: int
    concurrency: int
    per_address: int
    address_delay_s: float
    min_delay_s: float
    max_crawl_delay_s: float
    backoff_s: float
    max_backoff_s: float
    max_retry_after_s: float
    max_attempts: int
    park_after: int

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        require("hosts", self.hosts, 1 <= self.hosts <= 65536, "1 <= x <= 65536")
        ok = 1 <= self.per_address <= MAX_SLOTS
        require("per_address", self.per_address, ok, f"1 <= x <= {MAX_SLOTS}")
        ok = 0 <= self.address_delay_s <= 60
        require("address_delay_s", self.address_delay_s, ok, "0 <= x <= 60")
        require("concurrency", self.concurrency, 1 <= self.concurrency <= 4096, "1 <= x <= 4096")
        require("max_attempts", self.max_attempts, self.max_attempts >= 1, "x >= 1")
        require("park_after", self.park_after, self.park_after >= 1, "x >= 1")
        for name in ("min_delay_s", "max_crawl_delay_s", "backoff_s", "max_retry_after_s"):
            require(name, getattr(self, name), getattr(self, name) >= 0, "x >= 0")
        ok = self.max_backoff_s >= self.backoff_s
        require("max_backoff_s", self.max_backoff_s, ok, "x >= backoff_s")


@dataclass(slots=True, kw_only=True)
class Host:
    """One host's patience. `clock` gives seconds, monotonic."""

    pace: Pace
    clock: Callable[[], float]
    crawl_delay_s: float = 0.0
    errors_in_row: int = 0
    _ended_at: float = field(default=float("-inf"))
    _asked_s: float = field(default=0.0)

    @property
    def is_parked(self) -> bool:
        """Whether it is left alone for the rest of the run."""
        return self.errors_in_row >= self.pace.park_after

    @property
    def is_forgotten(self) -> bool:
        """Whether a new beginning would be no ruder: the wait is over, errors are long ago."""
        is_quiet = self.clock() - self._ended_at > self.pace.max_backoff_s
        return self.wait_s() == 0.0 and (self.errors_in_row == 0 or is_quiet)

    def wait_s(self) -> float:
        """Returns the seconds until the next request may begin."""
        delay_s = max(self.pace.min_delay_s, self.crawl_delay_s, self._asked_s)
        return max(0.0, delay_s - (self.clock() - self._ended_at))

    def succeeded(self) -> None:
        """Notes the end of a request that the host answered without complaint."""
        self.errors_in_row = 0
        self._ended_at, self._asked_s = self.clock(), 0.0

    def failed(self, retry_after_s: float | None) -> None:
        """Notes the end of a request that ended in 429, 5xx, a timeout or no answer.

        Args:
            retry_after_s: What the host asked for, if it did.
        """
        self.errors_in_row += 1
        doubled = self.pace.backoff_s * 2.0 ** min(self.errors_in_row - 1, 60)
        asked = min(retry_after_s or 0.0, self.pace.max_retry_after_s)
        self._ended_at = self.clock()
        self._asked_s = max(min(doubled, self.pace.max_backoff_s), asked)


def retry_after_s(value: str | None, now_utc: float) -> float | None:
    """Returns a `Retry-After` header in seconds from now; None if it says nothing usable.

    Args:
        value: Seconds, or an HTTP date.
        now_utc: Seconds since 1970.

    >>> retry_after_s("120", 0), retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 0)
    (120.0, 60.0)
    >>> retry_after_s("soon", 0) is None, retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT", 9)
    (True, 0.0)
    """
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_utc)
    except (ValueError, TypeError, OverflowError):
        return None

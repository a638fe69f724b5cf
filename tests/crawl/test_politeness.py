"""Politeness as the server sees it: every claim is read from its log."""

import asyncio
import math
from collections import Counter
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from crawl import robots, visit
from crawl.fetch import Client
from crawl.visit import Visitor
from tests.crawl.site import PACE, SETTINGS, Site, crawl_links, paced, page, reach, redirect


def gaps(site: Site, host: str = "a.test") -> list[float]:
    """Returns the seconds between the beginnings of a host's requests."""
    times = [request.at for request in site.log if request.host == host]
    return [later - earlier for earlier, later in pairwise(times)]


def outcomes(folder: Path) -> Counter[str]:
    table = pq.read_table(folder / "fetches" / "part-00000.parquet")
    return Counter(table["outcome"].to_pylist())


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_wait_doubles_with_each_error_in_row(tmp_path: Path, site: Site, status: int) -> None:
    bad = page(b"", status)
    link = site.answer("http://a.test/x", bad, bad, bad, page(b"<p>at last"))
    settings = paced(backoff_s=0.05, max_backoff_s=10.0, max_attempts=4)
    crawl_links(tmp_path, site, link, settings=settings)
    _, first, second, third = gaps(site)
    assert (first >= 0.05, second >= 0.1, third >= 0.2) == (True, True, True)
    assert outcomes(tmp_path) == {"fetched": 1}


@pytest.mark.parametrize("share", [2, 3])
def test_host_that_errs_at_once_is_never_asked_faster(
    tmp_path: Path, site: Site, share: int
) -> None:
    """Every second or third answer is an error that comes at once; the others take their time."""

    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(page(b"<p>slow"))

    links = [
        site.answer(f"http://a.test/{i}", page(b"", 429) if i % share == 0 else slow)
        for i in range(12)
    ]
    settings = paced(min_delay_s=0.03, backoff_s=0.06, max_backoff_s=1.0, max_attempts=1)
    crawl_links(tmp_path, site, *links, settings=settings)
    seen = [request for request in site.log if request.host == "a.test"]
    for earlier, later in pairwise(seen):
        was_error = earlier.path != "/robots.txt" and int(earlier.path[1:]) % share == 0
        assert later.at - earlier.at >= (
            0.06 if was_error else 0.05 - 0.02 * (earlier.path == "/robots.txt")
        )
    assert outcomes(tmp_path)["http_429"] == 12 // share


def test_retry_after_holds_for_every_link_of_the_host_and_for_no_other_host(
    tmp_path: Path, site: Site
) -> None:
    links = [site.answer(f"http://a.test/{i}", page(b"x")) for i in range(3)]
    for link in links:  # whichever comes first
        site.answer(link, page(b"", 429, "Retry-After: 1"), page(b"x"))
    others = [site.answer(f"http://b.test/{i}", page(b"x")) for i in range(3)]
    settings = paced(max_retry_after_s=0.4, max_attempts=3)
    crawl_links(tmp_path, site, *links, *others, settings=settings)
    assert min(gaps(site)[1:4]) >= 0.4, "after each of the three answers"
    assert sum(gaps(site, "b.test")) < 0.4
    assert outcomes(tmp_path) == {"fetched": 6}


def test_retry_after_as_a_date_is_waited_for(tmp_path: Path, site: Site) -> None:
    later = page(b"", 503, f"Retry-After: {formatdate(4e9, usegmt=True)}")
    link = site.answer("http://a.test/x", later, page(b"x"))
    crawl_links(tmp_path, site, link, settings=paced(max_retry_after_s=0.3))
    assert gaps(site)[1] >= 0.3


def test_retry_after_of_robots_itself_is_waited_for(tmp_path: Path, site: Site) -> None:
    site.answer("http://a.test/robots.txt", page(b"", 503, "Retry-After: 9"), page(b"", 404))
    link = site.answer("http://a.test/x", page(b"x"))
    crawl_links(tmp_path, site, link, settings=paced(max_retry_after_s=0.3))
    assert gaps(site)[0] >= 0.3
    assert outcomes(tmp_path) == {"fetched": 1}


def test_parked_host_is_not_asked_again_by_links_redirects_or_robots(
    tmp_path: Path, site: Site
) -> None:
    links = [site.answer(f"http://a.test/{i}", page(b"", 500)) for i in range(9)]
    settings = paced(park_after=3, max_attempts=1, concurrency=1, hosts=1)
    to_it = [site.answer(f"http://b.test/{i}", redirect(f"http://a.test/{i}")) for i in range(4)]
    crawl_links(tmp_path, site, *links, *to_it, settings=settings)
    assert len(gaps(site)) == 3, "robots.txt and three errors"
    assert outcomes(tmp_path) == {"http_500": 3, "host_parked": 6 + 4}
    crawl_links(tmp_path, site, *links, *to_it, settings=settings)
    assert outcomes(tmp_path)["http_500"] > 3, "the next run tries again"


def test_host_that_waits_holds_no_place_among_the_requests(tmp_path: Path, site: Site) -> None:
    """One request at a time; thirty hosts that must wait do not keep the others from theirs."""
    hosts = [f"h{i}.test" for i in range(30)]
    links = [site.answer(f"http://{host}/x", page(b"", 503), page(b"x")) for host in hosts]
    settings = paced(concurrency=1, hosts=64, backoff_s=0.5, max_backoff_s=0.5)
    crawl_links(tmp_path, site, *links, settings=settings)
    times = [request.at for request in site.log]
    assert outcomes(tmp_path) == {"fetched": 30}
    assert times[-1] - times[0] < 30 * 0.5 / 2, "one after the other would take 15 seconds"


class Clock:
    """Seconds that pass when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _visits(site: Site, clock: Clock, *steps: tuple[float, str]) -> Visitor:
    """Visits URLs, each so many seconds after the one before."""

    async def run() -> Visitor:
        hosts = {url.split("/")[2] for _, url in steps}
        async with Client(reach(site, *hosts), SETTINGS.limits, "Bot/1.0") as client:
            visitor = Visitor(client, SETTINGS.rules, PACE, clock, math.inf)
            for seconds, url in steps:
                clock.now += seconds
                await visitor.visit(url)
            return visitor

    return asyncio.run(run())


def test_robots_is_believed_for_a_day_and_asked_again_after_it(site: Site) -> None:
    url = site.answer("http://a.test/x", page(b"x"))
    day = robots.MAX_AGE_S
    assert day == 24 * 3600
    _visits(site, Clock(), (0, url), (day - 10, url), (20, url), (day - 10, url))
    assert [r.path for r in site.log] == ["/robots.txt", "/x", "/x", "/robots.txt", "/x", "/x"]


def test_robots_that_changed_is_obeyed_from_the_next_day(site: Site) -> None:
    rules = page(b"User-agent: *\nDisallow: /x\n", kind="text/plain")
    site.answer("http://a.test/robots.txt", page(b"", 404), rules)
    url = site.answer("http://a.test/x", page(b"x"))
    _visits(site, Clock(), (0, url), (robots.MAX_AGE_S + 1, url))
    assert [r.path for r in site.log] == ["/robots.txt", "/x", "/robots.txt"]


def test_hosts_that_are_over_are_forgotten_and_those_that_wait_are_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit, "_MIN_KNOWN", 8)
    urls = [site.answer(f"http://h{i}.test/x", page(b"x")) for i in range(400)]
    site.answer("http://h0.test/x", page(b"", 503, "Retry-After: 9"))
    steps = [(0.001, url) for url in urls]
    visitor = _visits(site, Clock(), *steps)
    assert len(visitor._hosts) <= 2 * PACE.hosts + 1
    assert len(visitor._known) <= 2 * PACE.hosts + 1

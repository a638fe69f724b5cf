"""The crawl benchmark runs from end to end, without peers, on a few pages."""

import pytest

from benchmarks import crawl, web
from benchmarks.harness import Comparison, Run
from tests.benchmarks.small import NO_PEERS, run


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("--tls",)], ids=["http", "https"])
def test_crawl_small_without_peers_saves_every_page_and_obeys(arguments: tuple[str, ...]) -> None:
    told = run("crawl", "--small", *arguments, **NO_PEERS)
    assert (told["unit"], told["ratio"]) == ("pages per CPU-second", None)
    assert told["checks"] == {"obeyed": 1.0, "pages_equal": 1.0}
    assert told["ours"] > 0


def test_ratio_is_to_the_peer_that_does_the_same_job() -> None:
    runs = {
        name: [Run(cpu_s=cpu_s, wall_s=1.0, max_rss_bytes=1, told={})]
        for name, cpu_s in {"outbound": 1.0, f"{crawl._SCRAPY} 16": 4.0, "pool": 0.5}.items()
    }
    of = Comparison(name="crawl", work="", unit="pages", amount=8, target=3.0, inputs="")
    told = crawl._told(of, runs, "outbound", {})
    assert told["ratio"] == 4.0
    assert told["against"] == f"{crawl._SCRAPY} 16"
    assert [(one["against"], one["target"]) for one in told["further"]] == [("pool", None)]
    assert told["ratio_by_peer"] == {f"{crawl._SCRAPY} 16": 4.0, "pool": 0.5}


def test_rules_of_the_served_web_forbid_what_is_counted() -> None:
    assert b"\nDisallow: /private/\n" in web.ROBOTS

"""One link against a server that does what servers do; every case is exact bytes."""

import asyncio
import dataclasses
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from crawl.partition import Settings
from pipeline.store import warc
from pipeline.store.warc import Response
from tests.crawl.site import LIMITS, SETTINGS, Handler, Site, crawl_links, page, redirect

URL = "http://a.test/x"
MAX = LIMITS.max_wire_bytes


class Fetched(dict[str, Any]):
    """A row of `data/fetches/` with the responses of the WARC."""

    responses: list[Response]

    @property
    def answer(self) -> Response | None:
        """The response that answers the link."""
        (found,) = [r for r in self.responses if r.link is not None] or [None]
        return found


def fetch(folder: Path, site: Site, url: str = URL, settings: Settings = SETTINGS) -> Fetched:
    """Crawls one link; returns its row and what the WARC holds."""
    crawl_links(folder, site, url, settings=settings)
    (row,) = pq.read_table(folder / "fetches" / "part-00000.parquet").to_pylist()
    fetched = Fetched(row)
    read = list(warc.read_responses(folder / "warc" / "part-00000.warc.gz"))
    assert all(isinstance(found, Response) for found in read), read
    fetched.responses = read  # type: ignore[assignment]
    return fetched


def told(*pieces: bytes | float) -> Handler:
    """Returns a handler that writes pieces; a number is a pause in seconds."""

    async def write(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
            else:
                await asyncio.sleep(piece)

    return write


def drip(head: bytes, piece: bytes, pause_s: float) -> Handler:
    """Returns a handler that writes one piece again and again, for ever."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return write


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PACKED = "Content-Encoding: gzip"
DEFLATED = "Content-Encoding: deflate"
TAG = "X-Robots-Tag"


# ── what is fetched ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(page(b"<p>hi"), b"<p>hi", id="plain"),
        pytest.param(page(b""), b"", id="empty"),
        pytest.param(page(b"x", 200, kind="Text/HTML; charset=x"), b"x", id="type in capitals"),
        pytest.param(HEAD + b"\r\nuntil close", b"until close", id="no length"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nold", b"old", id="HTTP/1.0, no type"),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok", id="no reason"),
        pytest.param(
            CHUNKED + b"3\r\nabc\r\n2;e=1\r\nde\r\n0\r\n\r\n",
            b"abcde",
            id="chunked",
        ),
        pytest.param(page(gzip.compress(b"zip" * 999), 200, PACKED), b"zip" * 999,
                     id="gzip"),
        pytest.param(page(zlib.compress(b"def" * 99), 200, DEFLATED), b"def" * 99,
                     id="deflate"),
        pytest.param(page(zlib.compress(b"raw" * 99)[2:-4], 200, DEFLATED),
                     b"raw" * 99, id="deflate without zlib header"),
        pytest.param(page(gzip.compress(gzip.compress(b"twice")), 200, f"{PACKED}, gzip"),
                     b"twice", id="stacked"),
        pytest.param(page(gzip.compress(b"one") + gzip.compress(b"two"), 200, PACKED),
                     b"onetwo", id="two members"),
        pytest.param(page(b"<p>not packed", 200, PACKED), b"<p>not packed",
                     id="says gzip, is not"),
        pytest.param(told(b"HTTP/1.1 103 Early\r\n\r\n", page(b"late")), b"late", id="early hints"),
    ],
)  # fmt: skip
def test_page_of_any_transport_is_fetched_as_meant(
    tmp_path: Path, site: Site, answer: bytes | Handler, body: bytes
) -> None:
    site.answer(URL, answer)
    fetched = fetch(tmp_path, site)
    assert fetched["outcome"] == "fetched"
    assert fetched["attempts"] == 1
    assert fetched["truncated"] is None
    assert fetched.answer is not None
    assert fetched.answer.body == body
    assert fetched.answer.undecoded == ""


def test_page_keeps_its_link_and_the_bytes_as_sent(tmp_path: Path, site: Site) -> None:
    packed = gzip.compress(b"<p>hi")
    site.answer(URL, page(packed, 200, "Content-Encoding: gzip", "Set-Cookie: a=b"))
    fetched = fetch(tmp_path, site)
    assert fetched["wire_bytes"] == len(packed)
    assert fetched["address"] == "127.0.0.1"
    answer = fetched.answer
    assert answer is not None
    assert (answer.link, answer.link_doc_id) == (URL, fetched["doc_id"])
    assert answer.link_created_utc == 1_509_494_400
    assert answer.warc_date == "2017-12-01T00:00:00Z"
    assert ("Set-Cookie", "a=b") in answer.http_headers


def test_request_names_the_crawler_and_asks_for_what_it_can_read(
    tmp_path: Path, site: Site
) -> None:
    site.answer(URL, page(b"x", 200, "Set-Cookie: track=1"))
    site.answer("http://a.test/y", page(b"x"))
    crawl_links(tmp_path, site, URL, "http://a.test/y")
    for request in site.log:
        assert b"\r\nUser-Agent: OutboundBot/1.0 (+mailto:crawl@example.org)\r\n" in request.head
        assert b"\r\nAccept-Encoding: gzip, deflate\r\n" in request.head
        assert b"\r\nHost: a.test\r\n" in request.head
        assert b"Cookie" not in request.head


# ── what is not, and why ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "outcome", "asked"),
    [
        pytest.param(page(b"gone", 404), "http_404", 1, id="404"),
        pytest.param(page(b"no", 403), "http_403", 1, id="403"),
        pytest.param(page(b"", 304), "http_304", 1, id="304"),
        pytest.param(page(b"oops", 500), "http_500", 2, id="500 is tried again"),
        pytest.param(page(b"slow down", 429), "http_429", 2, id="429 is tried again"),
        pytest.param(page(b"x", kind="image/png"), "content_type", 1, id="an image"),
        pytest.param(page(b"x", kind="application/pdf"), "content_type", 1, id="a PDF"),
        pytest.param(b"garbage\r\n\r\n", "protocol", 2, id="no status line"),
        pytest.param(b"HTTP/1.1 2OO OK\r\n\r\n", "protocol", 2, id="letters in the status"),
        pytest.param(b"", "protocol", 2, id="hangs up"),
        pytest.param(HEAD + b"Content-Length: 9\r\n\r\n", "protocol", 2,
                     id="hangs up before the body"),
        pytest.param(HEAD + b"Content-Length: nine\r\n\r\nx", "protocol", 2,
                     id="length is no number"),
        pytest.param(
            HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "protocol", 2, id="two lengths",
        ),
        pytest.param(CHUNKED + b"zz\r\n", "protocol", 2, id="bad chunk"),
        pytest.param(HEAD + b"A: " + b"b" * 20_000 + b"\r\n\r\n", "protocol", 2, id="long header"),
        pytest.param(HEAD + b"A: b\r\n" * 300 + b"\r\n", "protocol", 2, id="many headers"),
        pytest.param(HEAD + (b"B: " + b"c" * 7990 + b"\r\n") * 3 + b"\r\n", "protocol", 2,
                     id="headers together too long"),
        pytest.param(told(CHUNKED + b"1\r\na\r\n", 0.1, b"zz\r\n"), "protocol", 2,
                     id="late bad chunk"),
        pytest.param(told(30.0), "timeout", 2, id="silence"),
        pytest.param(told(HEAD + b"Content-Length: 9\r\n\r\nab", 30.0), "timeout", 2,
                     id="goes silent"),
        pytest.param(told(b"HTTP/1.1 200 OK\r\n", *[b"A: b\r\n", 0.1] * 30, b"\r\n"), "deadline", 1,
                     id="header drip, for three seconds"),
        pytest.param(drip(HEAD + b"\r\n", b"x", 0.02), "too_slow", 1, id="body drip"),
        pytest.param(drip(HEAD + b"\r\n", b"x" * 4000, 0), "too_large", 1, id="endless"),
        pytest.param(page(b"x" * (MAX + 1)), "too_large", 1, id="announces too much"),
    ],
)  # fmt: skip
def test_answer_that_is_no_page_has_a_named_outcome(
    tmp_path: Path, site: Site, answer: bytes | Handler, outcome: str, asked: int
) -> None:
    site.answer(URL, answer)
    fetched = fetch(tmp_path, site)
    assert fetched["outcome"] == outcome
    assert fetched["attempts"] == site.asked(URL) == asked
    is_answered = outcome.startswith("http_")
    assert (fetched.answer is not None) is is_answered


@pytest.mark.parametrize("n_bytes", [MAX - 1, MAX, MAX + 1])
@pytest.mark.parametrize("announced", [True, False])
def test_body_at_the_limit_is_whole_and_one_byte_more_is_not(
    tmp_path: Path, site: Site, n_bytes: int, announced: bool
) -> None:
    body = b"x" * n_bytes
    site.answer(URL, page(body) if announced else HEAD + b"\r\n" + body)
    fetched = fetch(tmp_path, site)
    if n_bytes <= MAX:
        assert fetched["outcome"] == "fetched"
        assert len(fetched.answer.body) == n_bytes  # type: ignore[union-attr]
    else:
        assert fetched["outcome"] == "too_large"
        assert fetched["wire_bytes"] == (0 if announced else MAX)
        assert fetched["truncated"] == (None if announced else "length")


@pytest.mark.parametrize("n_bytes", [LIMITS.max_decoded_bytes, LIMITS.max_decoded_bytes + 1])
def test_decoded_body_at_the_limit_is_whole_and_one_byte_more_is_a_bomb(
    tmp_path: Path, site: Site, n_bytes: int
) -> None:
    site.answer(URL, page(gzip.compress(bytes(n_bytes)), 200, PACKED))
    fetched = fetch(tmp_path, site)
    assert fetched["outcome"] == ("fetched" if n_bytes == LIMITS.max_decoded_bytes else "too_large")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([HEAD + b"Content-Length: 99\r\n\r\n<p>half"], id="shorter than announced"),
        pytest.param([CHUNKED + b"7\r\n<p>half\r\n9\r\n"], id="chunks end"),
    ],
)
def test_body_that_the_server_breaks_off_is_kept_and_marked(
    tmp_path: Path, site: Site, answer: list[bytes | float]
) -> None:
    site.answer(URL, told(*answer, 0.05))
    fetched = fetch(tmp_path, site)
    assert (fetched["outcome"], fetched["truncated"]) == ("fetched", "disconnect")
    assert fetched.answer is not None
    assert (fetched.answer.body, fetched.answer.truncated) == (b"<p>half", "disconnect")


def test_body_that_the_crawl_cuts_is_stored_and_marked_but_answers_nothing(
    tmp_path: Path, site: Site
) -> None:
    site.answer(URL, HEAD + b"\r\n" + b"x" * (MAX + 500))
    fetched = fetch(tmp_path, site)
    (stored,) = fetched.responses
    assert (len(stored.body), stored.truncated, stored.link) == (MAX, "length", None)


def test_wanted_type_is_judged_before_the_body(tmp_path: Path, site: Site) -> None:
    """The body never ends; only a crawler that does not read it is done."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n"
    site.answer(URL, drip(head, b"x", 0.01))
    fetched = fetch(tmp_path, site)
    assert (fetched["outcome"], fetched["wire_bytes"]) == ("content_type", 0)
    assert fetched["detail"] == "video/mp4"
    assert fetched.responses == []


def test_attempt_that_fails_once_is_tried_again(tmp_path: Path, site: Site) -> None:
    site.answer(URL, page(b"", 429, "Retry-After: 0"), page(b"<p>now"))
    fetched = fetch(tmp_path, site)
    assert (fetched["outcome"], fetched["attempts"]) == ("fetched", 2)
    assert [r.http_status for r in fetched.responses] == [200]


# ── redirects ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("target", "final"),
    [
        ("/y", "http://a.test/y"),
        ("y", "http://a.test/y"),
        ("//b.test/y", "http://b.test/y"),
        ("http://b.test/y#part", "http://b.test/y"),
    ],
)
def test_redirect_is_followed_hop_by_hop(
    tmp_path: Path, site: Site, status: int, target: str, final: str
) -> None:
    site.answer(URL, redirect(target, status))
    site.answer(final, page(b"<p>there"))
    fetched = fetch(tmp_path, site)
    assert (fetched["outcome"], fetched["final_url"]) == ("fetched", final)
    assert fetched["n_redirects"] == 1
    assert [(r.http_status, r.url, r.link) for r in fetched.responses] == [
        (status, URL, None),
        (200, final, URL),
    ]


@pytest.mark.parametrize(
    ("location", "outcome"),
    [
        pytest.param(b"", "bad_redirect", id="no Location"),
        pytest.param(b"Location: \r\n", "bad_redirect", id="empty"),
        pytest.param(b"Location: file:///etc/passwd\r\n", "bad_redirect", id="file"),
        pytest.param(b"Location: ftp://a.test/\r\n", "bad_redirect", id="ftp"),
        pytest.param(b"Location: http://\r\n", "bad_redirect", id="no host"),
        pytest.param(b"Location: http://u:p@a.test/y\r\n", "bad_redirect", id="names a user"),
        pytest.param(b"Location: http://a.test:22/\r\n", "bad_redirect", id="another port"),
        pytest.param(b"Location: /" + b"y" * 3000 + b"\r\n", "bad_redirect", id="too long"),
        pytest.param(b"Location: /x\r\n", "too_many_redirects", id="to itself"),
        pytest.param(b"Location: http://nowhere.test/\r\n", "dns", id="unknown name"),
    ],
)
def test_redirect_to_nowhere_has_a_named_outcome(
    tmp_path: Path, site: Site, location: bytes, outcome: str
) -> None:
    site.answer(URL, b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n" + location + b"\r\n")
    fetched = fetch(tmp_path, site)
    assert fetched["outcome"] == outcome
    assert site.asked(URL) == 1
    assert fetched.answer is None


def test_redirect_location_that_is_not_utf8_is_read_as_latin1(tmp_path: Path, site: Site) -> None:
    site.answer(URL, b"HTTP/1.1 302 F\r\nContent-Length: 0\r\nLocation: /caf\xe9\r\n\r\n")
    site.answer("http://a.test/caf%C3%A9", page(b"<p>ici"))
    assert fetch(tmp_path, site)["final_url"] == "http://a.test/caf%C3%A9"


@pytest.mark.parametrize(("n_hops", "outcome"), [(3, "fetched"), (4, "too_many_redirects")])
def test_redirects_at_the_limit_are_followed_and_one_more_is_not(
    tmp_path: Path, site: Site, n_hops: int, outcome: str
) -> None:
    for hop in range(n_hops):
        site.answer(f"http://a.test/{hop}", redirect(f"/{hop + 1}"))
    site.answer(f"http://a.test/{n_hops}", page(b"<p>end"))
    assert fetch(tmp_path, site, "http://a.test/0")["outcome"] == outcome


def test_redirect_loop_over_two_pages_ends(tmp_path: Path, site: Site) -> None:
    site.answer(URL, redirect("/y"))
    site.answer("http://a.test/y", redirect("/x"))
    fetched = fetch(tmp_path, site)
    assert fetched["outcome"] == "too_many_redirects"
    assert site.asked(URL) == site.asked("http://a.test/y") == 1


def test_redirect_is_bound_by_the_rules_of_where_it_leads(tmp_path: Path, site: Site) -> None:
    site.answer(URL, redirect("http://b.test/private/y"))
    site.answer(
        "http://b.test/robots.txt", page(b"User-agent: *\nDisallow: /private", kind="text/plain")
    )
    site.answer("http://b.test/private/y", page(b"<p>secret"))
    assert fetch(tmp_path, site)["outcome"] == "robots_disallowed"
    assert site.asked("http://b.test/private/y") == 0


# ── robots.txt ───────────────────────────────────────────────────────────────────────────────────

ROBOTS = "http://a.test/robots.txt"
FORBID = b"User-agent: *\nDisallow: /x\n"


def _text(body: bytes, *headers: str) -> bytes:
    return page(body, 200, *headers, kind="text/plain")


@pytest.mark.parametrize(
    ("answers", "outcome", "asked_robots"),
    [
        pytest.param([page(b"", 404)], "fetched", 1, id="none"),
        pytest.param([page(b"", 403)], "fetched", 1, id="forbidden to read"),
        pytest.param([_text(b"")], "fetched", 1, id="empty"),
        pytest.param([page(b"<html><p>Disallow: /")], "fetched", 1, id="a page"),
        pytest.param([_text(FORBID)], "robots_disallowed", 1, id="forbids"),
        pytest.param([_text(gzip.compress(FORBID), PACKED)], "robots_disallowed", 1,
                     id="forbids, packed"),
        pytest.param([redirect("/r2"), _text(FORBID)], "fetched", 1, id="redirect to 404"),
        pytest.param([page(b"", 503)], "robots_unreachable", 2, id="503"),
        pytest.param([page(b"", 429)], "robots_unreachable", 2, id="429"),
        pytest.param([page(b"", 503), _text(b"")], "fetched", 2, id="503, then there"),
        pytest.param([told(30.0)], "robots_unreachable", 2, id="silence"),
        pytest.param([b"nonsense\r\n\r\n"], "robots_unreachable", 2, id="no HTTP"),
        pytest.param([redirect("/robots.txt")], "robots_unreachable", 12, id="loop"),
        pytest.param([redirect("http://b.test:22/")], "robots_unreachable", 2,
                     id="to a closed port"),
        pytest.param([HEAD + b"Content-Length: 99\r\n\r\nUser-agent: *\n"], "robots_unreachable", 2,
                     id="breaks off"),
    ],
)  # fmt: skip
def test_robots_decides_and_is_closed_when_in_doubt(
    tmp_path: Path, site: Site, answers: Sequence[bytes | Handler], outcome: str, asked_robots: int
) -> None:
    site.answer(ROBOTS, *answers)
    site.answer(URL, page(b"<p>hi"))
    settings = dataclasses.replace(SETTINGS, pace=dataclasses.replace(SETTINGS.pace, park_after=99))
    assert fetch(tmp_path, site, settings=settings)["outcome"] == outcome
    assert site.asked(ROBOTS) == asked_robots
    assert site.asked(URL) == (outcome == "fetched")


def test_robots_that_is_redirected_rules_where_it_was_asked_for(tmp_path: Path, site: Site) -> None:
    site.answer(ROBOTS, redirect("http://b.test/rules"))
    site.answer("http://b.test/rules", _text(FORBID))
    site.answer(URL, page(b"<p>hi"))
    site.answer("http://b.test/x", page(b"<p>hi"))
    crawl_links(tmp_path, site, URL, "http://b.test/x")
    rows = pq.read_table(tmp_path / "fetches" / "part-00000.parquet").to_pylist()
    assert {row["host"]: row["outcome"] for row in rows} == {
        "a.test": "robots_disallowed",
        "b.test": "fetched",
    }


def test_robots_over_the_size_limit_is_read_as_far_as_it_goes(tmp_path: Path, site: Site) -> None:
    site.answer(ROBOTS, _text(FORBID + b"#" * (1 << 20)))
    site.answer(URL, page(b"<p>hi"))
    assert fetch(tmp_path, site)["outcome"] == "robots_disallowed"


def test_robots_is_asked_once_for_all_links_of_an_origin(tmp_path: Path, site: Site) -> None:
    links = [site.answer(f"http://a.test/{i}", page(b"x")) for i in range(5)]
    crawl_links(tmp_path, site, *links)
    assert site.asked(ROBOTS) == 1
    assert site.log[0].path == "/robots.txt"


def test_host_that_does_not_exist_is_said_to_be_that(tmp_path: Path, site: Site) -> None:
    fetched = fetch(tmp_path, Site(), "http://gone.test/x")  # a server that was never started
    assert fetched["outcome"] == "connect"
    site.answer(URL, redirect("http://no.such.name/"))
    assert fetch(tmp_path / "2", site)["outcome"] == "dns"


def test_crawl_delay_beyond_the_cap_is_left_for_another_run(tmp_path: Path, site: Site) -> None:
    site.answer(ROBOTS, _text(b"User-agent: *\nCrawl-delay: 3600\n"))
    site.answer(URL, page(b"<p>hi"))
    fetched = fetch(tmp_path, site)
    assert (fetched["outcome"], fetched["detail"]) == ("deferred", "Crawl-delay 3600 s")
    assert site.asked(URL) == 0


# ── opt-outs ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("robots", "answer", "signals", "outcome"),
    [
        pytest.param(b"", page(b"x", 200, f"{TAG}: noai"), ["header:noai"], "opt_out",
                     id="tag"),
        pytest.param(b"", page(b"x", 200, f"{TAG}: otherbot: noai"), [], "fetched",
                     id="other"),
        pytest.param(b"", page(b"x", 200, f"{TAG}: outboundbot: noai"), ["header:noai"], "opt_out",
                     id="by name"),
        pytest.param(b"", page(b"x", 200, f"{TAG}: noindex, nofollow"), ["header:noindex"],
                     "fetched", id="noindex is written down only"),
        pytest.param(b"", page(b"x", 200, "Content-Usage: train-ai=n"), ["header:train-ai=n"],
                     "opt_out",
                     id="usage"),
        pytest.param(b"", page(b"x", 200, "TDM-Reservation: 1"), ["header:tdm-reservation=1"],
                     "fetched",
                     id="TDM is written down only"),
        pytest.param(b"", page(b"<meta name='ROBOTS' content='noindex, NoAI'>"),
                     ["meta:noai", "meta:noindex"], "opt_out", id="meta"),
        pytest.param(b"", page(b"<!-- <meta name=robots content=noai> -->"), [], "fetched",
                     id="comment"),
        pytest.param(b"", page(gzip.compress(b"<meta content=noai name=robots>"), 200,
                               PACKED), ["meta:noai"], "opt_out", id="packed meta"),
        pytest.param(b"User-agent: *\nContent-Signal: search=yes,ai-train=no\nAllow: /", page(b"x"),
                     ["robots:ai-train=no"], "opt_out", id="robots"),
        pytest.param(b"User-agent: other\nContent-Signal: ai-train=no\n", page(b"x"), [], "fetched",
                     id="robots of another"),
    ],
)  # fmt: skip
def test_opt_out_is_written_down_and_obeyed(
    tmp_path: Path, site: Site, robots: bytes, answer: bytes, signals: list[str], outcome: str
) -> None:
    site.answer(ROBOTS, _text(robots))
    site.answer(URL, answer)
    fetched = fetch(tmp_path, site)
    assert (fetched["outcome"], fetched["opt_outs"]) == (outcome, signals)
    assert len(fetched.responses) == (outcome == "fetched"), "a page that refuses is not stored"


def test_site_that_refuses_as_a_whole_is_not_even_asked(tmp_path: Path, site: Site) -> None:
    site.answer(ROBOTS, _text(b"User-agent: *\nContent-Usage: train-ai=n\n"))
    site.answer(URL, page(b"x"))
    fetch(tmp_path, site)
    assert site.asked(URL) == 0

"""All that a hostile or broken server does, at once: one partition, one class for each case.

Ten groups: status line and headers; lengths; caps; redirects; time; encodings; addresses;
robots.txt; text; cookies, Retry-After and TLS. Each case has a host of its own, so that all run
side by side, and none of the servers that never stop may hold up the rest. Whatever is refused is
refused before a connection: a listener that nobody may reach counts who tries, and every attempt to
connect is noted.
"""

import asyncio
import dataclasses
import gzip
import socket
import ssl
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from crawl import guard, partition
from crawl.fetch import Client, Reach
from crawl.visit import _ROBOTS
from pipeline.store import warc
from pipeline.store.warc import Response
from tests.crawl.authority import Authority
from tests.crawl.site import LIMITS, SETTINGS, Handler, Site, job, page, redirect
from tests.crawl.test_fetch import CHUNKED, HEAD, drip, told

MAX = LIMITS.max_wire_bytes
GZIP = "Content-Encoding: gzip"
OK = b"HTTP/1.1 200 OK\r\n"
MAX_PEAK_BYTES = 48 << 20  # all cases together hold 8 MiB; a bomb alone would be 1 GiB


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a server does to one link, and what must become of it.

    `paths` are further answers of its host; `body` is what the WARC must hold, None unless it
    answers; `asked` counts requests for the link.
    """

    answer: tuple[bytes | Handler, ...]
    outcome: str
    asked: int = 1
    truncated: str | None = None
    body: bytes | None = None
    paths: tuple[tuple[str, bytes | Handler], ...] = ()
    scheme: str = "http"


def case(answer: bytes | Handler, outcome: str, asked: int = 1, **more: Any) -> Case:
    """Returns a case of one answer."""
    return Case(answer=(answer,), outcome=outcome, asked=asked, **more)


def robots(answer: bytes | Handler, outcome: str, asked: int = 1, **more: Any) -> Case:
    """Returns a case of a page behind a robots.txt."""
    paths = (("/robots.txt", answer),)
    return case(page(b"<p>hi"), outcome, asked, paths=paths, **more)


def broken(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with a reset."""
    linger = b"\x01\0\0\0\0\0\0\0"
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def reset_in_body(writer: asyncio.StreamWriter) -> None:
    """Sends half a page, then a reset."""
    writer.write(HEAD + b"Content-Length: 99\r\n\r\n<p>half")
    await writer.drain()
    await asyncio.sleep(0.1)
    broken(writer)


def zipped(body: bytes, *more: str) -> bytes:
    """Returns an answer in gzip."""
    return page(gzip.compress(body, mtime=0), 200, GZIP, *more)


def bomb() -> bytes:
    """Returns a gzip of 15 kB that holds 15 MB."""
    return page(gzip.compress(bytes(15_000_000), mtime=0), 200, GZIP)


def text(body: bytes) -> bytes:
    """Returns a robots.txt."""
    return page(body, kind="text/plain")


FORBID = b"User-agent: *\nDisallow: /x\n"
HALF = HEAD + b"Content-Length: 99\r\n\r\n<p>half"

CASES = {
    # 1. status line and headers
    "garbage": case(b"\x16\x03\x01 garbage\r\n\r\n", "protocol", 2),
    "HTTP/0.9": case(b"<html>no head at all", "protocol", 2),
    "hangs up": case(b"", "protocol", 2),
    "colon after the status": case(b"HTTP/1.1 200: OK\r\n\r\nx", "fetched", body=b"x"),
    "no reason": case(b"HTTP/1.1 200\r\n\r\nx", "fetched", body=b"x"),
    "no blank before the status": case(b"HTTP/1.1200 OK\r\n\r\nx", "protocol", 2),
    "status of four digits": case(b"HTTP/1.1 2000 OK\r\n\r\nx", "protocol", 2),
    "status of two digits": case(b"HTTP/1.1 20 OK\r\n\r\nx", "protocol", 2),
    "status 999": case(page(b"denied", 999), "http_999", 2, body=b"denied"),
    "status 101": case(b"HTTP/1.1 101 Switch\r\n\r\n", "protocol", 2),
    "interim answers": case(b"HTTP/1.1 103 Hints\r\n\r\n" * 3 + page(b"x"), "fetched", body=b"x"),
    "interim answers for ever": case(
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0), "protocol", 2
    ),
    "folded header": case(OK + b"Content-Type:\r\n text/html\r\n\r\nx", "fetched", body=b"x"),
    "folded type": case(OK + b"Content-Type:\r\n\timage/png\r\n\r\nx", "content_type"),
    "line that is no header": case(OK + b"what is this\r\nA: b\r\n\r\nx", "fetched", body=b"x"),
    "blank before the colon": case(OK + b"Content-Length : 1\r\n\r\nxyz", "fetched", body=b"x"),
    "name that is no token": case(OK + b"\x00\xff(): y\r\n\r\nx", "fetched", body=b"x"),
    "NUL in a value": case(OK + b"A: b\0c\r\n\r\nx", "fetched", body=b"x"),
    "bare line feeds": case(b"HTTP/1.1 200 OK\nContent-Length: 1\n\nxyz", "fetched", body=b"x"),
    "blank lines first": case(b"\r\n\r\n\n" + page(b"x"), "fetched", body=b"x"),
    "80 headers of 10 kB": case(OK + (b"A: " + b"b" * 10_000 + b"\r\n") * 80, "protocol", 2),
    "300 headers": case(OK + b"A: b\r\n" * 300 + b"\r\nx", "protocol", 2),
    "head without an end": case(drip(OK, b"A: " + b"b" * 997 + b"\r\n", 0), "protocol", 2),
    # 2. lengths
    "length in letters": case(HEAD + b"Content-Length: nine\r\n\r\nx", "protocol", 2),
    "negative length": case(HEAD + b"Content-Length: -1\r\n\r\nx", "protocol", 2),
    "length of 30 digits": case(HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nx",
                                "protocol", 2),
    "length too long": case(HALF, "fetched", truncated="disconnect", body=b"<p>half"),
    "length too short": case(HEAD + b"Content-Length: 2\r\n\r\nabcdef", "fetched", body=b"ab"),
    "length said twice": case(HEAD + b"Content-Length: 2, 2\r\n\r\nabc", "fetched", body=b"ab"),
    "two lengths": case(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nabc",
                        "protocol", 2),
    "length and chunks": case(
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "protocol", 2),
    "other transfer encoding": case(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
                                    "protocol", 2),
    "204 with a body": case(b"HTTP/1.1 204 No\r\n\r\nbody", "fetched", body=b""),
    "redirect with bad chunks": case(
        b"HTTP/1.1 302 F\r\nLocation: /y\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "fetched",
        body=b"y", paths=(("/y", page(b"y")),)),
    "bad chunk": case(CHUNKED + b"zz\r\n", "protocol", 2),
    "bad chunk behind a good one": case(CHUNKED + b"1\r\na\r\nzz\r\n", "protocol", 2,
                                        truncated="unspecified"),
    "negative chunk": case(CHUNKED + b"-1\r\na\r\n", "protocol", 2),
    "chunk with a prefix": case(CHUNKED + b"0x1\r\na\r\n0\r\n\r\n", "protocol", 2),
    "chunk longer than it says": case(CHUNKED + b"1\r\nabc\r\n0\r\n\r\n", "protocol", 2,
                                      truncated="unspecified"),
    "chunk extension": case(CHUNKED + b"2;a=b\r\nab\r\n0\r\n\r\n", "fetched", body=b"ab"),
    "endless chunk extension": case(drip(CHUNKED + b"2;", b"a" * 999, 0), "protocol", 2),
    "no last chunk": case(CHUNKED + b"2\r\nab\r\n", "fetched", truncated="disconnect", body=b"ab"),
    "trailers": case(CHUNKED + b"1\r\na\r\n0\r\nA: b\r\n\r\n", "fetched", body=b"a"),
    "endless trailers": case(drip(CHUNKED + b"1\r\na\r\n0\r\n", b"A: b\r\n" * 99, 0), "protocol", 2,
                             truncated="unspecified"),
    # 3. caps
    "plain, one below": case(HEAD + b"\r\n" + b"x" * (MAX - 1), "fetched", body=b"x" * (MAX - 1)),
    "plain, at the limit": case(HEAD + b"\r\n" + b"x" * MAX, "fetched", body=b"x" * MAX),
    "plain, one above": case(HEAD + b"\r\n" + b"x" * (MAX + 1), "too_large", truncated="length"),
    "announced above": case(page(b"x" * (MAX + 1)), "too_large"),
    "chunks above": case(CHUNKED + b"ffffff\r\n" + b"x" * (MAX + 1), "too_large",
                         truncated="length"),
    "decoded at the limit": case(zipped(bytes(LIMITS.max_decoded_bytes)), "fetched",
                                 body=bytes(LIMITS.max_decoded_bytes)),
    "decoded, one above": case(zipped(bytes(LIMITS.max_decoded_bytes + 1)), "too_large"),
    "endless": case(drip(HEAD + b"\r\n", b"x" * 65536, 0), "too_large", truncated="length"),
    "reset in the body": case(reset_in_body, "fetched", truncated="disconnect", body=b"<p>half"),
    # 4. redirects
    "to a path without slash": case(redirect("y"), "fetched", body=b"y",
                                    paths=(("/y", page(b"y")),)),
    "to itself": case(redirect("/x"), "too_many_redirects"),
    "there and back": case(redirect("/y"), "too_many_redirects", paths=(("/y", redirect("/x")),)),
    "one hop too many": case(redirect("/1"), "too_many_redirects", paths=tuple(
        (f"/{i}", redirect(f"/{i + 1}")) for i in range(1, 4))),
    "to a file": case(redirect("file:///etc/passwd"), "bad_redirect"),
    "to a script": case(redirect("javascript:alert(1)"), "bad_redirect"),
    "to data": case(redirect("data:text/html,x"), "bad_redirect"),
    "to FTP": case(redirect("ftp://a.test/"), "bad_redirect"),
    "nowhere": case(page(b"", 302), "bad_redirect"),
    "to another port": case(redirect("http://b.test:22/"), "bad_redirect"),
    "with a user": case(redirect("http://me:secret@b.test/"), "bad_redirect"),
    "to a long URL": case(redirect("/" + "y" * 3000), "bad_redirect"),
    "in backslashes": case(redirect("\\y"), "fetched", body=b"y", paths=(("/y", page(b"y")),)),
    "not in UTF-8": case(b"HTTP/1.1 302 F\r\nContent-Length: 0\r\nLocation: /\xe9\r\n\r\n",
                         "fetched", body=b"y", paths=(("/%C3%A9", page(b"y")),)),
    # 5. time
    "header drip": case(drip(OK, b"A: b\r\n", 0.1), "deadline"),
    "body drip": case(drip(HEAD + b"\r\n", b"x", 0.02), "too_slow", truncated="time"),
    "silence": case(told(30.0), "timeout", 2),
    "goes silent": case(told(HALF, 30.0), "timeout", 2, truncated="time"),
    "video for ever": case(drip(OK + b"Content-Type: video/mp4\r\n\r\n", b"x" * 999, 0),
                           "content_type"),
    # 6. encodings
    "bomb": case(bomb(), "too_large"),
    "bomb in a box": case(page(gzip.compress(gzip.compress(bytes(30_000_000)), mtime=0), 200,
                               f"{GZIP}, gzip"), "too_large"),
    "packed twice": case(page(gzip.compress(gzip.compress(b"in")), 200, f"{GZIP}, gzip"),
                         "fetched", body=b"in"),
    "bad end": case(page(gzip.compress(b"<p>good" * 99)[:-9] + b"\xff" * 9, 200, GZIP), "fetched"),
    "500 members": case(page(b"".join([gzip.compress(b"m", mtime=0)] * 500), 200, GZIP), "fetched",
                        body=b"m" * 500),
    "not packed at all": case(page(b"<p>plain", 200, GZIP), "fetched", body=b"<p>plain"),
    "zlib": case(page(zlib.compress(b"def" * 99), 200, "Content-Encoding: deflate"), "fetched",
                 body=b"def" * 99),
    "bare deflate": case(page(zlib.compress(b"def" * 99)[2:-4], 200, "Content-Encoding: deflate"),
                         "fetched", body=b"def" * 99),
    "unknown encoding": case(page(b"???", 200, "Content-Encoding: zorp"), "fetched", body=b"???"),
    "1000 encodings": case(page(b"x", 200, "Content-Encoding: " + "gzip," * 1000), "fetched",
                           body=b"x"),
    # 7. addresses: see `NAMES` and `LITERALS`
    # 8. robots.txt
    "robots 503": robots(page(b"", 503), "robots_unreachable", 0),
    "robots 429": robots(page(b"", 429), "robots_unreachable", 0),
    "robots 404": robots(page(b"no", 404), "fetched"),
    "robots hangs": robots(told(30.0), "robots_unreachable", 0),
    "robots breaks off": robots(HALF, "robots_unreachable", 0),
    "robots no HTTP": robots(b"\0\0\0\r\n\r\n", "robots_unreachable", 0),
    "robots loop": robots(redirect("/robots.txt"), "robots_unreachable", 0),
    "robots inside": robots(redirect("http://127.0.0.1/robots.txt"), "robots_unreachable", 0),
    "robots of 10 MB": robots(text(FORBID + b"#" * 10_000_000), "robots_disallowed", 0),
    "robots bomb": robots(page(gzip.compress(FORBID + b"#" * 9_000_000), 200, GZIP),
                          "robots_disallowed", 0),
    "robots binary": robots(text(bytes(range(256)) * 99), "fetched"),
    "robots page": robots(page(b"<html><p>User-agent: *"), "fetched"),
    "robots BOM": robots(text(b"\xef\xbb\xbf" + FORBID), "robots_disallowed", 0),
    "robots NUL": robots(text(b"\0".join([FORBID, b""])), "robots_disallowed", 0),
    "robots stars": robots(text(b"User-agent: *\nDisallow: /" + b"*a" * 2000 + b"$"), "fetched"),
    "delay nan": robots(text(b"User-agent: *\nCrawl-delay: nan"), "fetched"),
    "delay -5": robots(text(b"User-agent: *\nCrawl-delay: -5"), "fetched"),
    "delay 1e99": robots(text(b"User-agent: *\nCrawl-delay: 1e99"), "deferred", 0),
    # 9. text
    "charset lies": case(page("Привет".encode("cp1251"), kind="text/html; charset=utf-8"),
                         "fetched", body="Привет".encode("cp1251")),
    "NUL in HTML": case(page(b"<p>a\0b"), "fetched", body=b"<p>a\0b"),
    "deep": case(page(b"<i>" * 6000), "fetched", body=b"<i>" * 6000),
    "one line": case(page(b"x" * 19_999), "fetched", body=b"x" * 19_999),
    "comments without end": case(page(b"<!--" * 4900), "fetched", body=b"<!--" * 4900),
    "meta without end": case(page(b"<meta " + b"a" * 19_000), "fetched"),
    "noai behind 4,000 comments": case(page(b"<!---->" * 2000 + b"<META NAME=robots CONTENT=NoAI>"),
                                       "opt_out"),
    # 10. cookies, Retry-After, TLS (the last see `TLS`)
    "cookie flood": case(page(b"x", 200, *["Set-Cookie: a=" + "b" * 50] * 200), "fetched",
                         body=b"x"),
    "cookie flood over the limit": case(page(b"x", 200, *["Set-Cookie: a=b"] * 300), "protocol", 2),
    "Retry-After ten years": case(page(b"", 429, "Retry-After: 315360000"), "http_429", 2),
    "Retry-After in the past": case(
        page(b"", 503, "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT"), "http_503", 2, body=b""),
    "Retry-After text": case(page(b"", 503, "Retry-After: later"), "http_503", 2, body=b""),
    "Retry-After infinite": case(page(b"", 503, "Retry-After: 1e999"), "http_503", 2, body=b""),
}  # fmt: skip

# Names that lead inside, by what the connect map (or DNS) says of them.
NAMES = {
    "loopback": "127.0.0.1",
    "other-loopback": "127.9.9.9",
    "any": "0.0.0.0",
    "ten": "10.0.0.1",
    "home": "192.168.0.1",
    "metadata": "169.254.169.254",
    "shared": "100.64.0.1",
    "six": "::1",
    "local-six": "fc00::1",
    "link-six": "fe80::1",
    "mapped": "::ffff:10.0.0.1",
    "nat64": "64:ff9b::a00:1",
    "6to4": "2002:a00:1::",
}
LITERALS = (
    "127.0.0.1", "0.0.0.0", "0x7f.1", "2130706433", "017700000001", "127.1", "①②⑦.0.0.1",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "169.254.169.254",
)  # fmt: skip
TLS = {
    "good": ("fetched", 1),
    "expired": ("certificate", 0),
    "other-name": ("certificate", 0),
    "own-authority": ("certificate", 0),
    "legacy": ("tls", 0),
    "no-tls": ("tls", 0),
    "mute": ("connect", 0),
    "cut": ("fetched", 1),
    "to-http": ("fetched", 1),
}


TOO_OLD = b"\x15\x03\x01\0\x02\x02\x46"  # a fatal alert: protocol version


@dataclass
class Blunt(Site):
    """A server that says one thing to whatever it hears."""

    says: bytes = b""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(self.says)
        await writer.drain()
        writer.close()


class World:
    """The servers of all cases, and what one crawl over all of them has left."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.sites: dict[str, Site] = {}
        self.connected: set[tuple[str, int]] = set()
        self.n_trapped = self.peak_bytes = 0
        self._own, self._foreign = Authority(folder), Authority(folder, "foreign")
        monkeypatch.setenv("SSL_CERT_FILE", str(self._own.path))
        connect = asyncio.SelectorEventLoop.sock_connect

        async def noted(loop: Any, made: socket.socket, address: tuple[str, int]) -> None:
            self.connected.add((address[0], address[1]))
            await connect(loop, made, address)

        monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", noted)

    def contexts(self) -> dict[str, ssl.SSLContext]:
        """Returns each TLS server's side, by the case."""
        good = self._own.server("*.test")
        signed = {name: self._own.server(f"{name}.tls.test") for name in ("good", "cut", "to-http")}
        return {
            **signed,
            "expired": self._own.server("expired.tls.test", days=(-2, -1)),
            "other-name": good,  # for one label only: `*.test`
            "own-authority": self._foreign.server("own-authority.tls.test"),
        }

    def crawl(self, trap: int, mute: int) -> None:
        """Crawls all cases as one partition."""
        site, hosts = self.sites["http"], dict[str, tuple[str, int]]()
        here = ("127.0.0.1", site.port)
        links = []
        for number, (_name, each) in enumerate(CASES.items()):
            host = f"case{number}.test"
            hosts[host] = here
            links.append(site.answer(f"http://{host}/x", *each.answer))
            for path, answer in each.paths:
                site.answer(f"http://{host}{path}", answer)
        for name, address in NAMES.items():
            hosts[f"{name}.inside.test"] = (address, trap)
            links.append(f"http://{name}.inside.test/x")
        for number, literal in enumerate(LITERALS):
            hosts[f"literal{number}.test"] = here
            links.append(
                site.answer(f"http://literal{number}.test/x", redirect(f"http://{literal}:{trap}/"))
            )
        hosts["b.test"] = here
        for name in TLS:
            port = mute if name == "mute" else self.sites[name].port
            hosts[f"{name}.tls.test"] = ("127.0.0.1", port)
            links.append(f"https://{name}.tls.test/x")
            if name != "mute":
                self.sites[name].answer(links[-1], page(b"<p>safe"))
        self.sites["cut"].answer("https://cut.tls.test/x", reset_in_body)
        self.sites["to-http"].answer("https://to-http.tls.test/x", redirect("http://b.test/y"))
        site.answer("http://b.test/y", page(b"<p>open"))
        self.allowed = {("127.0.0.1", each.port) for each in self.sites.values()}
        self.allowed.add(("127.0.0.1", mute))
        rules = dataclasses.replace(SETTINGS.rules, ports=(80, 443, trap))
        pace = dataclasses.replace(SETTINGS.pace, hosts=256, concurrency=256, per_address=128)
        limits = dataclasses.replace(LIMITS, connect_s=2.0, read_s=1.5, total_s=4.0)
        settings = dataclasses.replace(SETTINGS, rules=rules, pace=pace, limits=limits)
        reach = Reach(connect_to=hosts, allowed=frozenset(self.allowed))
        partition.crawl(settings, reach, job(self.folder, links))

    def read(self) -> None:
        """Reads what the crawl wrote."""
        table = pq.read_table(self.folder / "fetches" / "part-00000.parquet")
        self.rows = {row["host"]: row for row in table.to_pylist()}
        self.answers: dict[str, Response] = {}
        for found in warc.read_responses(self.folder / "warc" / "part-00000.warc.gz"):
            assert isinstance(found, Response), found
            if found.link is not None:
                self.answers[found.link] = found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = World(tmp_path_factory.mktemp("hostile"), monkeypatch)
        sites = {"http": Site()}
        sites |= {name: Site(tls=context) for name, context in made.contexts().items()}
        sites |= {"legacy": Blunt(says=TOO_OLD), "no-tls": Blunt(says=page(b"", 400))}
        with _opened(sites), _listener() as trap, _listener() as mute:
            made.sites = sites
            tracemalloc.start()
            made.crawl(trap.getsockname()[1], mute.getsockname()[1])
            made.peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            made.n_trapped = _accepted(trap)
        made.read()
        yield made


@contextmanager
def _opened(sites: dict[str, Site]) -> Iterator[None]:
    with ExitStack() as stack:
        for site in sites.values():
            stack.enter_context(site)
        yield


@contextmanager
def _listener() -> Iterator[socket.socket]:
    """Yields a listener on loopback that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.setblocking(False)
        yield made


def _accepted(trap: socket.socket) -> int:
    """Returns how many connections wait at a listener."""
    n = 0
    with suppress(BlockingIOError):
        while True:
            trap.accept()[0].close()
            n += 1
    return n


@pytest.mark.parametrize(("number", "name"), list(enumerate(CASES)), ids=list(CASES))
def test_hostile_answer_gets_its_class(world: World, number: int, name: str) -> None:
    each, host = CASES[name], f"case{number}.test"
    row, url = world.rows[host], f"http://{host}/x"
    assert (row["outcome"], row["truncated"]) == (each.outcome, each.truncated), row["detail"]
    if each.outcome != "too_many_redirects":
        assert world.sites["http"].asked(url) == each.asked
    answers = each.outcome == "fetched" or each.outcome.startswith("http_")
    assert (url in world.answers) is answers
    if each.body is not None:
        assert world.answers[url].body == each.body
        assert (world.answers[url].truncated or None) == each.truncated


@pytest.mark.parametrize("name", list(NAMES))
def test_name_that_leads_inside_is_refused(world: World, name: str) -> None:
    assert world.rows[f"{name}.inside.test"]["outcome"] == "address_refused"


@pytest.mark.parametrize(("number", "literal"), list(enumerate(LITERALS)), ids=list(LITERALS))
def test_redirect_to_a_literal_inside_is_refused(world: World, number: int, literal: str) -> None:
    row = world.rows[f"literal{number}.test"]
    assert row["outcome"] == "address_refused", literal
    assert row["final_url"] == f"http://literal{number}.test/x"


@pytest.mark.parametrize("name", list(TLS))
def test_tls_gets_its_class(world: World, name: str) -> None:
    outcome, asked = TLS[name]
    row = world.rows[f"{name}.tls.test"]
    assert row["outcome"] == outcome, row["detail"]
    if name in world.sites:
        assert world.sites[name].asked(f"https://{name}.tls.test/x") == asked
    assert row["truncated"] == ("disconnect" if name == "cut" else None)


def test_nothing_inside_was_even_connected_to(world: World) -> None:
    assert world.n_trapped == 0
    assert world.connected <= world.allowed


def test_all_cases_together_stay_within_memory(world: World) -> None:
    assert len(CASES) + len(NAMES) + len(LITERALS) + len(TLS) >= 120
    assert world.peak_bytes < MAX_PEAK_BYTES


def test_no_cookie_is_ever_sent(world: World) -> None:
    assert not any(b"cookie" in asked.head.lower() for asked in world.sites["http"].log)


def test_name_that_rebinds_is_refused_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS says the one allowed address first, an inner one as soon as its answer has aged."""
    told_by_dns = iter(["127.0.0.1", "10.0.0.1"])
    connected = []
    connect = asyncio.SelectorEventLoop.sock_connect

    async def noted(loop: Any, made: socket.socket, address: tuple[str, int]) -> None:
        connected.append(address[0])
        await connect(loop, made, address)

    def resolve(_host: str, *_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(told_by_dns), 0))]

    async def twice(port: int) -> list[str]:
        where = Reach(connect_to=None, allowed=frozenset({("127.0.0.1", port)}))
        async with Client(where, LIMITS, "Bot/1.0") as client:
            url = f"http://rebinds.test:{port}/"
            replies = [await client.get(url, _ROBOTS) for _ in range(2)]
        return [reply.drop.reason if reply.drop else str(reply.status) for reply in replies]

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", noted)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(guard, "_DNS_TTL_S", 0.0)
    with Site() as site:
        assert asyncio.run(twice(site.port)) == ["404", "address_refused"]
    assert connected == ["127.0.0.1"]

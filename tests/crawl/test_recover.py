"""Dead links against a stand-in for Common Crawl on loopback: collections, index, archives.

The stand-in writes records and index by the formats' descriptions; of what is tested it borrows the
key alone, which has tests of its own.
"""

import asyncio
import base64
import dataclasses
import errno
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from warcio.checker import Checker

from crawl import ccfiles, ccindex, recover
from crawl.ccindex import Block, Capture, Cluster
from crawl.fetch import INTERNET
from crawl.journal import Journal
from crawl.surt import surt
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, shards, urls, warc
from pipeline.store.errors import RetryableError
from pipeline.store.records import Drop
from pipeline.store.shards import Counts, FileInfo
from pipeline.store.warc import Response
from tests.crawl.site import Site, page, reach, write_links
from tests.crawl.test_crawl import CONFIG as CRAWL

HOST = "archive.test"
CONFIG = recover.Config(
    collections_url=f"http://{HOST}/collinfo.json",
    data_url=f"http://{HOST}/",
    outcomes=("dns", "connect", "http_404", "soft_404"),
    max_distance_days=200.0,
    max_collections=3,
    concurrency=3,
    min_delay_s=0.0,
)
POSTED = 1_509_494_400  # 2017-11-01, of every link that `write_links` writes
LINES_PER_BLOCK = 5


class Stand:
    """A small Common Crawl: what is added is served when `open` was called."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.files: dict[str, bytes] = {}
        self.lines: dict[str, list[str]] = {}
        self.spans: dict[str, tuple[str, str]] = {}
        self.asked: list[tuple[str, int, int]] = []

    def collection(self, name: str, begin: str, end: str) -> None:
        self.spans[name] = (begin, end)
        self.lines.setdefault(name, [])

    def capture(self, name: str, page_url: str, stamp: str, body: bytes, **told: str) -> None:
        """Adds a page to a collection; `told` are fields of its line that are to be other."""
        path = f"crawl-data/{name}/warc/a.warc.gz"
        record = _record(page_url, stamp, body, told.pop("headers", ""), told.pop("code", "200 OK"))
        data = self.files.get(path, b"")
        self.files[path] = data + record
        fields = {
            "url": page_url,
            "mime": "text/html",
            "mime-detected": "text/html",
            "status": "200",
            "digest": _digest(body),
            "length": str(len(record)),
            "offset": str(len(data)),
            "filename": path,
        } | told
        parsed = urls.parse(page_url)
        assert parsed is not None
        self.lines[name].append(f"{surt(parsed)} {stamp} {json.dumps(fields)}")

    def open(self) -> None:
        told = [
            {"id": name, "cdx-api": f"http://{HOST}/{name}-index", "from": begin, "to": end}
            for name, (begin, end) in self.spans.items()
        ]
        self.site.answer(f"http://{HOST}/collinfo.json", page(json.dumps(told).encode()))
        for name, lines in self.lines.items():
            self._index(name, sorted(lines))
        for path, data in self.files.items():
            self.site.routes[f"{HOST}/{path}"] = [lambda w, p=path, d=data: self._range(w, p, d)]  # type: ignore[misc]

    def _index(self, name: str, lines: list[str]) -> None:
        base = f"cc-index/collections/{name}/indexes/"
        cluster, data = [], b""
        for number in range(0, len(lines), LINES_PER_BLOCK):
            block = gzip.compress(
                "".join(f"{x}\n" for x in lines[number:][:LINES_PER_BLOCK]).encode()
            )
            key = " ".join(lines[number].split(" ")[:2])
            cluster.append(f"{key}\tcdx-00000.gz\t{len(data)}\t{len(block)}\t{number}\n")
            data += block
        self.files[base + "cluster.idx"] = "".join(cluster).encode()
        self.files[base + "cdx-00000.gz"] = data

    async def _range(self, writer: asyncio.StreamWriter, path: str, data: bytes) -> None:
        head = next(r.head for r in reversed(self.site.log) if r.path == f"/{path}")
        first, last = re.search(rb"Range: bytes=(\d+)-(\d+)", head).groups()  # type: ignore[union-attr]
        begin, end = int(first), min(int(last) + 1, len(data))
        self.asked.append((path, begin, int(last) + 1))
        if begin >= len(data):
            writer.write(page(b"", 416))
            return
        told = f"Content-Range: bytes {begin}-{end - 1}/{len(data)}"
        writer.write(page(data[begin:end], 206, told, kind="application/octet-stream"))


def _record(url: str, stamp: str, body: bytes, extra: str, code: str) -> bytes:
    """Returns one record as the archive's own crawler writes it: bodies decoded, names changed."""
    date = datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    http = [f"HTTP/1.1 {code}", "Content-Type: text/html", "X-Crawl-Content-Encoding: gzip"]
    block = "\r\n".join([*http, *([extra] if extra else []), "", ""]).encode() + body
    head = [
        "WARC/1.0",
        "WARC-Type: response",
        f"WARC-Date: {date:%Y-%m-%dT%H:%M:%SZ}",
        "WARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-000000000000>",
        f"WARC-Target-URI: {url}",
        f"WARC-Payload-Digest: sha1:{_digest(body)}",
        f"WARC-Block-Digest: sha1:{_digest(block)}",
        "WARC-IP-Address: 192.0.2.7",
        "Content-Type: application/http; msgtype=response",
        f"Content-Length: {len(block)}",
    ]
    return gzip.compress("\r\n".join([*head, "", ""]).encode() + block + b"\r\n\r\n")


def _digest(data: bytes) -> str:
    return base64.b32encode(hashlib.sha1(data).digest()).decode()


@pytest.fixture
def stand() -> Iterator[Stand]:
    with Site() as site:
        stand = Stand(site)
        stand.collection("CC-MAIN-2017-17", "2017-04-23T00:00:00", "2017-05-01T00:00:00")
        stand.collection("CC-MAIN-2017-43", "2017-10-16T00:00:00", "2017-10-24T00:00:00")
        stand.collection("CC-MAIN-2017-47", "2017-11-17T00:00:00", "2017-11-25T00:00:00")
        stand.collection("CC-MAIN-2019-09", "2019-02-15T00:00:00", "2019-02-24T00:00:00")
        for number in range(23):  # neighbours, so that a link's lines begin within a block
            for name in stand.spans:
                stand.capture(name, f"http://other{number:02d}.test/", "20171020000000", b"other")
        yield stand


def _inputs(folder: Path, dead: dict[str, str]) -> tuple[Path, Path]:
    """Writes links and what the crawl said of them."""
    links, fetches = folder / "links", folder / "fetches"
    path = write_links(links / "part-00000.parquet", list(dead))
    rows = pq.read_table(path).to_pylist()
    blank = dict.fromkeys(records.FETCHES.names)
    numbers = {"n_redirects": 0, "wire_bytes": 0, "attempts": 1, "opt_outs": [], "detail": ""}
    told = [
        blank
        | numbers
        | {k: row[k] for k in ("doc_id", "url", "host")}
        | {"outcome": dead[row["url"]]}
        for row in rows
    ]
    fetches.mkdir(parents=True, exist_ok=True)
    shards.write_table(fetches / "part-00000.parquet", pa.Table.from_pylist(told, records.FETCHES))
    for each, step in ((links, "links"), (fetches, "crawl")):
        file = each / "part-00000.parquet"
        info = FileInfo(
            n_bytes=file.stat().st_size, sha256=shards.sha256_file(file), rows=len(rows)
        )
        counts = Counts(n_in=len(rows), n_out=len(rows), dropped={})
        manifest.write(each, step, {file.name: info}, counts, {}, 1)
    return links, fetches


def _run(
    folder: Path, stand: Stand, dead: dict[str, str], engine: Engine, **changes: Any
) -> dict[str, dict[str, Any]]:
    """Looks links up; returns the row of each."""
    stand.open()
    config = dataclasses.replace(CONFIG, **changes)
    inputs = _inputs(folder, dead)
    recover.run(inputs, folder / "out", (config, CRAWL), reach(stand.site, HOST), engine)
    rows = pq.read_table(folder / "out/fetches/part-00000.parquet").to_pylist()
    return {row["url"]: row for row in rows}


def _answers(folder: Path) -> dict[str, Response]:
    found = list(warc.read_responses(folder / "out/warc/part-00000.warc.gz"))
    assert all(isinstance(each, Response) for each in found)
    return {r.link: r for r in found if isinstance(r, Response) and r.link is not None}


LINK = "http://gone.test/page?b=2&a=1"


def test_dead_link_gets_the_capture_nearest_to_its_submission(
    tmp_path: Path, stand: Stand, inline: Engine
) -> None:
    for name, stamp in (
        ("CC-MAIN-2017-17", "20170425000000"),
        ("CC-MAIN-2017-43", "20171018000000"),
        ("CC-MAIN-2017-43", "20171023120000"),
        ("CC-MAIN-2017-47", "20171120000000"),
    ):
        stand.capture(name, LINK, stamp, f"<p>seen {stamp}".encode())
    rows = _run(tmp_path, stand, {LINK: "dns"}, inline)
    assert rows[LINK]["outcome"] == "fetched"
    answer = _answers(tmp_path)[LINK]
    assert answer.body == b"<p>seen 20171023120000"
    assert (answer.warc_date, answer.url) == ("2017-10-23T12:00:00Z", LINK)
    assert answer.link_doc_id == rows[LINK]["doc_id"]
    assert answer.link_created_utc == POSTED
    read = {path.split("/")[2] for path, *_ in stand.asked if path.endswith("cdx-00000.gz")}
    assert read == {"CC-MAIN-2017-43"}, "no other collection can hold a nearer one"


def test_capture_after_the_submission_counts_where_it_is_nearer(
    tmp_path: Path, stand: Stand, inline: Engine
) -> None:
    stand.capture("CC-MAIN-2017-17", LINK, "20170425000000", b"<p>before")
    stand.capture("CC-MAIN-2017-47", LINK, "20171120000000", b"<p>after")
    _run(tmp_path, stand, {LINK: "connect"}, inline)
    assert _answers(tmp_path)[LINK].body == b"<p>after"


def test_only_dead_links_are_looked_up(tmp_path: Path, stand: Stand, inline: Engine) -> None:
    outcomes = ("fetched", "robots_disallowed", "opt_out", "deferred", "http_403", "http_404")
    dead = {f"http://{outcome.replace('_', '-')}.test/x": outcome for outcome in outcomes}
    for url in dead:
        stand.capture("CC-MAIN-2017-43", url, "20171018000000", b"<p>archived")
    rows = _run(tmp_path, stand, dead, inline)
    assert list(rows) == ["http://http-404.test/x"]


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        pytest.param({"status": "301"}, "not_archived", id="a redirect"),
        pytest.param(
            {"mime-detected": "image/png", "mime": "image/png"}, "not_archived", id="image"
        ),
        pytest.param({"url": "http://gone.test/page?b=2&a=9"}, "not_archived", id="another page"),
        pytest.param({"filename": "../../etc/passwd"}, "not_archived", id="outside the archive"),
        pytest.param({"offset": "-5"}, "not_archived", id="before the file"),
        pytest.param({"length": "99999999999"}, "damaged_record", id="endless"),
        pytest.param({"offset": "7"}, "damaged_record", id="in the midst of a record"),
        pytest.param({"filename": "crawl-data/none.gz"}, "damaged_record", id="no such file"),
        pytest.param({"digest": "A" * 32}, "fetched", id="other digest, but the record's holds"),
        pytest.param({"code": "404 Not Found"}, "http_404", id="the record says 404"),
        pytest.param({"headers": "X-Robots-Tag: noai"}, "opt_out", id="opts out"),
        pytest.param({"headers": "CF-Mitigated: challenge"}, "captcha", id="a challenge"),
    ],
)
def test_capture_is_checked_and_judged_like_a_page(
    tmp_path: Path, stand: Stand, inline: Engine, told: dict[str, str], outcome: str
) -> None:
    stand.capture("CC-MAIN-2017-43", LINK, "20171018000000", b"<p>archived", **told)
    rows = _run(tmp_path, stand, {LINK: "dns"}, inline)
    assert rows[LINK]["outcome"] == outcome
    assert (LINK in _answers(tmp_path)) is (outcome in ("fetched", "http_404"))


def test_record_whose_bytes_changed_is_damage(tmp_path: Path, stand: Stand, inline: Engine) -> None:
    stand.capture("CC-MAIN-2017-43", LINK, "20171018000000", b"<p>archived")
    path = "crawl-data/CC-MAIN-2017-43/warc/a.warc.gz"
    plain = gzip.decompress(
        stand.files[path][-400:][stand.files[path][-400:].rindex(b"\x1f\x8b") :]
    )
    forged = gzip.compress(plain.replace(b"<p>archived", b"<p>forgery!"))
    line = json.loads(stand.lines["CC-MAIN-2017-43"][-1].split(" ", 2)[2])
    stand.files[path] = stand.files[path][: int(line["offset"])] + forged
    stand.lines["CC-MAIN-2017-43"].pop()
    told = line | {"length": str(len(forged))}
    stand.lines["CC-MAIN-2017-43"].append(
        f"{surt(urls.parse(LINK))} 20171018000000 {json.dumps(told)}"  # type: ignore[arg-type]
    )
    rows = _run(tmp_path, stand, {LINK: "dns"}, inline)
    assert (rows[LINK]["outcome"], "digest" in rows[LINK]["detail"]) == ("damaged_record", True)


def test_link_far_from_every_collection_asks_for_none(
    tmp_path: Path, stand: Stand, inline: Engine
) -> None:
    rows = _run(tmp_path, stand, {LINK: "dns"}, inline, max_distance_days=1.0)
    assert rows[LINK]["outcome"] == "not_archived"
    assert [request.path for request in stand.site.log] == ["/collinfo.json"]


def test_what_is_stored_names_its_source_and_passes_warcio_check(
    tmp_path: Path, stand: Stand, inline: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    stand.capture("CC-MAIN-2017-43", LINK, "20171018000000", b"<p>archived")
    rows = _run(tmp_path, stand, {LINK: "dns"}, inline)
    file = tmp_path / "out/warc/part-00000.warc.gz"
    told = gzip.decompress(file.read_bytes()).decode()
    assert re.search(
        r"Outbound-Source: crawl-data/CC-MAIN-2017-43/warc/a.warc.gz \d+ \d+\r\n", told
    )
    assert "WARC-Type: request" not in told
    assert "crawl-data/CC-MAIN-2017-43" in rows[LINK]["detail"]
    checker = Checker(type("Arguments", (), {"inputs": [str(file)], "verbose": True})())
    checker.process_all()
    assert checker.exit_value == 0
    assert "digest pass" in capsys.readouterr().out


def test_links_side_by_side_share_a_block_and_the_index_is_fetched_once(
    tmp_path: Path, stand: Stand, inline: Engine
) -> None:
    dead = {f"http://gone.test/{i}": "dns" for i in range(3)}
    for url in dead:
        stand.capture("CC-MAIN-2017-43", url, "20171018000000", url.encode())
    rows = _run(tmp_path, stand, dead, inline)
    assert {row["outcome"] for row in rows.values()} == {"fetched"}
    blocks = [each for each in stand.asked if each[0].endswith("2017-43/indexes/cdx-00000.gz")]
    assert len(blocks) == len(set(blocks)) <= 2
    indexes = [path for path, *_ in stand.asked if path.endswith("cluster.idx")]
    assert len(indexes) == len(set(indexes)) == 3, "those within the distance, once each"


def test_archive_that_fails_leaves_links_for_the_next_run_and_asks_nothing_twice(
    tmp_path: Path, stand: Stand, inline: Engine
) -> None:
    dead = {f"http://gone{i}.test/": "dns" for i in range(4)}
    for url in dead:
        stand.capture("CC-MAIN-2017-43", url, "20171018000000", url.encode())
    stand.open()
    whole = stand.site.routes[f"{HOST}/crawl-data/CC-MAIN-2017-43/warc/a.warc.gz"]
    stand.site.routes[f"{HOST}/crawl-data/CC-MAIN-2017-43/warc/a.warc.gz"] = [page(b"", 503)]
    inputs = _inputs(tmp_path, dead)
    arguments = (inputs, tmp_path / "out", (CONFIG, CRAWL), reach(stand.site, HOST), inline)
    first = recover.run(*arguments)
    assert first["counts"]["dropped"] == {"deferred": 4}
    stand.site.routes[f"{HOST}/crawl-data/CC-MAIN-2017-43/warc/a.warc.gz"] = whole
    second = recover.run(*arguments)
    assert second["counts"] == {"n_in": 4, "n_out": 4, "dropped": {}}
    n_asked = len(stand.site.log)
    assert recover.run(*arguments) == second
    assert len(stand.site.log) == n_asked + 1, "only the list of collections"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(page(b"", 503), "status 503", id="refused"),
        pytest.param(page(b'[{"id": "CC-MAIN-2017-43"}]')[:-9], "status 200, disconnect", id="cut"),
    ],
)
def test_list_that_cannot_be_had_stops_with_a_remedy(
    tmp_path: Path, stand: Stand, inline: Engine, answer: bytes, why: str
) -> None:
    stand.open()
    stand.site.answer(f"http://{HOST}/collinfo.json", answer)
    inputs = _inputs(tmp_path, {LINK: "dns"})
    with pytest.raises(RetryableError, match=rf"{why}.*stages.recover"):
        recover.run(inputs, tmp_path / "out", (CONFIG, CRAWL), reach(stand.site, HOST), inline)


def test_error_of_one_worker_stops_the_look_up_as_it_was_raised(
    tmp_path: Path, stand: Stand, inline: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    _run(tmp_path, stand, {LINK: "dns"}, inline)
    monkeypatch.setattr(Journal, "add", full)
    with pytest.raises(OSError, match="No space left"):
        _run(tmp_path, stand, {LINK: "dns", "http://gone.test/": "dns"}, inline)
    assert not list((tmp_path / "out").glob("*/manifest.json")), "what is unfinished has none"


def test_internet_is_not_asked_without_a_contact(tmp_path: Path, inline: Engine) -> None:
    with pytest.raises(ValueError, match=r"crawl\.contact is null"):
        recover.run((tmp_path, tmp_path), tmp_path, (CONFIG, CRAWL), INTERNET, inline)


@pytest.mark.parametrize("outcome", ["robots_disallowed", "opt_out", "http_403"])
def test_refusal_of_a_site_cannot_be_made_dead_by_params(outcome: str) -> None:
    with pytest.raises(ValueError, match="outcomes is"):
        dataclasses.replace(CONFIG, outcomes=("dns", outcome))


# ── the index ────────────────────────────────────────────────────────────────────────────────────

_KEYS = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=40)


@given(_KEYS, st.text("abcd", min_size=1, max_size=3))
def test_blocks_of_a_key_are_those_that_a_scan_finds(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], wanted: str
) -> None:
    lines = sorted(f"org,{key})/ 2017{i:04d} {{}}" for i, key in enumerate(sorted(keys)))
    blocks = [lines[i : i + 3] for i in range(0, len(lines), 3)]
    path = tmp_path_factory.mktemp("index") / "cluster.idx"
    path.write_text(
        "".join(
            f"{' '.join(b[0].split(' ')[:2])}\tcdx.gz\t{i}\t1\t{i}\n" for i, b in enumerate(blocks)
        )
    )
    key = f"org,{wanted})/"
    expected = {i for i, block in enumerate(blocks) if any(x.startswith(f"{key} ") for x in block)}
    found = [block.offset for block in Cluster(path).blocks(key)]
    assert set(found) >= expected if len(expected) <= 7 else len(found) == 8
    assert found == sorted(found)
    assert len(found) <= len(expected) + 1


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://www.Example.org/", "org,example)/"),
        ("https://www2.example.org:443/A/B/", "org,example)/a/b"),
        ("http://example.org:8080/?q", "org,example:8080)/?q"),
        ("http://example.org/?b=1&a=2&a=1", "org,example)/?a=1&a=2&b=1"),
        ("http://example.org/a%2Fb%7Ec%20d", "org,example)/a/b~c%20d"),
        ("http://example.org//a///b", "org,example)/a/b"),
        (f"http://example.org/x?PHPSESSID={'0a' * 16}&y=1", "org,example)/x?y=1"),
        ("http://example.org/(S(abcdefghijklmnopqrstuvwx))/p.aspx", "org,example)/p.aspx"),
        ("http://m\u00fcller.example/\u00e9", "example,xn--mller-kva)/%c3%a9"),
        ("http://192.0.2.7/x", "7,2,0,192)/x"),
    ],
)  # fmt: skip
def test_key_of_an_address_is_the_archives(url: str, key: str) -> None:
    parsed = urls.parse(url)
    assert parsed is not None
    assert surt(parsed).replace("%C3%A9", "%c3%a9") == key


def test_keys_of_a_real_index_line_are_ours(real_data: Path) -> None:
    """Captures of real archives: the key is what a reader of CDX files would look for."""
    n = 0
    for path in sorted((real_data / "warc").rglob("*.warc.gz")):
        for found in warc.read_responses(path):
            if isinstance(found, Response) and (parsed := urls.parse(found.url)):
                key = surt(parsed)
                assert re.fullmatch(r"[^ A-Z]+\)/[^ A-Z]*", key), key
                n += 1
    assert n > 100


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes_of_an_index_give_captures_or_none(block: bytes, line: bytes) -> None:
    assert isinstance(ccindex.captures(block, "org,a)/"), list)
    assert isinstance(ccindex.captures(b"org,a)/ 20171018000000 " + line, "org,a)/"), list)
    assert ccindex.inflate(line, 100) is None or len(line) > 10


def test_number_of_5000_digits_is_damage_not_an_error(tmp_path: Path) -> None:
    index = tmp_path / "cluster.idx"
    index.write_text(f"org,a)/ 2017\tcdx.gz\t{'9' * 5000}\t1\t0\n")
    assert Cluster(index).blocks("org,a)/") == []
    capture = Capture(LINK, POSTED, "200", (), "", Block("a.warc.gz", 0, 1))
    record = b"WARC/1.0\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    assert ccfiles.read_capture(record, capture) == Drop("damaged_record", "a.warc.gz")


@pytest.mark.parametrize(
    ("name", "spans"),
    [
        ("CC-MAIN-2017-51", ("2017-11-27", "2017-12-25")),
        ("CC-MAIN-2009-2010", None),
        ("CC-MAIN-2017-99", None),
    ],
)
def test_collection_without_dates_goes_by_the_week_in_its_name(
    name: str, spans: tuple[str, str] | None
) -> None:
    found = ccindex.parse_collections(json.dumps([{"id": name}]).encode())
    days = [
        tuple(datetime.fromtimestamp(x, UTC).strftime("%Y-%m-%d") for x in (c.begin, c.end))
        for c in found
    ]
    assert days == ([spans] if spans else [])

"""WARC files: what is written opens everywhere, what is read is damaged, foreign or both."""

import gzip
import io
import json
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator as FastIterator
from fastwarc.warc import WarcRecordType
from hypothesis import given
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator
from warcio.checker import Checker

from pipeline.store import content, warc
from pipeline.store.warc import Damage, Exchange, LinkFields, Response

LINK = LinkFields(url="http://a.test/x", doc_id="0123456789abcdef", created_utc=1_509_494_400)


def exchange(
    body: bytes = b"<p>hi",
    *headers: tuple[bytes, bytes],
    url: str = "http://a.test/x",
    truncated: str = "",
    status_line: str = "HTTP/1.1 200 OK",
) -> Exchange:
    """Returns an exchange."""
    return Exchange(
        url=url,
        date="2017-12-01T00:00:00Z",
        address="127.0.0.1",
        request=b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n",
        status_line=status_line,
        headers=headers or ((b"Content-Type", b"text/html; charset=utf-8"),),
        body=body,
        truncated=truncated,
    )


def write(path: Path, exchanges: Sequence[Exchange], link: LinkFields | None = LINK) -> list[str]:
    """Writes a WARC file; returns its index."""
    data = warc.encode_info(path.name, "2017-12-01T00:00:00Z", [("robots", "obey")])
    index = []
    for number, each in enumerate(exchanges):
        encoded = warc.encode_exchange(each, f"test {number}", link)
        index.append(warc.index_line(encoded, len(data), path.name))
        data += encoded.data
    path.write_bytes(data)
    return index


def responses(path: Path) -> list[Response]:
    """Reads a file that must be whole."""
    found = list(warc.read_responses(path))
    damages = [each for each in found if isinstance(each, Damage)]
    assert damages == []
    return [each for each in found if isinstance(each, Response)]


BODIES = (
    b"",
    b"<p>hi",
    b"\r\n\r\nWARC/1.1\r\n",
    bytes(range(256)) * 300,
    "Straße – 東京".encode() * 5000,
)


def test_file_opens_in_two_other_readers_with_equal_payloads(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    write(path, [exchange(body) for body in BODIES])
    theirs = []
    with path.open("rb") as file:
        kinds = []
        for record in ArchiveIterator(file):
            kinds.append(record.rec_type)
            if record.rec_type == "response":
                theirs.append(record.raw_stream.read())
    assert kinds == ["warcinfo", *["request", "response"] * len(BODIES)]
    with path.open("rb") as file:
        fast = [
            record.reader.read()
            for record in FastIterator(file, WarcRecordType.response, parse_http=True)
        ]
    ours = [response.body for response in responses(path)]
    assert list(BODIES) == theirs == fast == ours


def test_file_passes_warcio_check_of_digests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.warc.gz"
    write(path, [exchange(body) for body in BODIES])
    checker = Checker(_Arguments([str(path)]))
    checker.process_all()
    said = capsys.readouterr().out
    assert checker.exit_value == 0, said
    assert "digest pass" in said
    assert "fail" not in said


class _Arguments:
    """What `warcio check -v FILE` is called with."""

    def __init__(self, inputs: list[str]) -> None:
        self.inputs = inputs
        self.verbose = True


def test_every_record_is_a_gzip_member_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    write(path, [exchange(body) for body in BODIES])
    rest, members = path.read_bytes(), 0
    while rest:
        inflater = zlib.decompressobj(31)
        assert inflater.decompress(rest).startswith(b"WARC/1.1\r\n")
        assert inflater.eof
        rest, members = inflater.unused_data, members + 1
    assert members == 1 + 2 * len(BODIES)


def test_equal_exchanges_give_equal_bytes_and_record_ids_are_distinct(tmp_path: Path) -> None:
    one = warc.encode_exchange(exchange(), "crawl 0", LINK)
    assert one == warc.encode_exchange(exchange(), "crawl 0", LINK)
    assert one.data != warc.encode_exchange(exchange(), "crawl 1", LINK).data
    path = tmp_path / "a.warc.gz"
    write(path, [exchange(), exchange()])
    with path.open("rb") as file:
        ids = [record.rec_headers.get_header("WARC-Record-ID") for record in ArchiveIterator(file)]
    assert len(set(ids)) == len(ids) == 5


def test_link_fields_mark_the_answer_only(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    write(path, [exchange()])
    (answer,) = responses(path)
    assert answer.link == LINK.url
    assert answer.link_doc_id == LINK.doc_id
    assert answer.link_created_utc == LINK.created_utc
    write(path, [exchange(status_line="HTTP/1.1 302 Found")], link=None)
    (hop,) = responses(path)
    assert (hop.http_status, hop.link, hop.link_doc_id) == (302, None, None)
    assert hop.link_created_utc is None


def test_headers_that_are_no_longer_true_are_renamed(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    sent = ((b"Transfer-Encoding", b"chunked"), (b"content-length", b"999"), (b"X", b"\xe9"))
    write(path, [exchange(b"<p>hi", *sent)])
    (answer,) = responses(path)
    assert answer.body == b"<p>hi"
    assert [pair for pair in answer.http_headers if pair[0] != "X"] == [
        ("X-Crawler-Transfer-Encoding", "chunked"),
        ("X-Crawler-content-length", "999"),
        ("Content-Length", "5"),
    ]


def test_truncated_body_is_marked_in_the_file_and_when_read(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    write(path, [exchange(truncated="disconnect")])
    (answer,) = responses(path)
    assert answer.truncated == "disconnect"
    with path.open("rb") as file:
        *_, last = (
            record.rec_headers.get_header("WARC-Truncated") for record in ArchiveIterator(file)
        )
    assert last == "disconnect"


def test_index_leads_to_the_response(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    lines = write(path, [exchange(b"one"), exchange(b"two", url="http://www.a.test:8080/Y?q")])
    assert lines[1].startswith("test,a,www:8080)/y?q 20171201000000 {")
    data = path.read_bytes()
    for line, body in zip(lines, (b"one", b"two"), strict=True):
        told = json.loads(line.split(" ", 2)[2])
        begin = int(told["offset"])
        member = gzip.decompress(data[begin : begin + int(told["length"])])
        assert member.endswith(b"\r\n\r\n" + body + b"\r\n\r\n")
        assert told["mime"] == "text/html"


# ── damage ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """A file of six responses of incompressible bytes, 3 kB each."""
    path = tmp_path / "whole.warc.gz"
    noise = [random.Random(n).randbytes(3000) for n in range(6)]
    write(path, [exchange(noise[n], url=f"http://a.test/{n}") for n in range(6)])
    return path.read_bytes()


def _read(folder: Path, data: bytes) -> tuple[list[str], list[Damage]]:
    path = folder / "read.warc.gz"
    path.write_bytes(data)
    found = list(warc.read_responses(path))
    urls = [each.url[-1] for each in found if isinstance(each, Response)]
    return urls, [each for each in found if isinstance(each, Damage)]


def test_file_cut_at_any_byte_is_noticed_unless_it_is_cut_between_records(
    tmp_path: Path, whole: bytes
) -> None:
    ends, rest = [], whole
    while rest:
        inflater = zlib.decompressobj(31)
        inflater.decompress(rest)
        rest = inflater.unused_data
        ends.append(len(whole) - len(rest))
    cuts = sorted(
        {*range(1, len(whole), 97), *ends, *(e - 1 for e in ends), *(e + 5 for e in ends)}
    )
    for cut in cuts:
        urls, damages = _read(tmp_path, whole[:cut])
        assert bool(damages) == (cut not in ends and cut < len(whole)), cut
        n_whole = sum(end <= cut for end in ends[2::2])  # behind warcinfo, request, response
        assert urls[:n_whole] == [str(n) for n in range(n_whole)], cut
        assert len(urls) <= n_whole + 1  # a body that is whole but for its last bytes


@pytest.mark.parametrize("n_bytes", [1, 40, 3000])
@pytest.mark.parametrize("kind", ["zeros", "gone", "extra"])
def test_damage_costs_the_records_it_hits_and_no_other(
    tmp_path: Path, whole: bytes, kind: str, n_bytes: int
) -> None:
    middle = len(whole) // 2
    damaged = {
        "zeros": whole[:middle] + bytes(n_bytes) + whole[middle + n_bytes :],
        "gone": whole[:middle] + whole[middle + n_bytes :],
        "extra": whole[:middle] + b"\xaa" * n_bytes + whole[middle:],
    }[kind]
    if damaged == whole:
        pytest.skip("there was a zero")
    urls, damages = _read(tmp_path, damaged)
    assert len(damages) >= 1
    assert {"0", "1", "5"} <= set(urls)
    assert urls == sorted(set(urls))
    assert len(urls) >= 4
    assert all(0 <= d.offset <= d.end <= len(damaged) for d in damages)


@pytest.mark.parametrize("data", [b"\0" * 999, b"no WARC at all\n" * 99, b"\x1f\x8b\x08" * 99])
def test_file_that_is_something_else_is_damage(tmp_path: Path, data: bytes) -> None:
    urls, (damage,) = _read(tmp_path, data)
    assert urls == []
    assert (damage.offset, damage.end) == (0, len(data))


def test_file_without_a_byte_is_whole_and_empty(tmp_path: Path) -> None:
    assert _read(tmp_path, b"") == ([], [])


def test_beginning_that_is_damaged_does_not_hide_the_rest(tmp_path: Path, whole: bytes) -> None:
    urls, damages = _read(tmp_path, bytes(9) + whole[9:])
    assert urls == ["0", "1", "2", "3", "4", "5"]
    assert damages[0].offset == 0


@given(st.binary(max_size=400))
def test_any_bytes_can_be_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.warc.gz"
    for begin in (b"", b"\x1f\x8b\x08", b"WARC/1.0\r\n", b"WARC/1.0\r\nWARC-Type: response\r\n"):
        path.write_bytes(begin + data)
        for found in warc.read_responses(path):
            assert isinstance(found, Response | Damage)


# ── foreign files ────────────────────────────────────────────────────────────────────────────────


def _record(block: bytes, length: int | None = None, kind: str = "response", **more: str) -> bytes:
    fields = {"WARC-Type": kind, "WARC-Target-URI": "http://a.test/x", **more}
    fields.setdefault("Content-Type", "application/http; msgtype=response")
    lines = ["WARC/1.0", *(f"{name}: {value}" for name, value in fields.items())]
    lines.append(f"Content-Length: {len(block) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + block + b"\r\n\r\n"


def _http(body: bytes, *lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + body


def _one(folder: Path, record: bytes) -> Response:
    path = folder / "a.warc"
    path.write_bytes(record)
    (found,) = warc.read_responses(path)
    assert isinstance(found, Response)
    return found


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("block", "body"),
    [
        pytest.param(_http(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", CHUNKED), b"abcde", id="chunked"),
        pytest.param(_http(b"3;x=y\r\nabc\r\n0\r\nTrailer: a\r\n\r\n", CHUNKED.upper()), b"abc",
                     id="chunked with extensions"),
        pytest.param(_http(b"<p>not chunked", CHUNKED), b"<p>not chunked",
                     id="says chunked, is not"),
        pytest.param(_http(gzip.compress(b"zip"), "Content-Encoding: x-gzip"), b"zip", id="gzip"),
        pytest.param(_http(b"<p>plain", "Content-Encoding: gzip"), b"<p>plain",
                     id="says gzip, is not"),
        pytest.param(
            _http(b"%x\r\n%b\r\n0\r\n\r\n" % (len(gzip.compress(b"both")), gzip.compress(b"both")),
                  CHUNKED, "Content-Encoding: gzip"), b"both", id="both"),
        pytest.param(b"HTTP/1.0 200\n\nold line ends", b"old line ends", id="bare line feeds"),
    ],
)  # fmt: skip
def test_foreign_response_is_decoded(tmp_path: Path, block: bytes, body: bytes) -> None:
    found = _one(tmp_path, _record(block))
    assert (found.http_status, found.body, found.undecoded) == (200, body, "")
    assert found.link is None


def test_foreign_encoding_that_cannot_be_undone_is_named(tmp_path: Path) -> None:
    found = _one(tmp_path, _record(_http(b"\x0b\x02\x80abc\x03", "Content-Encoding: br")))
    assert (found.body, found.undecoded) == (b"\x0b\x02\x80abc\x03", "br")


@pytest.mark.parametrize("lost", [1, 8, 30])
def test_gzip_body_with_a_damaged_tail_gives_what_comes_before(tmp_path: Path, lost: int) -> None:
    page = b"".join(b"<p>%d</p>" % n for n in range(2000))
    packed = gzip.compress(page, 6)
    damaged = packed[:-lost] + b"\xff" * lost
    found = _one(tmp_path, _record(_http(damaged, "Content-Encoding: gzip")))
    assert found.undecoded == "gzip"
    assert page.startswith(found.body[:-4])
    assert len(found.body) > 0.9 * len(page)


@pytest.mark.parametrize("n_bytes", [99, 100, 101])
@pytest.mark.parametrize("is_packed", [True, False])
def test_body_beyond_the_readers_limit_is_cut_and_marked(
    tmp_path: Path, n_bytes: int, is_packed: bool
) -> None:
    page = b"x" * n_bytes
    block = _http(gzip.compress(page), "Content-Encoding: gzip") if is_packed else _http(page)
    path = tmp_path / "a.warc"
    path.write_bytes(_record(block))
    (found,) = warc.read_responses(path, max_body_bytes=100)
    assert isinstance(found, Response)
    assert len(found.body) == min(n_bytes, 100)
    assert found.truncated == ("length" if n_bytes > 100 else "")


def test_gzip_bomb_is_not_inflated_beyond_the_limit(tmp_path: Path) -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(128)) + deflater.flush()
    path = tmp_path / "a.warc"
    path.write_bytes(_record(_http(bomb, "Content-Encoding: gzip")))
    (found,) = warc.read_responses(path, max_body_bytes=1 << 20)
    assert isinstance(found, Response)
    assert (len(found.body), found.truncated) == (1 << 20, "length")


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(_record(b"", kind="warcinfo"), id="warcinfo"),
        pytest.param(_record(_http(b"x"), kind="revisit"), id="revisit"),
        pytest.param(_record(b"1.2.3.4", **{"Content-Type": "text/dns"}), id="dns"),
    ],
)
def test_record_of_another_kind_is_passed_over(tmp_path: Path, record: bytes) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(record)
    assert list(warc.read_responses(path)) == []


def test_record_without_a_status_line_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(_record(b"<p>no header") + _record(_http(b"next")))
    damage, response = warc.read_responses(path)
    assert isinstance(damage, Damage)
    assert isinstance(response, Response)
    assert damage.reason == "record has no HTTP status line"
    assert response.body == b"next"


def test_body_shorter_than_its_record_says_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(_record(_http(b"short"), length=9999))
    (damage,) = warc.read_responses(path)
    assert isinstance(damage, Damage)
    assert "of" in damage.reason


# Responses and damaged stretches that a reader must find in each real file.
REAL = {
    "dolma/sample-0000.warc.gz": (22, 0),
    "dolma/sample-0001.warc.gz": (15, 0),
    "resiliparse/clipped.warc.gz": (0, 1),
    "resiliparse/clueweb-quirk.warc.gz": (29, 0),
    "resiliparse/warcfile.warc.gz": (16, 0),
    "resiliparse/warcfile.warc.lz4": (16, 0),
    "stormcrawler/test.warc.gz": (18, 0),
    "stormcrawler/unparsable-date.warc.gz": (1, 0),
    "warcio/bad.arc": (0, 4),
    "warcio/example-bad-non-chunked.warc.gz": (1, 0),
    "warcio/example-iana.org-chunked.warc": (1, 0),
    "warcio/example-trunc.warc": (1, 0),
    "warcio/example-wget-bad-target-uri.warc.gz": (1, 0),
    "warcio/example-wrong-chunks.warc.gz": (1, 0),
    "warcio/example.warc": (1, 0),
    "warcio/example.warc.gz": (1, 0),
    "warcio/post-test.warc.gz": (3, 0),
    "warcio/standard-torture-validate-record.warc": (1, 0),
    "whirlwind/whirlwind.warc.gz": (1, 0),
    "whirlwind/whirlwind.warc.wet.gz": (1, 0),
}


@pytest.mark.parametrize("name", REAL)
def test_real_file_gives_its_responses_and_tells_its_damage(real_data: Path, name: str) -> None:
    found = list(warc.read_responses(real_data / "warc" / name))
    n_responses = sum(isinstance(each, Response) for each in found)
    assert (n_responses, len(found) - n_responses) == REAL[name]
    for each in found:
        if isinstance(each, Response):
            assert each.url.startswith("http") or each.kind == "conversion"


@pytest.mark.parametrize("name", ["resiliparse/warcfile.warc.gz", "dolma/sample-0000.warc.gz"])
def test_real_file_gives_the_payloads_that_warcio_gives(real_data: Path, name: str) -> None:
    path = real_data / "warc" / name
    with path.open("rb") as file:
        theirs = [
            (
                record.rec_headers.get_header("WARC-Target-URI").strip("<>"),
                record.content_stream().read(),
            )
            for record in ArchiveIterator(file)
            if record.rec_type == "response"
        ]
    assert [(r.url, r.body) for r in responses(path)] == theirs


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────


@given(st.binary(max_size=2000), st.lists(st.sampled_from(["gzip", "deflate", "raw"]), max_size=3))
def test_decoding_undoes_any_stack_of_encodings(body: bytes, stack: list[str]) -> None:
    packed, names = body, []
    for kind in stack:
        bits = {"gzip": 31, "deflate": 15, "raw": -15}[kind]
        deflater = zlib.compressobj(6, zlib.DEFLATED, bits)
        packed = deflater.compress(packed) + deflater.flush()
        names.append("gzip" if kind == "gzip" else "deflate")
    assert content.decode(packed, ", ".join(names), 10_000) == (body, "", False)


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "br", "gzip, deflate", ""]))
def test_decoding_any_bytes_never_fails_and_never_exceeds(body: bytes, encoding: str) -> None:
    decoded = content.decode(body, encoding, 100)
    assert len(decoded.body) <= 100


def test_member_that_is_followed_by_padding_is_whole() -> None:
    padded = io.BytesIO(gzip.compress(b"page") + bytes(512)).read()
    assert content.decode(padded, "gzip", 100) == (b"page", "", False)

"""The parser alone: the same answer whatever the pieces; an answer or an error for any bytes."""

import http.client
import io
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawl.http1 import Answer, ProtocolError

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = [
    OK + b"Content-Length: 5\r\n\r\nabcde",
    OK + b"Content-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n",
    OK + b"\r\nuntil the end",
    CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n",
    CHUNKED + b"1\na\n0\n\n",
    b"\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    b"HTTP/1.0 404\nServer: old\n folded\n\nno",
    CHUNKED + b"1\r\na\r\nzz\r\n",
    OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"nonsense",
]


def read(pieces: list[bytes]) -> tuple[Any, ...]:
    """Returns all that a parser tells of an answer that comes in pieces."""
    answer, error = Answer(4096, 64), ""
    try:
        for piece in pieces:
            answer.feed(piece)
        is_whole = answer.end()
    except ProtocolError as wrong:
        is_whole, error = False, str(wrong)
    told = answer.status_line, answer.headers, bytes(answer.body)
    return *told, answer.announced, is_whole, answer.leaves_open, error


@pytest.mark.parametrize("data", WHOLE)
@given(cuts=st.lists(st.integers(0, 120), max_size=8))
def test_answer_in_any_pieces_is_the_same(data: bytes, cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(ends)]
    assert read(pieces) == read([data]) == read([data[i : i + 1] for i in range(len(data))])


@given(st.binary(max_size=200), st.sampled_from([b"", OK, CHUNKED, CHUNKED + b"5\r\nabcde\r\n"]))
def test_any_bytes_give_an_answer_or_a_protocol_error(data: bytes, before: bytes) -> None:
    *_, body, _, _, _, _ = read([before, data])
    assert len(body) <= len(before) + len(data)


@given(
    st.lists(st.tuples(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,9}", fullmatch=True),
                       st.text("abcXYZ019 :;=/", max_size=20)), max_size=6),
    st.binary(max_size=300), st.sampled_from(["length", "chunked", "close"]),
)  # fmt: skip
def test_well_formed_answer_reads_as_the_standard_library_reads_it(
    headers: list[tuple[str, str]], body: bytes, framing: str
) -> None:
    """`http.client` is an independent reader of the same bytes."""
    framed = ("content-length", "transfer-encoding", "connection")
    lines = [f"{name}: {value}" for name, value in headers if name.lower() not in framed]
    sent = body
    if framing == "length":
        lines.append(f"Content-Length: {len(body)}")
    elif framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
        chunks = [body[i : i + 7] for i in range(0, len(body), 7)]
        sent = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    data = "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + sent

    class Connection:
        def makefile(self, *_: object) -> io.BytesIO:
            return io.BytesIO(data)

    theirs = http.client.HTTPResponse(Connection())  # type: ignore[arg-type]
    theirs.begin()
    line, found, ours, _, is_whole, _, error = read([data])
    assert (line, error, is_whole) == ("HTTP/1.1 200 OK", "", True)
    assert ours == theirs.read() == body
    assert [(n.decode(), v.decode()) for n, v in found] == [
        (name, value.strip()) for name, value in theirs.getheaders()
    ]


@pytest.mark.parametrize(
    ("data", "is_open"),
    [
        (OK + b"Content-Length: 1\r\n\r\na", True),
        (OK + b"Content-Length: 1\r\n\r\nab", False),
        (OK + b"Content-Length: 1\r\nConnection: Close\r\n\r\na", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", False),
        (OK + b"\r\na", False),
        (CHUNKED + b"1\r\na\r\n0\r\n\r\n", True),
        (CHUNKED + b"1\r\na\r\n0\r\n", False),
        (b"HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n", True),
    ],
)
def test_connection_is_used_again_only_behind_a_whole_answer(data: bytes, is_open: bool) -> None:
    assert read([data])[5] is is_open

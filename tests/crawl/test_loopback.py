"""The embedded web's server, asked over real sockets."""

import contextlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from crawl import loopback
from crawl.loopback import Server
from pipeline.store import manifest, records
from pipeline.store.errors import ManifestError
from pipeline.store.shards import ShardDraft

HTML = [{"name": "Content-Type", "value": "text/html; charset=utf-8"}]
ROWS = [
    ("a.test", "/", 200, b"<p>home</p>", ""),
    ("a.test", "/post?id=7", 200, b"<p>seven</p>", ""),
    ("a.test", "/bytes", 200, bytes(range(256)), ""),
    ("a.test", "/gone", 410, b"gone", ""),
    ("a.test", "/slow", 200, b"late", "slow"),
    ("a.test", "/drip", 200, b"0123456789", "drip"),
    ("a.test", "/busy", 200, b"at last", "too_many_requests_once"),
    ("a.test", "/cut", 200, b"x" * 1000, "disconnect"),
    ("b.test", "/", 200, b"<p>other</p>", ""),
]


def write_web(folder: Path) -> Path:
    made = []
    for host in ("a.test", "b.test"):
        draft = ShardDraft("demo", folder / "store")
        rows = [
            {"host": h, "path": p, "status": s, "headers": HTML, "body": body, "behaviour": how}
            for h, p, s, body, how in ROWS
            if h == host
        ]
        draft.write_table("part.parquet", pa.Table.from_pylist(rows, records.WEB))
        made.append(draft.commit(host.ljust(8, "0"), ()))
    manifest.link_shards(folder / "web", "demo", made)
    return folder / "web"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_web(tmp_path_factory.mktemp("loopback"))


@pytest.fixture
def served(web: Path) -> Iterator[Server]:
    with loopback.serve(web) as server:
        yield server


def ask(server: Server, path: str, host: str = "a.test", method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.address, server.port, timeout=10)
    connection.request(method, path, headers={"Host": host, "User-Agent": "test"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def raw(server: Server, data: bytes) -> bytes:
    with socket.create_connection((server.address, server.port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def test_serve_hosts_are_told_apart_by_header(served: Server) -> None:
    assert served.hosts == ("a.test", "b.test")
    assert ask(served, "/") == (200, b"<p>home</p>")
    assert ask(served, "/", "B.Test:80") == (200, b"<p>other</p>")
    assert ask(served, "/", "c.test")[0] == 421


def test_serve_bytes_status_and_headers_arrive_as_stored(served: Server) -> None:
    assert ask(served, "/bytes") == (200, bytes(range(256)))
    assert ask(served, "/gone") == (410, b"gone")
    head = raw(served, b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").partition(b"\r\n\r\n")[0]
    assert head.decode().split("\r\n") == [
        "HTTP/1.1 200 OK",
        "Content-Type: text/html; charset=utf-8",
        "Content-Length: 11",
        "Connection: close",
    ]


def test_serve_unknown_path_is_404_and_unknown_parameters_change_nothing(served: Server) -> None:
    assert ask(served, "/nowhere")[0] == 404
    assert ask(served, "/post?id=8")[0] == 404
    assert ask(served, "/post?id=7&utm_source=x&utm_medium=y") == (200, b"<p>seven</p>")
    assert ask(served, "/?utm_source=x") == (200, b"<p>home</p>")


def test_serve_head_sends_no_body_and_post_is_refused(served: Server) -> None:
    answer = raw(served, b"HEAD /bytes HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    assert b"Content-Length: 256\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert ask(served, "/", method="POST")[0] == 405


def test_serve_one_connection_answers_several_requests(served: Server) -> None:
    one = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n"
    answer = raw(served, one + one + last)
    assert answer.count(b"<p>home</p>") == 2
    assert answer.endswith(b"<p>other</p>")


def test_serve_busy_page_answers_429_once_per_server(web: Path) -> None:
    for _ in range(2):
        with loopback.serve(web) as server:
            first = raw(server, b"GET /busy HTTP/1.0\r\nHost: a.test\r\n\r\n")
            assert first.startswith(b"HTTP/1.1 429 ")
            assert b"Retry-After: 1\r\n" in first
            assert [ask(server, "/busy") for _ in range(2)] == [(200, b"at last")] * 2


def test_serve_disconnect_announces_more_than_it_sends(served: Server) -> None:
    head, _, body = raw(served, b"GET /cut HTTP/1.1\r\nHost: a.test\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Content-Length: 1000" in head
    assert len(body) == 600


def test_serve_slow_page_takes_its_time(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "_SLOW_S", 0.3)
    assert ask(served, "/slow") == (200, b"late")
    assert ask(served, "/") == (200, b"<p>home</p>")
    slow, quick = served.log
    assert quick.at - slow.at >= 0.3


def test_serve_drip_comes_byte_by_byte(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "_DRIP_S", 0.02)
    with socket.create_connection((served.address, served.port), timeout=10) as connection:
        connection.sendall(b"GET /drip HTTP/1.0\r\nHost: a.test\r\n\r\n")
        parts = list(iter(lambda: connection.recv(65_536), b""))
    assert b"".join(parts).endswith(b"0123456789")
    assert len(parts) >= 5


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n\r\n", id="empty"),
        pytest.param(b"GET\r\n\r\n", id="no path"),
        pytest.param(b"\x00\xff\x16\x03\x01\r\n\r\n", id="binary"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000, id="long head"),
        pytest.param(b"G" * 200_000, id="long line"),
    ],
)
def test_serve_what_is_no_request_ends_nothing_but_its_connection(
    served: Server, data: bytes
) -> None:
    with contextlib.suppress(OSError):  # reset by the server
        raw(served, data)
    assert ask(served, "/") == (200, b"<p>home</p>")


def test_serve_client_that_leaves_a_drip_ends_nothing(served: Server) -> None:
    with socket.create_connection((served.address, served.port), timeout=10) as connection:
        connection.sendall(b"GET /drip HTTP/1.1\r\nHost: a.test\r\n\r\n")
        connection.recv(1)
    assert ask(served, "/") == (200, b"<p>home</p>")


def test_serve_log_tells_who_asked_for_what(served: Server) -> None:
    ask(served, "/x?y=1", "b.test")
    (asked,) = served.log
    assert (asked.host, asked.path, asked.user_agent) == ("b.test", "/x?y=1", "test")


def test_serve_after_the_block_the_port_is_closed_even_with_a_client_waiting(web: Path) -> None:
    with loopback.serve(web) as server:
        waiting = socket.create_connection((server.address, server.port), timeout=10)
        waiting.sendall(b"GET /drip HTTP/1.1\r\nHost: a.test\r\n\r\n")
        waiting.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.address, server.port), timeout=10)
    waiting.close()


def test_serve_answers_that_are_under_way_at_the_end_print_nothing(
    web: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with loopback.serve(web) as server:
        connection = socket.create_connection((server.address, server.port), timeout=10)
        connection.sendall(b"GET /drip HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert connection.recv(1)
    connection.close()
    assert caplog.records == []


def test_serve_unfinished_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="dvc repro demo"), loopback.serve(tmp_path / "web"):
        pass

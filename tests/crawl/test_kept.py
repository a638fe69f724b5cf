"""Connections that are kept: used again for the same origin, never trusted further than that."""

import asyncio
from collections.abc import Callable

from crawl.fetch import Client, Reach, Reply
from crawl.visit import _ROBOTS
from tests.crawl.site import LIMITS, page

Answering = Callable[[int, asyncio.StreamWriter], bool]


def ask_twice(answering: Answering, second: str = "a.test") -> tuple[list[Reply], int]:
    """Asks two hosts of one server in turn; returns the replies and how many connections it saw.

    Args:
        answering: Writes the answer to the n-th request; returns whether to wait for more.
        second: The host of the second request.
    """
    n_connections = n_requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal n_connections, n_requests
        n_connections += 1
        try:
            goes_on = True
            while goes_on:
                await reader.readuntil(b"\r\n\r\n")
                n_requests += 1
                goes_on = answering(n_requests, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def run() -> list[Reply]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        here = ("127.0.0.1", server.sockets[0].getsockname()[1])
        reach = Reach(connect_to={"a.test": here, "b.test": here}, allowed=frozenset({here}))
        async with server, Client(reach, LIMITS, "Bot/1.0") as client:
            return [await client.get(f"http://{h}/", _ROBOTS) for h in ("a.test", second)]

    return asyncio.run(run()), n_connections


def whole(n: int, writer: asyncio.StreamWriter) -> bool:
    """Answers and keeps the connection."""
    writer.write(page(b"%d" % n))
    return True


def test_second_request_to_an_origin_uses_the_first_ones_connection() -> None:
    replies, n_connections = ask_twice(whole)
    assert [bytes(reply.body) for reply in replies] == [b"1", b"2"]
    assert n_connections == 1


def test_another_host_at_the_same_address_gets_a_connection_of_its_own() -> None:
    assert ask_twice(whole, second="b.test")[1] == 2


def test_connection_with_something_behind_the_answer_is_not_used_again() -> None:
    """What a server sends unasked must never be taken for the answer to the next request."""

    def smuggle(n: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(page(b"%d" % n) + page(b"smuggled"))
        return True

    replies, n_connections = ask_twice(smuggle)
    assert [bytes(reply.body) for reply in replies] == [b"1", b"2"]
    assert n_connections == 2


def test_connection_that_the_server_closed_meanwhile_costs_no_request() -> None:
    def once(n: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(page(b"%d" % n))
        return False

    replies, n_connections = ask_twice(once)
    assert [bytes(reply.body) for reply in replies] == [b"1", b"2"]
    assert n_connections == 2


def test_new_connection_that_is_hung_up_is_not_tried_again() -> None:
    replies, n_connections = ask_twice(lambda _n, _writer: False)
    assert [reply.drop.reason for reply in replies if reply.drop] == ["protocol", "protocol"]
    assert n_connections == 2

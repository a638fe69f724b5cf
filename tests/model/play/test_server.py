"""The server over real HTTP: answers to its own page, refusals to everybody else."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from model.play import server
from model.play.server import HEADERS, Playground
from tests.model.play.test_answer import GOOD

Client = TestClient[web.Request, web.Application]


def asked(playground: Playground, work: Callable[[Client], Awaitable[Any]]) -> Any:
    """Runs a client against the playground."""

    async def both() -> Any:
        async with TestClient(TestServer(playground.app())) as client:
            return await work(client)

    return asyncio.run(both())


async def seen(response: ClientResponse) -> tuple[int, Any]:
    text = await response.text()
    return response.status, json.loads(text) if text.startswith("{") else text


def test_page_and_answers_carry_the_policy(playground: Playground) -> None:
    async def work(client: Client) -> None:
        for path in (*server.FILES, "/api/about", "/absent"):
            response = await client.get(path)
            assert response.status == (404 if path == "/absent" else 200)
            assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
        streamed = await client.post("/api/continue", json=GOOD)
        assert streamed.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "Access-Control-Allow-Origin" not in streamed.headers

    asked(playground, work)


def test_continuation_comes_line_by_line(playground: Playground) -> None:
    async def work(client: Client) -> list[Any]:
        response = await client.post("/api/continue", json=GOOD)
        return [json.loads(line) async for line in response.content]

    lines = asked(playground, work)
    assert [line["kind"] for line in lines[:2]] == ["start", "token"]
    assert lines[-1]["kind"] == "end"
    assert len([line for line in lines if line["kind"] == "token"]) <= GOOD["n_new"]


def test_same_request_gives_the_same_text_beside_another(playground: Playground) -> None:
    async def work(client: Client) -> list[str]:
        names = ("pretrained", "01234567/step-00000100", "pretrained")
        posts = [client.post("/api/continue", json={**GOOD, "model": name}) for name in names]
        texts = [await response.text() for response in await asyncio.gather(*posts)]
        return [json.loads(text.splitlines()[-1])["text"] for text in texts]

    first, other, again = asked(playground, work)
    assert first == again != other


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.test", ""]
)
def test_host_that_is_not_ours_is_refused(playground: Playground, host: str) -> None:
    """A name of a stranger that resolves to 127.0.0.1: DNS rebinding."""

    async def work(client: Client) -> Any:
        named = host.format(port=client.port)
        return await seen(await client.get("/api/about", headers={"Host": named}))

    status, text = asked(playground, work)
    assert status == 403
    assert text.startswith("Host is")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://127.0.0.1:{port}"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_request_of_another_page_is_refused(
    playground: Playground, headers: dict[str, str], status: int
) -> None:
    async def work(client: Client) -> Any:
        sent = {name: value.format(port=client.port) for name, value in headers.items()}
        response = await client.post("/api/seen", json={"text": "a"}, headers=sent)
        return response.status

    assert asked(playground, work) == status


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_body_that_a_form_can_send_is_refused(playground: Playground, content_type: str) -> None:
    async def work(client: Client) -> Any:
        headers = {"Content-Type": content_type}
        return await seen(await client.post("/api/seen", data=b'{"text": "a"}', headers=headers))

    status, told = asked(playground, work)
    assert status == 400
    assert "expected application/json" in told["error"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/continue", b"{", "Expecting property name"),
        ("/api/continue", b'{"model": 1}', "n_new is missing"),
        ("/api/seen", b"\xff", "codec can't decode"),
        ("/api/seen", b"[" * 15_000, "recursion"),
        ("/api/seen", b'{"text": "\\ud800"}', "surrogates not allowed"),
        ("/api/continue", json.dumps({**GOOD, "prompt": "\ud800"}).encode(), "surrogates"),
        ("/api/fate", b'{"url": "ftp://x"}', "is no URL; expected an absolute http(s) URL"),
        ("/api/fate", b'{"url": "http://nowhere.test/"}', "was never seen by"),
        ("/api/continue", json.dumps({**GOOD, "model": "../x"}).encode(), "expected one of"),
        ("/api/continue", json.dumps({**GOOD, "n_new": 51}).encode(), "1 <= x <= 50"),
    ],
)
def test_wrong_request_is_answered_with_what_is_expected(
    playground: Playground, path: str, body: bytes, message: str
) -> None:
    async def work(client: Client) -> Any:
        headers = {"Content-Type": "application/json"}
        return await seen(await client.post(path, data=body, headers=headers))

    status, told = asked(playground, work)
    assert status == 400
    assert message in told["error"]


def test_body_over_the_limit_is_refused(playground: Playground) -> None:
    async def work(client: Client) -> Any:
        return await seen(await client.post("/api/seen", json={"text": "a" * 30_000}))

    assert asked(playground, work)[0] == 413


def test_page_that_goes_away_ends_its_text(playground: Playground) -> None:
    """Its two threads are free again: a request that needs one is answered."""

    async def work(client: Client) -> int:
        for _ in range(4):
            response = await client.post("/api/continue", json={**GOOD, "n_new": 50})
            await response.content.readline()
            response.close()
        return (await client.post("/api/seen", json={"text": "a"})).status

    assert asked(playground, work) == 200


def test_server_listens_on_loopback_and_says_where(playground: Playground) -> None:
    told: list[str] = []

    async def work() -> None:
        serving = asyncio.create_task(server._serve(playground, announce=told.append))
        while not told:
            await asyncio.sleep(0)
        serving.cancel()

    asyncio.run(work())
    assert told[0].startswith("http://127.0.0.1:")


def test_taken_port_is_a_stated_failure(playground: Playground) -> None:
    async def work(client: Client) -> None:
        taken = replace(playground, config=replace(playground.config, port=client.port))
        with pytest.raises(OSError, match=r"cannot be had .* set another play\.port"):
            await server._serve(taken, announce=print)

    asked(playground, work)

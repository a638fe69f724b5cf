import asyncio
import math
import socket
import time
from collections.abc import Callable

import pytest

from crawl.fetch import Client, Reach, Reply
from crawl.guard import (
    Address,
    AddressRefusedError,
    Guard,
    Resolver,
    UnknownNameError,
    is_public,
)
from crawl.visit import _ROBOTS, Visit, Visitor
from tests.crawl.site import LIMITS, SETTINGS, Site, page, reach, redirect


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255",
        "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1",
        "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.250",
        "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:10.0.0.1", "::ffff:8.8.8.8",
        "64:ff9b::a00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "fc00::1", "fd12:3456::1",
        "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "100::1",
        "not an address", "", "0x7f.1", "2130706433",
    ],
)  # fmt: skip
def test_address_that_leads_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "192.0.1.1"])
def test_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


def _info(address: str, port: int) -> tuple[object, ...]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))


def test_guard_refused_address_makes_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("a socket was made"))
    with pytest.raises(AddressRefusedError, match="not public"):
        Guard().socket(("10.0.0.1", 80))


def test_guard_exception_holds_for_its_port_only() -> None:
    guard = Guard(frozenset({("127.0.0.1", 8123)}))
    guard.socket(("127.0.0.1", 8123)).close()
    for address in (("127.0.0.1", 80), ("127.0.0.2", 8123), ("::1", 8123)):
        with pytest.raises(AddressRefusedError):
            guard.socket(address)


def test_resolver_with_map_knows_its_names_only_and_asks_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("DNS was asked"))
    resolver = Resolver({"a.test": ("127.0.0.1", 8123)})
    assert asyncio.run(resolver.resolve("a.test", 80)) == ("127.0.0.1", 8123)
    for name in ("b.test", "x.a.test", "localhost", "a.test."):
        with pytest.raises(UnknownNameError):
            asyncio.run(resolver.resolve(name, 80))


def test_resolver_without_map_turns_an_impossible_name_into_an_os_error() -> None:
    with pytest.raises(OSError, match="no host name"):
        asyncio.run(Resolver(None).resolve("a" * 64 + ".test", 80))


def _get(where: Reach, url: str) -> Reply:
    async def get() -> Reply:
        async with Client(where, LIMITS, "Bot/1.0") as client:
            return await client.get(url, _ROBOTS)

    return asyncio.run(get())


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test at any attempt to connect."""

    async def fail(*_: object) -> None:
        pytest.fail("a connection was attempted")

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", fail)


INSIDE = Reach(connect_to=None, allowed=frozenset())


@pytest.mark.usefixtures("no_connection")
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "169.254.169.254", "0.0.0.0"],
)
def test_request_to_a_literal_address_inside_connects_nowhere(host: str) -> None:
    reply = _get(INSIDE, f"http://{host}/secret")
    assert reply.drop is not None
    assert reply.drop.reason == "address_refused"
    assert reply.status == 0


@pytest.mark.usefixtures("no_connection")
def test_request_to_a_name_that_resolves_inside_connects_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two private addresses for one public-looking name, as a rebinding attack would answer."""
    answers = [_info("10.0.0.1", 80), _info("fd00::1", 80)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    reply = _get(INSIDE, "http://looks-public.example/")
    assert reply.drop is not None
    assert reply.drop.reason == "address_refused"


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1/", "http://[::1]/", "http://0x7f.1/", "http://2130706433/"]
)
def test_redirect_inside_is_refused_although_the_server_itself_is_allowed(
    target: str, visit_one: Callable[[Reach, str], Visit]
) -> None:
    with Site() as site:
        url = site.answer("http://a.test/x", redirect(target))
        visit = visit_one(reach(site, "a.test"), url)
        assert visit.drop is not None
        assert visit.drop.reason == "address_refused"
        assert site.asked(url) == 1


def test_guard_is_asked_again_for_every_connection(
    visit_one: Callable[[Reach, str], Visit],
) -> None:
    """A connector that kept connections or skipped the factory would let the second one through."""
    asked = []
    original = Guard.socket

    def spy(self: Guard, address: Address) -> socket.socket:
        asked.append(address)
        return original(self, address)

    with Site() as site, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Guard, "socket", spy)
        url = site.answer("http://a.test/x", redirect("/y"))
        site.answer("http://a.test/y", page(b"here"))
        visit_one(reach(site, "a.test"), url)
        assert len(asked) == len(site.log) == 3  # robots.txt, x, y


@pytest.fixture
def visit_one() -> Callable[[Reach, str], Visit]:
    """Visits one URL and returns the visit."""

    def visit(where: Reach, url: str) -> Visit:
        async def run() -> Visit:
            async with Client(where, SETTINGS.limits, "Bot/1.0") as client:
                visitor = Visitor(client, SETTINGS.rules, SETTINGS.pace, time.monotonic, math.inf)
                return await visitor.visit(url)

        return asyncio.run(run())

    return visit


def test_session_asks_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with Site() as site:
        url = site.answer("http://a.test/x", page(b"direct"))
        assert _get(reach(site, "a.test"), url).body == b"direct"

"""Where the crawl may connect to: only the public internet, checked where sockets are made.

    name ──> Resolver ──> address ──> Guard.socket ──> connect
                                         ^ every attempt passes here: literals, redirects, a name
                                           that resolves differently the second time

Decisions:
- The check is on the final address of each connection attempt. A check of URLs or of DNS answers
  is walked around by literal addresses, redirects and rebinding.
- What Python's `ipaddress` calls global still holds ranges that lead back inside: addresses that
  wrap an IPv4 address (mapped, NAT64, 6to4, Teredo, compatible) and multicast. Those are refused as
  a whole, whatever they wrap: no public site needs them.
- A name is asked at one of its addresses, chosen by the name: so it is known whose turn a request
  has to wait for (`crawl.leases`), and the names of a server farm spread over it. IPv4 comes first;
  the next address is taken after one that could not be connected to.
- In the embedded default a connect map replaces DNS for exactly the invented names (as curl's
  `--connect-to`); other names are unknown and nothing is looked up.
"""

import asyncio
import ipaddress
import socket
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

# Without threads of its own, DNS waits in line behind all else that blocks.
_DNS_THREADS = 32
_DNS_TIMEOUT_S = 20.0  # glibc: two tries of 5 s at each server
_DNS_TTL_S, _DNS_FAILED_TTL_S = 300.0, 60.0
_MAX_NAMES = 1 << 16  # remembered; about 200 bytes each

_REFUSED = [
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments; Python's list of them changes
        "192.88.99.0/24",  # 6to4 relay anycast
        "224.0.0.0/4",  # multicast
        "::/96",  # IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64, local use
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fec0::/10",  # site-local
        "ff00::/8",  # multicast
    )
]

Address = tuple[str, int]


class AddressRefusedError(OSError):
    """A connection to an address that is not public was prevented; a drop, never fatal."""


class UnknownNameError(OSError):
    """A name without an address: DNS has none, or the connect map does not hold it."""


def is_literal(host: str) -> bool:
    """Returns whether a host is an IP address, without brackets; no name has a colon.

    >>> is_literal("127.0.0.1"), is_literal("fe80::1%eth0"), is_literal("1.test")
    (True, True, False)
    """
    return ":" in host or host.replace(".", "").isdigit()


def is_public(address: str) -> bool:
    """Returns whether an IP address may be connected to.

    >>> is_public("93.184.216.34"), is_public("10.0.0.1"), is_public("::ffff:8.8.8.8")
    (True, False, False)
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return ip.is_global and not any(ip in network for network in _REFUSED)


class Guard:
    """Makes the crawl's sockets, and none for an address that is not public."""

    def __init__(self, allowed: frozenset[Address] = frozenset()) -> None:
        """Opens exceptions.

        Args:
            allowed: (address, port) pairs that are let through although they are not public: the
                embedded default's own server.
        """
        self._allowed = allowed

    def allows(self, address: str, port: int) -> bool:
        """Returns whether a connection may be made."""
        return (address, port) in self._allowed or is_public(address)

    def socket(self, address: Address) -> socket.socket:
        """Returns a socket for one connection attempt.

        Raises:
            AddressRefusedError: If the address is refused; no socket is made.
        """
        if not self.allows(*address):
            raise AddressRefusedError("the address is not public")
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)


class _Known(NamedTuple):
    """What DNS said of a name, and until when that is believed (monotonic seconds)."""

    addresses: tuple[str, ...]
    error: str
    until: float


class Resolver:
    """Names to addresses: by the connect map where there is one, else by DNS."""

    def __init__(self, connect_to: Mapping[str, Address] | None) -> None:
        """Chooses how names are resolved.

        Args:
            connect_to: Host to (address, port); None is DNS.
        """
        self._connect_to = connect_to
        self._known: dict[str, _Known] = {}
        self._n_failed: dict[str, int] = {}
        self._threads = ThreadPoolExecutor(_DNS_THREADS, thread_name_prefix="dns")

    async def resolve(self, host: str, port: int = 0) -> Address:
        """Returns the address that a name is asked at; a literal address is that.

        Raises:
            UnknownNameError: If it has none.
        """
        literal = host.strip("[]")
        if is_literal(literal):
            return literal, port
        if self._connect_to is None:
            known = await self._look_up(host)
            if not known.addresses:
                raise UnknownNameError(known.error)
            n_failed = self._n_failed.get(host, 0)
            return known.addresses[n_failed % len(known.addresses)], port
        if host not in self._connect_to:
            raise UnknownNameError(f"{host} is not in the connect map")
        return self._connect_to[host]

    def failed(self, host: str) -> None:
        """Notes that a name could not be connected to where it was asked."""
        known = self._known.get(host)
        if known is not None and len(known.addresses) > 1:
            self._n_failed[host] = self._n_failed.get(host, 0) + 1

    async def _look_up(self, host: str) -> _Known:
        known = self._known.get(host)
        if known is None or known.until < time.monotonic():
            known = self._known[host] = await self._ask(host)
            if len(self._known) > _MAX_NAMES:
                oldest = next(iter(self._known))
                del self._known[oldest]
                self._n_failed.pop(oldest, None)
        return known

    async def _ask(self, host: str) -> _Known:
        loop = asyncio.get_running_loop()
        ask = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(_DNS_TIMEOUT_S):
                found = await loop.run_in_executor(self._threads, ask)
        except UnicodeError:  # a label that is empty or too long
            return _Known((), f"{host} is no host name", time.monotonic() + _DNS_FAILED_TTL_S)
        except OSError as error:
            text = str(error) or "no answer from DNS"
            return _Known((), text, time.monotonic() + _DNS_FAILED_TTL_S)
        addresses = in_order(host, {str(info[4][0]) for info in found})
        return _Known(addresses, "", time.monotonic() + _DNS_TTL_S)

    async def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def in_order(host: str, addresses: set[str]) -> tuple[str, ...]:
    """Returns a name's addresses in the order in which they are tried.

    Those that the guard would refuse are left out, unless there is no other.

    >>> in_order("a.test", {"2606:2800::1", "10.0.0.1", "93.184.216.34"})
    ('93.184.216.34', '2606:2800::1')
    """
    usable = {a for a in addresses if is_public(a)} or addresses
    ordered: list[str] = []
    for is_6 in (False, True):
        family = sorted(a for a in usable if (":" in a) == is_6)
        first = zlib.crc32(host.encode()) % len(family) if family else 0
        ordered += family[first:] + family[:first]
    return tuple(ordered)

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
- In the embedded default a connect map replaces DNS for exactly the invented names (as curl's
  `--connect-to`); other names are unknown and nothing is looked up.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

# Without threads of its own, DNS waits in line behind all else that blocks.
_DNS_THREADS = 32

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
    """A name that the connect map does not hold; nothing was looked up."""


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

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Returns a socket for one connection attempt.

        Args:
            info: What `getaddrinfo` returns: family, type, protocol, name, address.

        Raises:
            AddressRefusedError: If the address is refused; no socket is made.
        """
        family, kind, protocol, _, (address, port, *_) = info
        if not self.allows(address, port):
            # No address in the text: where all of a name's addresses fail with one text, the
            # connector raises that error, else a nameless OSError.
            raise AddressRefusedError("the address is not public")
        return socket.socket(family, kind, protocol)


class Resolver(AbstractResolver):
    """Names to addresses: by the connect map where there is one, else by DNS."""

    def __init__(self, connect_to: Mapping[str, Address] | None) -> None:
        """Chooses how names are resolved.

        Args:
            connect_to: Host to (address, port); None is DNS.
        """
        self._connect_to = connect_to
        self._threads = ThreadPoolExecutor(_DNS_THREADS, thread_name_prefix="dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Returns a name's addresses.

        Raises:
            OSError: If it has none.
        """
        if self._connect_to is None:
            return await self._look_up(host, port, family)
        if host not in self._connect_to:
            raise UnknownNameError(f"{host} is not in the connect map")
        address, mapped_port = self._connect_to[host]
        return [_result(host, address, mapped_port)]

    async def _look_up(
        self, host: str, port: int, family: socket.AddressFamily
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        ask = partial(socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM)
        try:
            found = await loop.run_in_executor(self._threads, ask)
        except UnicodeError as error:  # a label that is empty or too long
            raise OSError(f"{host} is no host name") from error
        return [_result(host, str(info[4][0]), int(info[4][1])) for info in found]

    async def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=0, flags=flags
    )

"""Turns at an address, shared by every process of this user on this node.

    host a ─┐                       ┌ slot 0: ended at 81.25
    host b ─┼─> 192.0.2.7 ─> bucket ┼ slot 1: locked, a request is under way
    host c ─┘   (one server)        └ slot 2: locked, its holder waits for the delay to pass

Thousands of host names may live on one server, in as many partitions. A request holds one slot of
its address while it lasts; a slot is used again `delay_s` after it was given back.

Decisions:
- One file of times, a lock on the eight bytes of a slot. The kernel takes locks back when a process
  dies, however it dies, so no lease needs a heartbeat or a broom.
- Addresses share buckets by hash. Two that meet in one are slower, never ruder; the file has a
  fixed size (it is sparse: what was never written takes no disk).
- An IPv6 address counts by its /64, which is what one customer gets.
- Within a process those who want an address stand in line; only the first one looks for a slot.
- Held on one node. Processes on two nodes know nothing of each other: an address may get twice as
  much from two. The delay of a host holds everywhere, for its links are in one partition.
"""

import asyncio
import fcntl
import hashlib
import ipaddress
import os
import struct
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from weakref import WeakValueDictionary

MAX_SLOTS = 128
_BUCKETS = 1 << 15  # times MAX_SLOTS times 8 bytes: 32 MiB, sparse
_TIME = struct.Struct("=d")
_FIRST_LOOK_S, _LAST_LOOK_S = 0.002, 0.05  # between two looks for a free slot


def node_file() -> Path:
    """Returns where this user's crawls on this node meet."""
    return Path(tempfile.gettempdir()) / f"outbound-{os.getuid()}.addresses"


def shared_by(address: str) -> str:
    """Returns what an address is counted as.

    >>> shared_by("192.0.2.7"), shared_by("2001:db8:1:2:3::4"), shared_by("no address")
    ('192.0.2.7', '2001:db8:1:2::/64', 'no address')
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    return str(ipaddress.ip_network((ip, 64), strict=False))


class Leases:
    """The turns of this process; use as `with`."""

    def __init__(self, path: Path, n_slots: int, delay_s: float) -> None:
        """Opens the file that all processes share.

        Args:
            path: The file, made if it is not there.
            n_slots: Requests to one address at the same time, at most `MAX_SLOTS`.
            delay_s: From the end of a request to the next one in its slot.

        Raises:
            PermissionError: If the file is somebody else's.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o600)
        if os.fstat(self._file).st_uid != os.getuid():
            os.close(self._file)
            raise PermissionError(f"{path} belongs to another user; remove it or set TMPDIR")
        self._n_slots, self._delay_s = n_slots, delay_s
        self._held: set[int] = set()  # file positions; a process does not shut itself out
        self._lines: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    def __enter__(self) -> "Leases":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    @asynccontextmanager
    async def hold(self, address: str) -> AsyncIterator[None]:
        """Waits for a turn at an address and holds it while the block runs.

        Args:
            address: IP address; "" is none, and waits for nothing.
        """
        if not address:
            yield
            return
        begin = _bucket(address) * MAX_SLOTS * _TIME.size
        line = self._lines.setdefault(begin, asyncio.Lock())
        async with line:
            position = await self._take(begin)
        try:
            yield
        finally:
            os.pwrite(self._file, _TIME.pack(time.monotonic()), position)
            self._give_back(position)

    async def _take(self, begin: int) -> int:
        """Returns the position of a slot that is locked and whose delay has passed."""
        look_s = _FIRST_LOOK_S
        while True:
            for position in self._by_end(begin):
                if self._lock(position):
                    return await self._wait(position)
            await asyncio.sleep(look_s)
            look_s = min(2 * look_s, _LAST_LOOK_S)

    async def _wait(self, position: int) -> int:
        """Returns a locked slot's position when its delay has passed."""
        told = os.pread(self._file, _TIME.size, position).ljust(_TIME.size, b"\0")
        passed_s = time.monotonic() - _TIME.unpack(told)[0]
        try:
            if 0 <= passed_s < self._delay_s:  # a time in the future is of before a restart
                await asyncio.sleep(self._delay_s - passed_s)
        except BaseException:
            self._give_back(position)
            raise
        return position

    def _by_end(self, begin: int) -> list[int]:
        """Returns the positions of a bucket's slots, those that ended first in front."""
        n_bytes = self._n_slots * _TIME.size
        told = os.pread(self._file, n_bytes, begin).ljust(n_bytes, b"\0")
        ends = struct.unpack(f"={self._n_slots}d", told)  # once per request: no generators here
        return [begin + i * _TIME.size for i in sorted(range(self._n_slots), key=ends.__getitem__)]

    def _lock(self, position: int) -> bool:
        if position in self._held:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, _TIME.size, position)
        except (BlockingIOError, PermissionError):  # POSIX allows both
            return False
        self._held.add(position)
        return True

    def _give_back(self, position: int) -> None:
        self._held.remove(position)
        fcntl.lockf(self._file, fcntl.LOCK_UN, _TIME.size, position)


@lru_cache(maxsize=1 << 14)
def _bucket(address: str) -> int:
    digest = hashlib.blake2b(shared_by(address).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") % _BUCKETS

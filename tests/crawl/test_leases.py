"""Turns at an address: within a process, between processes, after a death."""

import asyncio
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawl import leases
from crawl.leases import Leases
from pipeline.store import urls
from tests.crawl.site import Site, page

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "addresses"


async def _use(turns: Leases, address: str, spans: list[tuple[float, float]], s: float) -> None:
    async with turns.hold(address):
        began = time.monotonic()
        await asyncio.sleep(s)
        spans.append((began, time.monotonic()))


def _most(spans: list[tuple[float, float]]) -> int:
    """Returns how many spans overlapped at most."""
    events = sorted([(b, 1) for b, _ in spans] + [(e, -1) for _, e in spans])
    active = most = 0
    for _, step in events:
        active += step
        most = max(most, active)
    return most


def test_holders_of_one_address_are_never_more_than_its_slots(file: Path) -> None:
    spans: list[tuple[float, float]] = []

    async def run() -> None:
        with Leases(file, 3, 0.0) as turns:
            await asyncio.gather(*[_use(turns, "192.0.2.1", spans, 0.01) for _ in range(20)])

    asyncio.run(run())
    assert len(spans) == 20
    assert _most(spans) == 3


def test_slot_is_used_again_after_its_delay_only(file: Path) -> None:
    spans: list[tuple[float, float]] = []

    async def run() -> None:
        with Leases(file, 2, 0.05) as turns:
            await asyncio.gather(*[_use(turns, "192.0.2.1", spans, 0.001) for _ in range(8)])

    asyncio.run(run())
    spans.sort()
    for (_, ended), (began, _) in zip(spans, spans[2:], strict=False):
        assert began - ended >= 0.05


def test_addresses_do_not_wait_for_each_other_and_no_address_waits_for_nothing(file: Path) -> None:
    async def run() -> None:
        with Leases(file, 1, 60.0) as turns:
            for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "", "", ""):
                async with asyncio.timeout(10), turns.hold(address):
                    pass

    asyncio.run(run())


def test_cancelled_wait_gives_its_slot_back(file: Path) -> None:
    async def run() -> None:
        with Leases(file, 1, 0.2) as turns:
            async with turns.hold("192.0.2.1"):
                pass
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), turns.hold("192.0.2.1"):
                    pytest.fail("the delay has not passed")
            async with asyncio.timeout(10), turns.hold("192.0.2.1"):
                pass

    asyncio.run(run())


def test_time_of_before_a_restart_is_no_reason_to_wait(file: Path) -> None:
    async def run() -> None:
        with Leases(file, 1, 60.0) as turns:
            async with turns.hold("192.0.2.1"):
                pass
            data = bytearray(file.read_bytes())
            data[-8:] = struct.pack("=d", time.monotonic() + 1e6)
            file.write_bytes(data)
            async with asyncio.timeout(10), turns.hold("192.0.2.1"):
                pass

    asyncio.run(run())


_HOLDER = """
import asyncio, sys
from pathlib import Path
from crawl.leases import Leases
async def run():
    with Leases(Path(sys.argv[1]), 1, 0.0) as turns:
        async with turns.hold("192.0.2.1"):
            print("held", flush=True)
            await asyncio.sleep(600)
asyncio.run(run())
"""


def test_slot_of_a_killed_process_is_free(file: Path) -> None:
    told = [sys.executable, "-c", _HOLDER, str(file)]
    with subprocess.Popen(told, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        async def run() -> None:
            with Leases(file, 1, 0.0) as turns:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3), turns.hold("192.0.2.1"):
                        pytest.fail("another process holds the only slot")
                holder.send_signal(signal.SIGKILL)
                async with asyncio.timeout(30), turns.hold("192.0.2.1"):
                    pass

        asyncio.run(run())


def test_file_of_somebody_else_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"")
    monkeypatch.setattr(os, "getuid", lambda: 1 << 20)
    with pytest.raises(PermissionError, match="belongs to another user"):
        Leases(file, 1, 0.0)


def test_link_in_the_place_of_the_file_is_not_followed(file: Path, tmp_path: Path) -> None:
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        Leases(file, 1, 0.0)


@given(st.ip_addresses(v=6))
def test_addresses_of_one_customer_count_as_one(address: object) -> None:
    other = str(address).rpartition(":")[0] + ":1"
    assert leases.shared_by(str(address)).endswith("::/64")
    if str(address).count(":") == 7:
        assert leases.shared_by(str(address)) == leases.shared_by(other)


# ── a crawl ──────────────────────────────────────────────────────────────────────────────────────

_CRAWLER = """
import dataclasses, sys
from pathlib import Path
from crawl import partition
from tests.crawl.site import LIMITS, PACE, SETTINGS, job, reach, Site
folder, port, links = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[4].split()
slots, delay_s = sys.argv[3].split()
pace = dataclasses.replace(PACE, per_address=int(slots), address_delay_s=float(delay_s))
hosts = [link.split("/")[2] for link in links]
# Whoever starts late or waits for a core does not ask twice.
patient = dataclasses.replace(LIMITS, connect_s=60.0, read_s=60.0, total_s=120.0)
settings = dataclasses.replace(SETTINGS, pace=pace, limits=patient)
partition.crawl(settings, reach(Site(port=port), *hosts), job(folder, links))
"""


@pytest.mark.parametrize(("slots", "delay_s"), [(4, 0.03), (64, 0.0)])
def test_200_names_on_one_address_in_4_partitions_keep_its_limits(
    tmp_path: Path, site: Site, slots: int, delay_s: float
) -> None:
    """Four processes at once. With 64 slots the server sees more than 4, so limits hold."""
    spans: list[tuple[float, float]] = []

    async def slow(writer: asyncio.StreamWriter) -> None:
        began = time.monotonic()
        await asyncio.sleep(0.005)
        writer.write(page(b"<p>one of many names"))
        spans.append((began, time.monotonic()))

    parts: list[list[str]] = [[] for _ in range(4)]
    for i in range(200):
        host = f"name{i}.test"
        site.answer(f"http://{host}/robots.txt", page(b"", kind="text/plain"))
        link = site.answer(f"http://{host}/x", slow)
        parts[sum(urls.registered_domain(host).encode()) % 4].append(link)
    assert min(len(part) for part in parts) > 20
    crawlers = [
        subprocess.Popen(
            [sys.executable, "-c", _CRAWLER, str(tmp_path / str(i)), str(site.port),
             f"{slots} {delay_s}", " ".join(part)],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(tmp_path)},
        )
        for i, part in enumerate(parts)
    ]  # fmt: skip
    assert [crawler.wait() for crawler in crawlers] == [0] * 4
    rows = [pq.read_table(tmp_path / str(i) / "fetches/part-00000.parquet") for i in range(4)]
    assert sum(row["outcome"] == "fetched" for t in rows for row in t.to_pylist()) == 200
    assert len(site.log) == 400
    most = _most(spans)
    assert most <= 4 if slots == 4 else most > 4
    times = sorted(request.at for request in site.log)
    starts = [later - earlier for earlier, later in zip(times, times[slots:], strict=False)]
    assert min(starts) >= delay_s

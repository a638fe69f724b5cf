"""Pages from a server on loopback to disk: this project's crawl, Scrapy, and a downloader's pool.

All sides ask the same server, a process of its own, for the same pages: documentation laid out as
44 kB of HTML, sent as gzip, ten to a host name. Ours is one partition with everything on:
robots.txt of every host, turns at hosts and at the address (delays set to 0), address guard,
limits, opt-outs, WARC records with digests, journal, index, rows, sidecars. Scrapy obeys robots.txt
and appends bodies to one file; the pool (as OpenWebText downloads) does not even ask for it.
Scrapy runs at the best of a sweep. `ratio` is to Scrapy, the peer that does the same job;
`ratio_by_peer` has all.

Each side's pages are read back and compared with what was served, and nobody who reads robots.txt
may have asked for a forbidden page. `--tls` does the same over HTTPS, with an authority made for
the run: ours and requests verify, Scrapy does not, by default. `--memory` runs ours alone at
growing sizes, as one partition and as many, one after the other in one process, and tells peak
memory and bytes stored at each.

Run: make bench-env && python -m benchmarks.crawl [--small] [--tls | --memory [--size N P]]
"""

import argparse
import dataclasses
import gzip
import json
import math
import re
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import harness, layouts, machine, web
from benchmarks.harness import Check, Comparison, Contender, Run
from benchmarks.machine import Limit
from crawl import crawl, partition, prose
from crawl.fetch import Reach
from crawl.seal import Job
from pipeline.store import records, shards, urls, warc
from pipeline.store.warc import Response
from stages import params

_SEED = 20190214
_PAGE_BYTES = 44_000
_N_BODIES = 250
_PER_HOST = 10
_N_PAGES, _N_SMALL = 6000, 200
_N_SWEEPS = 2  # a setting counts by its better run
_SWEEP_SHARE = 4  # the sweep takes so much less than a round
_FORBIDDEN_EVERY = 50  # one link in so many is forbidden by robots.txt
_MEMORY = ((10_000, 1), (40_000, 1), (200_000, 1), (200_000, 20))  # links, partitions
_MEMORY_SMALL = ((100, 1), (400, 1), (400, 4))
_TARGET = 3.0
_SCRAPY = "scrapy 2.19.0"
_CONCURRENCY = (16, 64, 256)
_N_THREADS = 16  # of the pool
_PACKAGES = {"numpy": 120, "networkx": 120, "scipy": 120}


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    if given.size and not given.memory:
        raise SystemExit("--size belongs to --memory")
    with tempfile.TemporaryDirectory(prefix="bench-crawl-") as name:
        folder = Path(name)
        bodies = _make_bodies(folder / "bodies", 20 if given.small else _N_BODIES)
        certificate = _make_certificate(folder) if given.tls else None
        with _served(folder, certificate) as port:
            env = {"SSL_CERT_FILE": certificate} if certificate else {}
            if given.memory:
                sizes = _MEMORY_SMALL if given.small else _MEMORY
                return _memory(folder, port, [given.size] if given.size else sizes)
            sides = _ours(folder, port, env), *_peers(folder, env)
            return _compare(given, folder, port, sides, bodies)


def _compare(
    given: argparse.Namespace,
    folder: Path,
    port: int,
    sides: Sequence[Contender],
    bodies: Sequence[bytes],
) -> int:
    """Sweeps, then runs ours and the best of each peer in turn."""
    ours, *peers = sides
    n_pages = _N_SMALL if given.small else _N_PAGES
    scheme = "https" if given.tls else "http"
    _write_links(folder, n_pages // _SWEEP_SHARE, port, scheme)
    cpu_s = {contender.name: math.inf for contender in peers}
    for contender in [*peers] * (1 if given.small else _N_SWEEPS):
        run = harness.measure(contender)
        share = _share_right(folder, contender, bodies, n_pages // _SWEEP_SHARE)
        if share == 1.0:
            cpu_s[contender.name] = min(run.cpu_s, cpu_s[contender.name])
        told = f"{run.cpu_s:7.2f} CPU-s, {share:.4f} of the pages"
        print(f"sweep  {contender.name:<44} {told}", file=sys.stderr)
    fastest = sorted(peers, key=lambda c: -cpu_s[c.name])
    best = {c.name.split()[0]: c for c in fastest if cpu_s[c.name] < math.inf}
    _write_links(folder, n_pages, port, scheme)
    runs = harness.rounds([ours, *best.values()], 1 if given.small else given.rounds)
    equal = _share_right(folder, ours, bodies, n_pages)
    checks = {
        "pages_equal": Check(equal, 1.0),
        "obeyed": Check(1.0 - _n_private(port, tls=given.tls), 1.0),
    }
    comparison = Comparison(
        name="crawl",
        case="tls" if given.tls else "",
        work=f"{n_pages:,} pages of {_PAGE_BYTES // 1000} kB as gzip from loopback to disk",
        unit="pages per CPU-second",
        amount=n_pages,
        target=_TARGET,
        inputs=harness.digest((folder / "bodies").iterdir()),
    )
    told = _told(comparison, runs, ours.name, checks)
    n_swept = n_pages // _SWEEP_SHARE
    told["swept"] = {name: round(n_swept / s, 3) for name, s in cpu_s.items() if s < math.inf}
    told["versions"] = harness.peer_versions("scrapy", "requests", "newspaper4k")
    told["limit"] = _wire(runs[ours.name], bodies, n_pages).told()
    return harness.finish(told, runs, checks, given.results)


def _wire(runs: Sequence[Run], bodies: Sequence[bytes], n_pages: int) -> Limit:
    """Returns what of the loopback's bytes per second ours receives, as gzip."""
    n_bytes = statistics.fmean(len(gzip.compress(body, 6)) for body in bodies) * n_pages
    reached = n_bytes / statistics.median(run.wall_s for run in runs)
    return Limit("wire (loopback)", machine.loopback_bytes_per_s(), reached, "bytes/s")


def _told(
    comparison: Comparison, runs: dict[str, list[Run]], ours: str, checks: dict[str, Check]
) -> dict[str, Any]:
    """Returns the result with the ratio to Scrapy, and the ratio to each peer beside it."""
    told = harness.result(comparison, runs, ours, checks)
    by_peer = {name: harness.against(comparison, runs, ours, name) for name in told["peers"]}
    scrapy = next((one for name, one in by_peer.items() if name.startswith(_SCRAPY)), {})
    others = [{**one, "target": None} for one in by_peer.values() if one is not scrapy]
    ratios = {name: one["ratio"] for name, one in by_peer.items()}
    return {**told, **scrapy, "further": others, "ratio_by_peer": ratios}


def _memory(folder: Path, port: int, sizes: Iterable[Sequence[int]]) -> int:
    """Runs ours at growing numbers of links; the last line tells peak memory by number."""
    told = []
    for n_pages, n_partitions in sizes:
        _write_links(folder, n_pages, port, "http", n_partitions)
        run = harness.measure(_ours(folder, port, {}))
        size = {"links": n_pages, "partitions": n_partitions}
        seconds = {"cpu_s": round(run.cpu_s, 2), "wall_s": round(run.wall_s, 2)}
        told.append({**size, **run.told, **seconds})
        print(told[-1])
    pages = [path.read_bytes() for path in (folder / "bodies").iterdir()]
    sizes = {
        "html_bytes_per_page": statistics.fmean(len(page) for page in pages),
        "wire_bytes_per_page": statistics.fmean(len(gzip.compress(page, 6)) for page in pages),
    }
    named = {"name": "crawl_memory", "commit": harness.commit(), "runs": told}
    print(json.dumps({**named, **sizes}))
    return 0


# ── input ────────────────────────────────────────────────────────────────────────────────────────


def _make_bodies(folder: Path, n_bodies: int) -> list[bytes]:
    """Writes the pages that are served, 44 kB each, and returns them in order."""
    folder.mkdir()
    bodies: list[bytes] = []
    page = b""
    for markup in _markups():
        page += markup
        if len(page) >= _PAGE_BYTES:
            bodies.append(page[:_PAGE_BYTES])
            (folder / f"{len(bodies):05d}").write_bytes(bodies[-1])
            page = b""
        if len(bodies) == n_bodies:
            return bodies
    raise RuntimeError(f"documentation for {len(bodies)} pages only; {n_bodies} are needed")


def _markups() -> Iterator[bytes]:
    number = 0
    while True:  # the same articles in other layouts, until there is enough
        for package, n_articles in _PACKAGES.items():
            root = prose.find(package)
            for article in prose.articles(package, root, n_articles) if root else ():
                yield layouts.show(article, _SEED, number, 0).markup.encode()
                number += 1


def _write_links(folder: Path, n_pages: int, port: int, scheme: str, n_partitions: int = 1) -> None:
    """Writes the list of links as the peers read it and as ours does, a file for a partition."""
    allowed = [f"{scheme}://{_host(i)}/p/{i}.html" for i in range(n_pages)]
    forbidden = [
        f"{scheme}://{_host(i)}/private/{i}.html" for i in range(0, n_pages, _FORBIDDEN_EVERY)
    ]
    with_port = [url.replace(".test/", f".test:{port}/") for url in (*allowed, *forbidden)]
    (folder / "urls").write_text("\n".join(with_port))
    (folder / "allowed").write_text("\n".join(with_port[:n_pages]))
    rows: list[list[dict[str, Any]]] = [[] for _ in range(n_partitions)]
    found = sorted(map(_row, (*allowed, *forbidden)), key=lambda row: str(row["doc_id"]))
    owners = records.partitions([row["host"] for row in found], n_partitions)
    for row, owner in zip(found, owners.tolist(), strict=True):
        rows[owner].append(row)
    shutil.rmtree(folder / "links", ignore_errors=True)
    (folder / "links").mkdir()
    for index, each in enumerate(rows):
        table = pa.Table.from_pylist(each, records.LINKS)
        shards.write_table(folder / "links" / f"part-{index:05d}.parquet", table)


def _host(page: int) -> str:
    return f"site-{page // _PER_HOST}.web.test"


def _row(address: str) -> dict[str, Any]:
    url = urls.parse(address)
    assert url is not None
    key = urls.canonical_key(url)
    return {
        "doc_id": records.doc_id(key),
        "url": url.href,
        "key": key,
        "host": url.host,
        "domain": url.host,
        "created_utc": 1_509_494_400,
        "max_score": 5,
        "submissions": [],
    }


# ── the server ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _served(folder: Path, certificate: str | None) -> Iterator[int]:
    """Runs the server while the block runs; yields its port."""
    command = [sys.executable, "-m", "benchmarks.web", str(folder / "bodies")]
    command += [str(folder / "served.pem")] if certificate else []
    with subprocess.Popen(command, cwd=harness.ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline())
        finally:
            server.terminate()


def _make_certificate(folder: Path) -> str:
    """Makes an authority and a certificate for every name; returns the authority's path."""
    names = "subjectAltName=DNS:*.web.test,IP:127.0.0.1"
    made = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=bench -keyout key.pem"
    command = [*made.split(), "-out", "authority.pem", "-addext", names]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    both = (folder / "key.pem").read_text() + (folder / "authority.pem").read_text()
    (folder / "served.pem").write_text(both)
    return str(folder / "authority.pem")


def _n_private(port: int, *, tls: bool) -> int:
    context = None
    if tls:  # our own server, on loopback
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    scheme = "https" if tls else "http"
    address = f"{scheme}://{web.ADDRESS}:{port}{web.ASKED}"
    with urllib.request.urlopen(address, context=context) as told:
        return int(told.read())


# ── contenders ───────────────────────────────────────────────────────────────────────────────────


def _ours(folder: Path, port: int, env: Mapping[str, str]) -> Contender:
    return harness.ours("crawl", folder, port, **env)


def work(folder: Path, port: str) -> None:
    """Does our side's work once, from scratch, one partition after the other."""
    given = params.load("crawl", crawl.Config)
    pace = dataclasses.replace(
        given.pace, hosts=64, concurrency=64, per_address=64, address_delay_s=0.0, min_delay_s=0.0
    )
    config = dataclasses.replace(given, pace=pace, captured_at=None, contact="mailto:b@example.org")
    for name in ("warc", "fetches"):
        shutil.rmtree(folder / name, ignore_errors=True)
    address = (web.ADDRESS, int(port))
    for index, links in enumerate(sorted((folder / "links").iterdir())):
        hosts = dict.fromkeys(pq.read_table(links, columns=["host"])["host"].to_pylist(), address)
        job = Job(
            step="crawl",
            index=index,
            links=links,
            links_sha256=shards.sha256_file(links),
            identity="benchmark",
            warc=folder / "warc",
            fetches=folder / "fetches",
        )
        reach = Reach(connect_to=hosts, allowed=frozenset({address}))
        partition.crawl(crawl.settings(config), reach, job)
    told = {
        "peak_bytes": _peak_bytes(),
        "warc_bytes": sum(path.stat().st_size for path in (folder / "warc").glob("part-*")),
        "rows_bytes": sum(path.stat().st_size for path in (folder / "fetches").glob("part-*")),
    }
    print(json.dumps(told))


def _peak_bytes() -> int:
    """Returns the most memory this process had; a child's own account begins with its parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _peers(folder: Path, env: Mapping[str, str]) -> list[Contender]:
    output = folder / "peer"
    output.mkdir(exist_ok=True)
    scrapy = {
        f"{_SCRAPY} {concurrency} {form}": (folder / "urls", output, concurrency, form)
        for concurrency in _CONCURRENCY
        for form in ("decoded", "raw")
    }
    pools = {
        f"pool of {_N_THREADS}, {kind}": (folder / "allowed", output, _N_THREADS, kind)
        for kind in ("requests", "newspaper")
    }
    trusted = {**env, "REQUESTS_CA_BUNDLE": env.get("SSL_CERT_FILE", "")}
    return [
        *harness.peers("peer_scrapy", scrapy, **env).values(),
        *harness.peers("peer_openwebtext", pools, **trusted).values(),
    ]


# ── quality ──────────────────────────────────────────────────────────────────────────────────────


def _share_right(folder: Path, contender: Contender, bodies: Sequence[bytes], n: int) -> float:
    """Returns the share of the pages that a contender has saved as they were served."""
    saved = _read_ours(folder) if contender.name == harness.OURS else _read_peer(folder / "peer")
    found = {url.rpartition("/")[2]: body for url, body in saved}
    return sum(found.get(f"{i}.html") == bodies[i % len(bodies)] for i in range(n)) / n


def _read_ours(folder: Path) -> Iterator[tuple[str, bytes]]:
    for found in warc.read_responses(folder / "warc" / "part-00000.warc.gz"):
        if isinstance(found, Response) and found.link is not None:
            yield found.url, found.body


def _read_peer(folder: Path) -> Iterator[tuple[str, bytes]]:
    with (folder / "bodies").open("rb") as bodies:
        for line in (folder / "index").read_text().splitlines():
            url, n_bytes = line.split(" ")
            body = bodies.read(int(n_bytes))
            yield url, gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body


def _parser() -> argparse.ArgumentParser:
    found = harness.parser(__doc__)
    kind = found.add_mutually_exclusive_group()
    kind.add_argument("--tls", action="store_true", help="over HTTPS")
    kind.add_argument("--memory", action="store_true", help="ours alone, at growing sizes")
    told = "--memory of N links in P partitions alone"
    found.add_argument("--size", nargs=2, type=int, metavar=("N", "P"), help=told)
    return found


if __name__ == "__main__":
    harness.main(main, _parser(), work)

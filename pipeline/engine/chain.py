"""What the whole chain will need, from links to token shards, before it is begun.

    links ─> crawl ─> pages ─> extract ─> clean ─> dedup ─> documents ─> decontaminate ─> tokens
             days     WARC                                   text                    shards

Volumes are a corpus' published shares; costs by MB were measured (`pipeline.engine.costs`). Nothing
is fetched and nothing is read.

Decisions:
- Every link costs the crawl what a page costs; only pages are stored. Waiting for slow and dead
  hosts is not in it.
- Until `dedup` every page counts as a document of the final length: an upper bound.
- Days of the crawl are those of whatever binds: the largest host at one request in `min_delay_s`,
  the hosts that the running partitions have open, or the cores.
- A stage keeps all cores busy; where memory has room for fewer workers than there are cores, those.
  `bpe` is one process. The distinct words that it holds come on top of its memory: nobody says how
  many a corpus has.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from pipeline.engine.costs import Corpus, Costs, Node
from pipeline.store import records
from pipeline.store.config import require

_BYTES_PER_ID = 2  # in a token shard, up to 65,536 entries
_DAY_S = 86_400
_ALONE = ("bpe",)  # runs in one process
_MAX_HALVES = 10  # of a WARC file, that are tried


class Asked(NamedTuple):
    """What is planned for.

    Attributes:
        n_links: Links after the stage `links`.
        corpus: What becomes of them.
        partitions: `links.partitions`.
        max_warc_bytes: `crawl.max_warc_bytes`.
        hosts: `crawl.pace.hosts`.
        min_delay_s: `crawl.pace.min_delay_s`.
        stop_after_s: `crawl.stop_after_s`.
        node: Type of the machines for the data.
        n_nodes: How many.
    """

    n_links: int
    corpus: Corpus
    partitions: int
    max_warc_bytes: int
    hosts: int
    min_delay_s: float
    stop_after_s: float | None
    node: Node
    n_nodes: int

    def check(self) -> None:
        """Refuses what can't be planned for.

        Raises:
            ValueError: A figure is out of range.
        """
        require("--links", self.n_links, self.n_links >= 1, "x >= 1")
        require("--nodes", self.n_nodes, self.n_nodes >= 1, "x >= 1")


class Volumes(NamedTuple):
    """How much there is of what; MB are 10^6 bytes."""

    pages: int
    documents: int
    html_mb: float
    page_text_mb: float
    text_mb: float
    tokens: int
    warc_bytes: int
    warc_files: int


def volumes(asked: Asked, costs: Costs) -> Volumes:
    """Returns what becomes of the links."""
    corpus = asked.corpus
    pages = round(asked.n_links * corpus.pages_per_link)
    documents = round(pages * corpus.documents_per_page)
    text_mb = documents * corpus.bytes_per_document / 1e6
    warc_bytes = round(pages * costs.crawl.warc_bytes_per_page)
    each = math.ceil(warc_bytes / asked.partitions / asked.max_warc_bytes)
    return Volumes(
        pages=pages,
        documents=documents,
        html_mb=pages * costs.crawl.html_bytes_per_page / 1e6,
        page_text_mb=pages * corpus.bytes_per_document / 1e6,
        text_mb=text_mb,
        tokens=round(text_mb * 1e6 / corpus.bytes_per_token) + documents,
        warc_bytes=warc_bytes,
        warc_files=asked.partitions * max(1, each),
    )


def make(asked: Asked, costs: Costs) -> dict[str, Any]:
    """Returns the plan as plain values; bytes, seconds, US dollars unless a key says otherwise."""
    found = volumes(asked, costs)
    steps = _steps(asked, found, costs)
    seconds = sum(one["seconds"] for one in steps.values())
    price = asked.node.usd_per_hour
    return {
        "links": asked.n_links,
        "volumes": {
            **found._asdict(),
            "train_tokens": round(found.tokens * (1 - records.VALID_FRAC)),
            "token_bytes": found.tokens * _BYTES_PER_ID,
            "wire_bytes": round(found.pages * costs.crawl.wire_bytes_per_page),
            "n_vocab": asked.corpus.n_vocab,
        },
        "cores": asked.node.cores * asked.n_nodes,
        "node_memory_bytes": asked.node.memory_gb * 1e9,
        "stages": steps,
        "core_hours": sum(one["cpu_s"] for one in steps.values()) / 3600,
        "days": seconds / _DAY_S,
        "disk_bytes": sum(one["disk_bytes"] for one in steps.values()),
        "usd": None if price is None else price * asked.n_nodes * seconds / 3600,
        "max_warc_bytes": asked.max_warc_bytes,
        "max_warc_bytes_for_all_cores": _warc_bytes_for_all_cores(asked, costs),
    }


def _steps(asked: Asked, found: Volumes, costs: Costs) -> dict[str, dict[str, Any]]:
    stages = {name: _stage(name, mb, found, asked, costs) for name, mb in _inputs(found).items()}
    return {"crawl": _crawl(asked, found, costs), **stages}


def _warc_bytes_for_all_cores(asked: Asked, costs: Costs) -> int | None:
    """Returns the most `crawl.max_warc_bytes`, by halves, whose shards leave no core idle.

    A WARC file is a shard of every stage after the crawl. None where no half brings that about.
    """
    cores = asked.node.cores * asked.n_nodes
    for halves in range(_MAX_HALVES):
        less = asked._replace(max_warc_bytes=asked.max_warc_bytes >> halves)
        steps = _steps(less, volumes(less, costs), costs)
        idle = (name for name, one in steps.items() if one["workers"] < cores)
        if not set(idle) - {"crawl", *_ALONE}:
            return less.max_warc_bytes
    return None


def _inputs(found: Volumes) -> dict[str, float]:
    """Returns the MB that each stage reads."""
    return {
        "extract": found.html_mb,
        "clean": found.page_text_mb,
        "dedup": found.page_text_mb,
        "decontaminate": found.text_mb,
        "bpe": found.text_mb,
        "encode": found.text_mb,
    }


def _stage(name: str, mb: float, found: Volumes, asked: Asked, costs: Costs) -> dict[str, Any]:
    told = costs.stages[name]
    shard_mb = mb / found.warc_files
    worker_bytes = told.peak_bytes(shard_mb)
    workers = 1 if name in _ALONE else _at_once(asked, worker_bytes)
    cpu_s = told.cpu_s(mb)
    return {
        "input_bytes": round(mb * 1e6),
        "cpu_s": cpu_s,
        "workers": workers,
        "seconds": cpu_s / workers,
        "worker_bytes": round(worker_bytes),
        "shard_mb": shard_mb,
        "largest_shard_mb": told.largest_shard_mb,
        "disk_bytes": round(told.disk_bytes(mb)),
    }


def _crawl(asked: Asked, found: Volumes, costs: Costs) -> dict[str, Any]:
    """Returns how long the crawl takes, and what binds it."""
    known = costs.crawl
    worker_bytes = known.fixed_peak_bytes
    worker_bytes += known.peak_bytes_per_link * asked.n_links / asked.partitions
    running = min(asked.partitions, _at_once(asked, worker_bytes))
    paced = asked.hosts / asked.min_delay_s if asked.min_delay_s else math.inf
    largest = asked.n_links * asked.corpus.largest_host_frac
    cpu_s = asked.n_links * known.cpu_s_per_page
    bounds = {
        "largest host": largest * asked.min_delay_s,
        "open hosts": asked.n_links / (running * paced),
        "cores": cpu_s / running,
    }
    binding = max(bounds, key=lambda name: bounds[name])
    seconds = bounds[binding]
    if asked.stop_after_s is not None and asked.stop_after_s < seconds:
        binding, seconds = "crawl.stop_after_s", asked.stop_after_s
    return {
        "input_bytes": round(found.pages * known.wire_bytes_per_page),
        "cpu_s": cpu_s,
        "workers": running,
        "seconds": seconds,
        "worker_bytes": round(worker_bytes),
        "disk_bytes": found.warc_bytes,
        "binding": binding,
        "bounds_s": bounds,
        "largest_host_links": round(largest),
    }


def _at_once(asked: Asked, worker_bytes: float) -> int:
    """Returns how many workers of that memory run at once, one at least."""
    fitting = int(asked.node.memory_gb * 1e9 / worker_bytes)
    return max(1, min(asked.node.cores, fitting) * asked.n_nodes)


def table(plan: dict[str, Any], costs: Costs) -> Iterator[str]:
    """Yields the plan's lines for people."""
    told, crawl = plan["volumes"], plan["stages"]["crawl"]
    yield (
        f"links         {plan['links']:,} -> {told['pages']:,} pages -> "
        f"{told['documents']:,} documents"
    )
    yield (
        f"bytes         {_size(told['wire_bytes'])} fetched, {_size(told['warc_bytes'])} WARC, "
        f"{_size(told['text_mb'] * 1e6)} text, {_size(told['token_bytes'])} tokens"
    )
    yield (
        f"tokens        {told['tokens']:,} of a vocabulary of {told['n_vocab']:,}; "
        f"{told['train_tokens']:,} for training"
    )
    yield f"shards        {told['warc_files']:,} of each kind"
    bounds = ", ".join(f"{name} {s / _DAY_S:,.2f}" for name, s in crawl["bounds_s"].items())
    yield (
        f"crawl         {crawl['seconds'] / _DAY_S:,.1f} days: {crawl['binding']} binds "
        f"(days: {bounds})"
    )
    yield f"              the largest host has {crawl['largest_host_links']:,} links"
    yield (
        f"all data      {plan['core_hours']:,.0f} core-hours; {plan['days']:,.1f} days on "
        f"{plan['cores']} cores; {_size(plan['disk_bytes'])} on disk; {_money(plan['usd'])}"
    )
    yield ""
    yield "                   input  core-hours  workers     hours  GB/worker      disk"
    for name, one in plan["stages"].items():
        yield _row(name, one)
    yield from _notes(plan, costs)


def _notes(plan: dict[str, Any], costs: Costs) -> Iterator[str]:
    """Yields what a reader must know of the figures."""
    source = costs.measured["stages"]
    yield f"measured {source['date']} on {source['machine']} by {source['benchmark']}"
    beyond = [
        f"{name} {one['shard_mb'] / one['largest_shard_mb']:,.0f}"
        for name, one in plan["stages"].items()
        if one.get("shard_mb", 0) > one.get("largest_shard_mb", 0)
    ]
    if beyond:
        yield f"memory is extrapolated: shards, over those measured, are {', '.join(beyond)} times"
    enough = plan["max_warc_bytes_for_all_cores"]
    if enough not in (None, plan["max_warc_bytes"]):
        yield f"memory leaves cores idle; crawl.max_warc_bytes: {enough} would use all"
    for name, one in plan["stages"].items():
        if one["worker_bytes"] > plan["node_memory_bytes"]:
            remedy = "raise links.partitions" if name == "crawl" else "lower crawl.max_warc_bytes"
            yield f"{name} does not fit a node's memory: {remedy}"
    yield (
        f"bpe also holds every distinct word, {costs.bytes_per_word / 1e3:.2f} kB each; "
        "bpe.source: files learns none"
    )


def _row(name: str, one: dict[str, Any]) -> str:
    return (
        f"  {name:<14}{_size(one['input_bytes']):>8}{one['cpu_s'] / 3600:>12,.1f}"
        f"{one['workers']:>9}{one['seconds'] / 3600:>10,.1f}{one['worker_bytes'] / 1e9:>11.2f}"
        f"{_size(one['disk_bytes']):>10}"
    )


def _size(n_bytes: float) -> str:
    """Returns bytes in the largest decimal unit that leaves a number of 1 or more.

    >>> _size(609e9), _size(1.5e12), _size(12_000)
    ('609 GB', '1.5 TB', '0.0 MB')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if n_bytes >= size:
            value = n_bytes / size
            return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{n_bytes / 1e6:,.1f} MB"


def _money(usd: float | None) -> str:
    return "price not known" if usd is None else f"{usd:,.0f} USD"

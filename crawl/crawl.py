"""The polite crawl: every link of `data/links/` asked for once, every outcome written down.

    data/links ─┬─> partition 0 ─┬─> data/warc/    WARC and index per partition, manifest.json
                ├─> partition 1 ─┤
                └─> ...          └─> data/fetches/ one row per link, decisions, manifest.json

Decisions:
- A partition owns its registered domains, so that one process knows all requests to a host. Where
  a redirect leads to a domain of another partition, the delay is kept within each of the two.
- Identity is the set of links and the configuration that decides outcomes, never code and never the
  pace: a crawl of weeks survives a bug fix and a slower pace. Partitions that are finished are
  kept; so DVC must not remove the outputs (`persist: true`).
- The crawl names itself and whom to write to; without a contact it reaches nothing but loopback.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from crawl import loopback, partition, seal
from crawl.fetch import INTERNET, Limits, Reach, Wanted
from crawl.hosts import Pace
from crawl.partition import Settings
from crawl.seal import Job, Sealed
from crawl.visit import OTHER_BODY_BYTES, Rules
from pipeline.engine.progress import progress
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, shards
from pipeline.store.config import require
from pipeline.store.manifest import Manifest

VERSION = "1.0"  # of the crawler as sites see it

_CONTACT = re.compile(r"(mailto:[^\s@]+@[^\s@]+\.[^\s@]+|https?://\S+\.\S+)")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_LOOPBACK_CONTACT = "embedded default on loopback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How the crawl presents itself, what it takes, and how hard it may push.

    Attributes:
        source: `demo` fetches the embedded web from loopback; `web` fetches the internet; `none`
            fetches nothing: every link is `not_fetched`.
        contact: `mailto:` address or URL of whoever runs the crawl; needed for `web`.
        product: Product token that robots.txt files address it by.
        captured_at: Instant written as WARC-Date, so that results do not depend on the day;
            null is the real time.
        stop_after_s: When no partition begins another request; null is never. What is left is
            `deferred`, and taken up when the stage is run again.
        max_warc_bytes: Size at which a partition's WARC file is followed by the next one.
        ports: Ports that a redirect may lead to.
        content_types: Types whose body is read; an answer without a type is read.
        enforced_opt_outs: Words that are obeyed in headers, `<meta>` and robots.txt.
        max_redirects: Hops after the first.
        max_url_chars: Longest target of a redirect.
        pace: How hard the crawl may push.
        limits: What one request may cost.
    """

    source: Literal["demo", "web", "none"]
    contact: str | None
    product: str
    captured_at: str | None
    stop_after_s: float | None
    max_warc_bytes: int
    ports: tuple[int, ...]
    content_types: tuple[str, ...]
    enforced_opt_outs: tuple[str, ...]
    max_redirects: int
    max_url_chars: int
    pace: Pace
    limits: Limits

    def __post_init__(self) -> None:
        """Refuses values out of range, and a crawl of the internet that is anonymous."""
        known = self.contact is not None and _CONTACT.fullmatch(self.contact) is not None
        require(
            "contact",
            self.contact,
            known or (self.contact is None and self.source != "web"),
            "mailto:you@example.org or https://example.org/crawler (sites must be able to reach "
            "you); null only with source: demo or none",
        )
        ok = re.fullmatch(r"[A-Za-z_-]+", self.product) is not None
        require("product", self.product, ok, "letters, _ and - (RFC 9309)")
        ok = self.captured_at is None or _INSTANT.fullmatch(self.captured_at) is not None
        require("captured_at", self.captured_at, ok, "null or 2017-12-01T00:00:00Z")
        ok = self.stop_after_s is None or self.stop_after_s > 0
        require("stop_after_s", self.stop_after_s, ok, "null or x > 0")
        require("max_warc_bytes", self.max_warc_bytes, self.max_warc_bytes >= 1, "x >= 1")
        require("max_redirects", self.max_redirects, 0 <= self.max_redirects <= 20, "0 <= x <= 20")
        require("max_url_chars", self.max_url_chars, self.max_url_chars >= 10, "x >= 10")

    @property
    def user_agent(self) -> str:
        """The User-Agent header."""
        return f"{self.product}/{VERSION} (+{self.contact or _LOOPBACK_CONTACT})"


def run(
    inputs: tuple[Path, Path], outputs: tuple[Path, Path], config: Config, engine: Engine
) -> dict[str, Any]:
    """Crawls every partition that is not finished, and seals both outputs.

    Args:
        inputs: `data/links` and, for `source: demo`, `data/web`.
        outputs: `data/warc` and `data/fetches`.
        config: The configuration.
        engine: Where partitions run.

    Returns:
        Counts by outcome and sums.

    Raises:
        ManifestError: If an input is not finished.
        ShardError: If a partition is being crawled by another process.
    """
    links_folder, web = inputs
    links = manifest.load(links_folder, "links")
    source = manifest.load(web, "demo").root if config.source == "demo" else ""
    jobs = _jobs(links, outputs, _identity(config, source))
    work = partial(crawl_partition, settings(config), web.absolute(), config.source)
    return finish(seal.STEP, outputs, jobs, work, engine)


def finish(
    step: str,
    outputs: tuple[Path, Path],
    jobs: list[Job],
    work: Callable[[Job], Sealed],
    engine: Engine,
) -> dict[str, Any]:
    """Works on every partition, those with most links first, and seals both outputs.

    Args:
        step: Whose they are.
        outputs: Folders of WARC files and of rows.
        jobs: The partitions in order.
        work: Does what is left of one.
        engine: Where they run.

    Returns:
        Counts by outcome and sums.
    """
    for folder in outputs:
        (folder / manifest.NAME).unlink(missing_ok=True)
    done: dict[int, Sealed] = {}
    order = sorted(jobs, key=lambda job: (-job.links.stat().st_size, job.index))
    with progress(step, len(order), "partitions") as shown:
        for position, sealed in engine.map(work, order):
            done[order[position].index] = sealed
            shown.update()
    in_order = [done[job.index] for job in jobs]
    seal.seal_folder(outputs[1], step, [sealed.fetches for sealed in in_order])
    made = seal.seal_folder(outputs[0], step, [sealed.warc for sealed in in_order])
    return {"counts": shards.counts_json(made.counts), "tally": made.tally}


def settings(config: Config) -> Settings:
    """Returns what every partition needs of the configuration."""
    wanted = Wanted(
        accept=", ".join(config.content_types) or "*/*",
        content_types=config.content_types,
        max_bytes=config.limits.max_wire_bytes,
        max_other_bytes=min(OTHER_BODY_BYTES, config.limits.max_wire_bytes),
        may_be_cut=False,
    )
    rules = Rules(
        product=config.product,
        wanted=wanted,
        ports=config.ports,
        enforced_opt_outs=config.enforced_opt_outs,
        max_redirects=config.max_redirects,
        max_url_chars=config.max_url_chars,
    )
    return Settings(
        rules=rules,
        limits=config.limits,
        pace=config.pace,
        user_agent=config.user_agent,
        captured_at=config.captured_at or "",
        stop_after_s=math.inf if config.stop_after_s is None else config.stop_after_s,
        max_warc_bytes=config.max_warc_bytes,
    )


def crawl_partition(settings: Settings, web: Path, source: str, job: Job) -> Sealed:
    """Crawls one partition; the embedded web is served by the task itself, wherever it runs."""
    with _reach(source, web) as reach:
        return partition.crawl(settings, reach, job)


@contextmanager
def _reach(source: str, web: Path) -> Iterator[Reach | None]:
    if source != "demo":
        yield INTERNET if source == "web" else None
        return
    with loopback.serve(web) as served:
        address = (served.address, served.port)
        hosts = dict.fromkeys(served.hosts, address)
        yield Reach(connect_to=hosts, allowed=frozenset({address}))


def _identity(config: Config, source: str) -> str:
    """Returns what all partitions' outcomes depend on beside their links."""
    told = asdict(config)
    for name in ("pace", "contact", "stop_after_s", "max_warc_bytes"):
        del told[name]
    return json.dumps({"config": told, "source": source}, sort_keys=True)


def _jobs(links: Manifest, outputs: tuple[Path, Path], share: str) -> list[Job]:
    jobs = []
    for index, path in enumerate(links.paths()):
        digest = links.files[path.name].sha256
        jobs.append(
            Job(
                step=seal.STEP,
                index=index,
                links=path.absolute(),
                links_sha256=digest,
                identity=hashlib.sha256(f"{share} {index} {digest}".encode()).hexdigest(),
                warc=outputs[0].absolute(),
                fetches=outputs[1].absolute(),
            )
        )
    return jobs

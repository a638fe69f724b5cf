"""The embedded default: a small web of real prose, a Reddit dump that links to it, and the truth.

    installed packages ──parse──> articles ──lay out──> sites + planted cases ─┬─> data/web/
      one task per package                     this process                    ├─> data/dump/
                                                                               └─> data/truth/

Decisions:
- No network and no bundled corpus: the prose is the documentation of the standard library and of
  the packages that this project needs anyway, so it differs with their versions and with nothing
  else. A package that is not installed is left out and named in the figures.
- Only planted cases are in the truth; ordinary pages have their authors' text in `gold/` instead,
  so that extraction can be measured.
"""

import json
import platform
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crawl import planted, prose, sites, submissions
from crawl.docstrings import Block
from crawl.draws import shuffled
from crawl.planted import Scale, Shown
from crawl.prose import Article
from crawl.templates import Site
from crawl.web import Web, doc_id
from pipeline.engine import shardmap
from pipeline.engine.identity import Step, fingerprint
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, shards
from pipeline.store.config import require
from pipeline.store.manifest import Manifest
from pipeline.store.shards import Counts, FileInfo, Shard, ShardDraft

DUMP = "RS_2017-11.zst"
GOLD = pa.schema([pa.field(name, pa.string(), False) for name in ("doc_id", "template", "text")])

_ARTICLES = pa.schema(
    [
        ("package", pa.string()),
        ("name", pa.string()),
        ("title", pa.string()),
        ("blocks", pa.list_(pa.struct([("kind", pa.string()), ("lines", pa.list_(pa.string()))]))),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `demo` of params.yaml.

    Attributes:
        seed: Of every keyed draw.
        packages: Import name (`python` is the standard library) to articles at most; one site each;
            none makes an empty web and a dump without submissions.
        mirrors: Pages that another site reprints with small changes.
        per_case: Pages of each other planted case.
        oversized_bytes: Size of the oversized page; more than the crawl's limit.
    """

    seed: int
    packages: dict[str, int]
    mirrors: int
    per_case: int
    oversized_bytes: int

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        for name, number in self.packages.items():
            require(f"packages.{name}", number, number >= 1, "x >= 1")
        require("mirrors", self.mirrors, self.mirrors >= 1, "x >= 1")
        require("per_case", self.per_case, self.per_case >= 1, "x >= 1")
        require("oversized_bytes", self.oversized_bytes, self.oversized_bytes >= 1, "x >= 1")


def run(web: Path, dump: Path, truth: Path, config: Config, engine: Engine) -> dict[str, Any]:
    """Makes the embedded default.

    Args:
        web: The folder for what hosts answer.
        dump: The folder for the dump.
        truth: The folder for what was planted and where it must end.
        config: What to make.
        engine: Where packages are read.

    Returns:
        The stage's figures.

    Raises:
        ValueError: If the packages give too little prose.
    """
    found = {name: root for name in config.packages if (root := prose.find(name))}
    absent = sorted(set(config.packages) - set(found))
    if absent:
        sys.stderr.write(f"demo: not installed and left out: {', '.join(absent)}\n")
    articles = _articles(config, tuple(found), engine)
    built = _build(config, articles) if config.packages else Web(config.seed, (), [])
    pages = _write_web(web, built)
    _write_truth(truth, built)
    n_lines = _write_dump(dump, built)
    return {
        "counts": shards.counts_json(pages.counts),
        "absent_packages": absent,
        "articles": dict(Counter(article.package for article in articles)),
        "n_chars": sum(prose.n_chars(article.blocks) for article in articles),
        "n_hosts": len(built.answers),
        "n_links": len(built.links),
        "n_submissions": n_lines,
        "planted": dict(sorted(Counter(row.case for row in built.truth).items())),
    }


# -------------------------------------------------------------------------------------- articles


def _articles(config: Config, packages: Sequence[str], engine: Engine) -> list[Article]:
    """Reads every package in a task of its own; what was read before is reused."""
    step = Step(name="demo-prose", code=prose.__name__, config=None)
    distributions = packages_distributions()
    tasks = [[_request(name, config.packages[name], distributions)] for name in packages]
    made = shardmap.intermediate(step, tasks, read_package, engine)
    found = []
    for shard in made.shards:
        for row in pq.read_table(shard.path("part.parquet")).to_pylist():
            blocks = tuple(Block(b["kind"], tuple(b["lines"])) for b in row.pop("blocks"))
            found.append(Article(**row, blocks=blocks))
    return found


def _request(package: str, n_articles: int, distributions: Mapping[str, list[str]]) -> Path:
    """Writes down what a task reads: its identity, since a package has no single file."""
    names = sorted(set(distributions.get(package, [])))
    versions = {name: version(name) for name in names} or {"python": platform.python_version()}
    told = {"package": package, "n_articles": n_articles, "versions": versions}
    path = shardmap.STORE / "demo-requests" / f"{package}.json"
    shards.write_atomic(path, shards.to_json(told))
    return path


def read_package(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Writes the articles of one package.

    Args:
        inputs: The request.
        draft: Where to write.
    """
    told = json.loads(inputs[0].read_bytes())
    root = prose.find(told["package"])
    if root is None:
        raise ValueError(
            f"package {told['package']} is missing on this node; install the lock file"
        )
    found = prose.articles(told["package"], root, told["n_articles"])
    draft.count_in(len(found))
    draft.count_out(len(found))
    rows = [{**a._asdict(), "blocks": [b._asdict() for b in a.blocks]} for a in found]
    draft.write_table("part.parquet", pa.Table.from_pylist(rows, _ARTICLES))


# ---------------------------------------------------------------------------------------- layout


def _build(config: Config, articles: Sequence[Article]) -> Web:
    """Lays out the sites and plants the cases."""
    scale = Scale(config.mirrors, config.per_case, config.oversized_bytes)
    suited = planted.suited(articles)
    n_planted = planted.n_articles(scale)
    n_needed = n_planted + scale.mirrors + scale.per_case
    if len(suited) < n_needed:
        raise ValueError(
            f"demo.packages give {len(suited)} articles of plain prose; planted pages need "
            f"{n_needed}; install the lock file or name packages with more documentation"
        )
    order = shuffled(suited, config.seed, "articles")
    taken, suiting = set(order[:n_planted]), set(order[n_planted:])
    packages = dict.fromkeys(article.package for article in articles)
    hosts = {name: sites.site(name, number) for number, name in enumerate(packages)}
    web = Web(config.seed, tuple(hosts.values()), [articles[i] for i in order[:n_planted]])
    ordinary = []
    for name, host in hosts.items():
        web.serve(sites.robots(host.host, config.seed))
        own = [i for i, a in enumerate(articles) if a.package == name and i not in taken]
        shown = _show(web, host, [articles[i] for i in own])
        ordinary += [one for i, one in zip(own, shown, strict=True) if i in suiting]
    planted.plant(web, scale, ordinary)
    return web


def _show(web: Web, host: Site, articles: Sequence[Article]) -> list[Shown]:
    """Serves and submits a site's ordinary pages."""
    pages = [sites.page(host, n, article, web.seed) for n, article in enumerate(articles)]
    pages = sites.with_related(pages, web.seed, host.host)
    for page in pages:
        url = web.submit(web.show(host, page), page.title)
        web.remember(url, host, page.title, page.blocks)
    return [Shown(host, page) for page in pages]


# --------------------------------------------------------------------------------------- outputs


def _write_web(folder: Path, web: Web) -> Manifest:
    """Writes one shard per host."""
    made = []
    for host in sorted(web.answers):
        answers = sorted(web.answers[host].values())
        rows = [{**a._asdict(), "headers": _pairs(a.headers)} for a in answers]
        made.append(_shard("demo", {"part.parquet": pa.Table.from_pylist(rows, records.WEB)}))
    return _sealed(folder, made)


def _pairs(headers: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _write_truth(folder: Path, web: Web) -> None:
    """Writes what was planted, and beside it what ordinary pages say."""
    truth = [
        {
            "url": row.url,
            "doc_id": doc_id(row.url),
            "case": row.case,
            "group": row.group,
            "expect_stage": row.stage,
            "expect_reason": row.reason,
        }
        for row in sorted(web.truth)
    ]
    gold = [{"doc_id": doc_id(g.url), "template": g.template, "text": g.text} for g in web.gold]
    gold.sort(key=lambda row: row["doc_id"])
    tables = {
        "part.parquet": pa.Table.from_pylist(truth, records.TRUTH),
        "gold.parquet": pa.Table.from_pylist(gold, GOLD),
    }
    _sealed(folder, [_shard("demo", tables)])


def _shard(step: str, tables: Mapping[str, pa.Table]) -> Shard:
    """Makes one shard of finished tables."""
    draft = ShardDraft(step, shardmap.STORE / step)
    try:
        for name, table in tables.items():
            draft.write_table(name, table)
        n_rows = tables["part.parquet"].num_rows
        draft.count_in(n_rows)
        draft.count_out(n_rows)
        digests = tuple(shards.sha256_file(draft.path(name)) for name in tables)
        return draft.commit(fingerprint(step, digests), ())
    finally:
        draft.abandon()


def _sealed(folder: Path, made: Sequence[Shard]) -> Manifest:
    """Links shards into an output; the store keeps nothing: making them again takes seconds."""
    sealed = manifest.link_shards(folder, "demo", made)
    shutil.rmtree(shardmap.STORE / "demo", ignore_errors=True)
    return sealed


def _write_dump(folder: Path, web: Web) -> int:
    """Writes the dump and its manifest; returns the number of lines."""
    data, n_lines = submissions.dump(web.links, web.seed)
    shards.write_atomic(folder / DUMP, data)
    digest = shards.sha256_file(folder / DUMP)
    files = {DUMP: FileInfo(n_bytes=len(data), sha256=digest, rows=n_lines)}
    counts = Counts(n_in=n_lines, n_out=n_lines, dropped={})
    manifest.write(folder, "demo", files, counts, {}, n_shards=1)
    return n_lines

"""Documents that must go: a list of domains, URLs and ids, applied before anything else is done.

    list ─┬─ data/fetches ─> links whose redirects ended at an entry ─┐
          └─ data/pages ────────────────────────────────────────────┴─> ids to drop, by shard

Decisions:
- A page belongs to its link and to the address it came from: an entry that names either hits it.
- Only ids are looked for, one task per shard; the list never enters the fingerprint of a shard
  that it does not touch. A touched shard gets one more input: its own hits. So an entry more
  rebuilds the shards it hits, and the same hits from another list rebuild nothing.
- A removed document leaves its id and the entry as its decision, and no excerpt.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import intermediate
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, urls
from pipeline.store.shards import ShardDraft

REMOVED = "removed"
NOTHING: Mapping[Path, tuple[Path, ...]] = MappingProxyType({})

_HITS = "hits.parquet"
_SCHEMA = pa.schema([("doc_id", pa.string()), ("entry", pa.string())])
_LIBRARIES = ("pyarrow", "xxhash", "ada-url")
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `removal` of params.yaml.

    Attributes:
        list: Text file of domains, URLs and ids, one per line; `#` begins a comment.
    """

    list: str


class Wanted(NamedTuple):
    """A list as it is matched: entries by document id and by domain."""

    documents: dict[str, str]
    domains: dict[str, str]

    def entry(self, doc_id: str, host: str) -> str | None:
        """Returns the entry that hits a document, None if none does."""
        if doc_id in self.documents:
            return self.documents[doc_id]
        labels = host.rstrip(".").split(".")
        parents = (".".join(labels[i:]) for i in range(len(labels)))
        return next((self.domains[name] for name in parents if name in self.domains), None)


def read(path: Path) -> Wanted:
    """Reads a list.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If a line is no domain, URL or document id.
    """
    if not path.is_file():
        raise FileNotFoundError(f"removal.list: {path} is missing; an empty file removes nothing")
    wanted = Wanted({}, {})
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        entry = re.sub(r"(^|\s)#.*", "", line).strip()
        if entry and not _add(wanted, entry):
            raise ValueError(
                f"{path}, line {number}: {entry!r} is no entry; expected a domain (example.org), "
                "an absolute URL or a document id (16 hex digits)"
            )
    return wanted


def _add(wanted: Wanted, entry: str) -> bool:
    """Adds an entry; returns whether it is one."""
    if _ID.fullmatch(entry):
        wanted.documents[entry] = entry
        return True
    parsed = urls.parse(entry if "://" in entry else f"http://{entry}/")
    if parsed is None:
        return False
    if "://" in entry:
        wanted.documents[records.doc_id(urls.canonical_key(parsed))] = entry
        return True
    is_domain = "." in entry and parsed.path == "/" and not (parsed.query or parsed.fragment)
    if is_domain and not parsed.has_userinfo and not re.search(r"[/:?#]", entry):
        wanted.domains[parsed.host.rstrip(".")] = entry
        return True
    return False


def find(
    inputs: Sequence[Path], fetches: Path, config: Config, engine: Engine
) -> dict[Path, tuple[Path, ...]]:
    """Returns for each shard that the list touches (absolute path) the file of its hits.

    Args:
        inputs: Folders of pages or documents, with their manifests.
        fetches: `data/fetches/`; not finished where nothing was crawled.
        config: The list.
        engine: Where shards are looked through.
    """
    listed = Path(config.list)
    if not any(read(listed)):
        return {}
    ended = _map("removal-ends", _fetch_shards(fetches), listed, [], engine)
    hits = _map("removal", _page_shards(inputs), listed, list(ended.values()), engine)
    return {path: (file,) for path, file in hits.items()}


def ids(inputs: Sequence[Path], fetches: Path, listed: Path, engine: Engine) -> dict[str, str]:
    """Returns the id of every document that a list hits, with its entry; nothing is kept.

    Args:
        inputs: As for `find`.
        fetches: As for `find`.
        listed: The list.
        engine: Where shards are looked through.
    """
    wanted = read(listed)
    ended: dict[str, str] = {}
    for _, told in engine.map(partial(_ended, wanted), _fetch_shards(fetches)):
        ended.update(told)
    everything = Wanted({**ended, **wanted.documents}, wanted.domains)
    found: dict[str, str] = {}
    for _, told in engine.map(partial(_hits, everything), _page_shards(inputs)):
        found.update(told)
    return found


def of_shard(hits: Sequence[Path]) -> dict[str, str]:
    """Returns the documents to drop from a shard, with the entry that hit each.

    Args:
        hits: The shard's file of hits; none for a shard that the list does not touch.
    """
    rows = [row for path in hits for row in pq.read_table(path, partitioning=None).to_pylist()]
    return {row["doc_id"]: row["entry"] for row in rows}


def _fetch_shards(fetches: Path) -> list[Path]:
    is_there = (fetches / manifest.NAME).is_file()
    return _absolute(manifest.load(fetches, "crawl").paths()) if is_there else []


def _page_shards(inputs: Sequence[Path]) -> list[Path]:
    return [
        path for folder in inputs for path in _absolute(manifest.load(folder, "extract").paths())
    ]


def _absolute(paths: Sequence[Path]) -> list[Path]:
    """Returns paths that a worker finds too, which has no current folder of ours."""
    return [path.absolute() for path in paths]


def _map(
    name: str, paths: Sequence[Path], listed: Path, ended: Sequence[Path], engine: Engine
) -> dict[Path, Path]:
    """Looks through shards; returns the file of hits of those that have any."""
    step = Step(name=name, code=__name__, config=None, libraries=_LIBRARIES)
    tasks = [(path, listed, *ended) for path in paths]
    made = intermediate(step, tasks, write_hits, engine).shards
    pairs = zip(paths, made, strict=True)
    return {path: shard.path(_HITS) for path, shard in pairs if shard.files[_HITS].rows}


def write_hits(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Writes the hits of one shard, sorted by id.

    Args:
        inputs: A shard of fetches or pages, the list, then hits of fetches.
        draft: Where to write.
    """
    path, listed, *ended = inputs
    wanted = read(listed)
    wanted = Wanted({**of_shard(ended), **wanted.documents}, wanted.domains)
    is_fetches = "final_url" in pq.read_schema(path).names
    found = _ended(wanted, path) if is_fetches else _hits(wanted, path)
    rows = [{"doc_id": doc_id, "entry": entry} for doc_id, entry in sorted(found.items())]
    draft.write_table(_HITS, pa.Table.from_pylist(rows, _SCHEMA))


def _hits(wanted: Wanted, path: Path) -> dict[str, str]:
    """Returns the hits of a shard of pages."""
    rows = pq.read_table(path, columns=["doc_id", "host"], partitioning=None).to_pylist()
    told = ((row["doc_id"], wanted.entry(row["doc_id"], row["host"])) for row in rows)
    return {doc_id: entry for doc_id, entry in told if entry is not None}


def _ended(wanted: Wanted, path: Path) -> dict[str, str]:
    """Returns the links of a shard of fetches whose redirects ended at an entry."""
    rows = pq.read_table(path, columns=["doc_id", "final_url"], partitioning=None).to_pylist()
    found = {}
    for row in rows:
        end = urls.parse(row["final_url"] or "")
        if end is None:
            continue
        entry = wanted.entry(records.doc_id(urls.canonical_key(end)), end.host)
        if entry is not None:
            found[row["doc_id"]] = entry
    return found

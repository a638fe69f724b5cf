"""Where a document comes from: the WARC record that holds its page, and who submitted its link.

    data/pages  shard ──sidecar──> digest of its WARC file ──manifest──> data/warc/part-*.warc.gz
    data/fetches  address after redirects ──CDXJ──> offset of the response record
    data/links  submissions

Whatever is missing (a document that entered later, a WARC file that lies elsewhere) stays empty.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store import cdxj, manifest, records, shards
from pipeline.store.ledger import Ledger

ORIGINS = pa.schema(
    [
        ("doc_id", pa.string()),
        ("n_tokens", pa.int64()),
        ("url", pa.string()),
        ("warc", pa.string()),
        ("offset", pa.int64()),
        records.LINKS.field("submissions"),
    ]
)

Scan = Callable[[Path], dict[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One document's origin.

    Attributes:
        doc_id: Its id.
        url: Its address, "" where it has none.
        warc: The file that holds its page: a path, or `sha256:…` where the file is not at hand.
        offset: Of the response record in that file, bytes; None where it was not found.
        submissions: `submission_id, subreddit, score, created_utc` of each, earliest first.
    """

    doc_id: str
    url: str
    warc: str
    offset: int | None
    submissions: tuple[dict[str, Any], ...]


def origins(opened: Ledger, data: Path, doc_ids: Sequence[str], scan: Scan) -> dict[str, Origin]:
    """Returns the origin of each document, in the order given.

    Args:
        opened: The ledger of `data`.
        data: The data folder.
        doc_ids: Whose origin is wanted.
        scan: Reads a WARC file that has no index and returns offsets by document id.
    """
    fetched = _by_id(opened, "crawl", ("url", "final_url"), doc_ids)
    paged = _by_id(opened, "extract", ("url",), doc_ids)
    linked = _by_id(opened, "links", ("url", "submissions"), doc_ids)
    records = _records(opened, data, doc_ids, fetched, scan)
    found = {}
    for doc_id in doc_ids:
        known = [rows[doc_id] for rows in (linked, fetched, paged) if doc_id in rows]
        warc, offset = records.get(doc_id, ("", None))
        submissions = linked.get(doc_id, {}).get("submissions") or ()
        found[doc_id] = Origin(
            doc_id=doc_id,
            url=str(known[0]["url"]) if known else "",
            warc=warc,
            offset=offset,
            submissions=tuple(sorted(submissions, key=_earliest)),
        )
    return found


def told(origin: Origin) -> list[str]:
    """Returns lines for people: the record, then each submission."""
    where = "no record found" if not origin.warc else origin.warc
    at = "" if origin.offset is None else f" at byte {origin.offset}"
    posts = [
        f"submission    {s['submission_id']} in r/{s['subreddit']}, score {s['score']}"
        for s in origin.submissions
    ]
    return [f"record        {where}{at}", *posts]


def write(target: Path, found: Sequence[Origin], n_tokens: Mapping[str, int]) -> None:
    """Writes origins as Parquet, in the order given.

    Args:
        target: The file.
        found: The origins.
        n_tokens: Of each document, how many tokens of it were asked about.
    """
    rows = [{**asdict(one), "n_tokens": n_tokens[one.doc_id]} for one in found]
    draft = target.with_name(f".{target.name}.tmp")
    shards.write_table(draft, pa.Table.from_pylist(rows, ORIGINS))
    draft.rename(target)


def _earliest(submission: dict[str, Any]) -> tuple[int, str]:
    return submission["created_utc"] or 0, submission["submission_id"] or ""


def _by_id(
    opened: Ledger, stage: str, columns: tuple[str, ...], doc_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    rows = opened.rows(stage, ["doc_id", *columns], doc_ids).to_pylist()
    return {row["doc_id"]: row for row in rows}


def _records(
    opened: Ledger,
    data: Path,
    doc_ids: Sequence[str],
    fetched: dict[str, dict[str, Any]],
    scan: Scan,
) -> dict[str, tuple[str, int | None]]:
    """Returns file and offset by document, for those that have a page."""
    source = opened.dataset("extract")
    if source is None:
        return {}
    wanted = pc.field("doc_id").isin(list(doc_ids))
    pages = source.to_table(columns=["doc_id", "__filename"], filter=wanted).to_pylist()
    captured = _warc_files(data)
    scanned: dict[Path, dict[str, int]] = {}
    found: dict[str, tuple[str, int | None]] = {}
    for page in pages:
        doc_id, digest = page["doc_id"], _input_digest(Path(page["__filename"]))
        path = captured.get(digest)
        if path is None:
            found[doc_id] = (f"sha256:{digest}" if digest else "", None)
            continue
        offset = _by_index(path, fetched.get(doc_id), doc_id)
        if offset is None:
            if path not in scanned:
                scanned[path] = scan(path)
            offset = scanned[path].get(doc_id)
        found[doc_id] = (str(path), offset)
    return found


def _warc_files(data: Path) -> dict[str, Path]:
    """Returns the crawl's WARC files by digest."""
    if not (data / "warc" / manifest.NAME).is_file():
        return {}
    files = manifest.load(data / "warc", "crawl").files
    return {info.sha256: data / "warc" / name for name, info in files.items() if ".warc" in name}


def _input_digest(shard: Path) -> str:
    """Returns the digest of the file that a shard was made from, "" where nobody wrote it down."""
    sidecar = shard.with_suffix(".json")
    if not sidecar.is_file():
        return ""
    inputs = json.loads(sidecar.read_bytes())["inputs"]
    return str(inputs[0]) if inputs else ""


def _by_index(warc: Path, row: dict[str, Any] | None, doc_id: str) -> int | None:
    index = warc.with_name(f"{warc.name.partition('.')[0]}.cdxj")
    if row is None or not index.is_file():
        return None
    return cdxj.find(index, row["final_url"] or row["url"], doc_id)

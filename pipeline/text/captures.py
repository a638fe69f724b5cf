"""Which records of an archive are documents, and which capture of a document counts.

A file of this project's crawl says which responses answer a link; in any other file every response
with a 2xx status, every `resource` of an http address and every `conversion` (WET text) is a
document of its own, identified by its address. Several captures of one document: the latest
`WARC-Date` counts, then the longest body, then the first in the file.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from pipeline.store import records, urls, warc
from pipeline.store.archive import Damage, read_records
from pipeline.store.warc import Response
from pipeline.text import repeats

FILES = ".warc, .wet or .arc, plain or packed as .gz, .zst or .lz4"

_KINDS = (
    *("response", "resource", "conversion", "revisit", "request", "metadata", "warcinfo"),
    *("continuation", "arc_header"),
)
_FILE = re.compile(r".*\.(?:warc|wet|arc)(?:\.wet)?(?:\.(?:gz|zst|lz4))?")
_DOC_ID = re.compile(r"[0-9a-f]{16}")


class Capture(NamedTuple):
    """One captured document; `place` is its number among what `read_responses` yields."""

    doc_id: str
    url: str
    created_utc: int | None
    warc_date: str
    n_bytes: int
    place: int


class Captures(NamedTuple):
    """The documents of a file: the captures that count, by place, and the others.

    `damages` are those of the whole file; `kinds` counts its records by type; `is_own` says whether
    this project's crawl wrote it.
    """

    kept: dict[int, Capture]
    superseded: list[Capture]
    damages: list[Damage]
    kinds: Counter[str]
    is_own: bool


def is_archive(name: str) -> bool:
    """Returns whether a file's name in lower case is that of an archive with documents.

    >>> [is_archive(name) for name in ("a.warc.gz", "a.warc.wet.gz", "a.warc.wat.gz", "a.arc")]
    [True, True, False, True]
    """
    return _FILE.fullmatch(name) is not None


def read_captures(path: Path) -> Captures:
    """Reads an archive once and decides which of its records are extracted."""
    found: list[tuple[Capture, bool]] = []
    damages: list[Damage] = []
    kinds: Counter[str] = Counter()
    is_own, place = False, 0
    for record in read_records(path):
        if not isinstance(record, Damage):
            kinds[record.kind if record.kind in _KINDS else "other"] += 1
            is_own = is_own or bool(record.get(warc.OWN_FIELD))
        captured = warc.captured(record)
        if isinstance(captured, Damage):
            damages.append(captured)
        elif captured is not None and 200 <= captured.http_status < 300:
            found.append((_capture(captured, place), captured.link is not None))
        place += captured is not None
    is_own = is_own or any(is_link for _, is_link in found)
    chosen = choose(capture for capture, is_link in found if is_link or not is_own)
    return chosen._replace(damages=damages, kinds=kinds, is_own=is_own)


def keys(path: Path) -> pa.Table:
    """Returns the captures of an archive that count, as `repeats.KEYS`."""
    kept = read_captures(path).kept.values()
    rows = [
        {"doc_id": c.doc_id, "date": c.warc_date, "n_bytes": c.n_bytes, "row": c.place}
        for c in kept
    ]
    return pa.Table.from_pylist(rows, repeats.KEYS)


def offsets(path: Path) -> dict[str, int]:
    """Returns where each document's response record begins in a file, in bytes, by document id."""
    kept = read_captures(path).kept
    responses = enumerate(warc.read_responses(path))
    return {kept[place].doc_id: found.offset for place, found in responses if place in kept}


def choose(captures: Iterable[Capture]) -> Captures:
    """Returns the captures of which the best of each document is kept."""
    best: dict[str, Capture] = {}
    superseded: list[Capture] = []
    for capture in captures:
        rival = best.get(capture.doc_id, capture)
        better, worse = sorted((capture, rival), key=_rank, reverse=True)
        best[capture.doc_id] = better
        if better is not worse:
            superseded.append(worse)
    kept = {capture.place: capture for capture in best.values()}
    return Captures(kept, superseded, [], Counter(), is_own=False)


def _rank(capture: Capture) -> tuple[str, int, int]:
    return capture.warc_date, capture.n_bytes, -capture.place


def _capture(response: Response, place: int) -> Capture:
    url = response.link or response.url
    given = response.link_doc_id or ""
    return Capture(
        doc_id=given if _DOC_ID.fullmatch(given) else _doc_id(url, response.body),
        url=url,
        created_utc=response.link_created_utc,
        warc_date=response.warc_date,
        n_bytes=len(response.body),
        place=place,
    )


def _doc_id(url: str, body: bytes) -> str:
    """Returns the id of an address; a response without a usable one goes by its content."""
    parsed = urls.parse(url)
    key = urls.canonical_key(parsed) if parsed else hashlib.sha256(body).hexdigest()
    return records.doc_id(key)

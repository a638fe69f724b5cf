"""What people ask the ledger: one link's way, a site's fates counted, the whole table as a file."""

import re
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.store import ledger, records, urls
from pipeline.store.ledger import FATES, Ledger, Visit

_ID = re.compile(r"[0-9a-f]{16}")


def id_of(url: str) -> str:
    """Returns the document id of a URL as posted; equal canonical keys give equal ids.

    Raises:
        ValueError: If it is no http(s) URL.

    >>> id_of("https://www.example.org/a?utm_source=feed") == id_of("http://example.org/a")
    True
    """
    parsed = urls.parse(url)
    if parsed is None:
        raise ValueError(f"{url!r} is no URL; expected an absolute http(s) URL")
    return records.doc_id(urls.canonical_key(parsed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What one finished stage did with a document.

    Attributes:
        stage: Its name.
        is_dropped: Whether the document went no further.
        told: In words, with the reasons.
    """

    stage: str
    is_dropped: bool
    told: str


def is_id(text: str) -> bool:
    """Tells whether a text has the form of a document id."""
    return _ID.fullmatch(text) is not None


def explain(opened: Ledger, doc_id: str) -> list[str]:
    """Returns `way` as a line per stage."""
    return [f"{stop.stage:<14}{stop.told}" for stop in way(opened, doc_id)]


def way(opened: Ledger, doc_id: str) -> list[Stop]:
    """Returns the way of one document through the finished stages that have seen it.

    Args:
        opened: The ledger.
        doc_id: 16 hex digits.

    Raises:
        ValueError: If it is no id, or no stage has ever seen it.
    """
    if not is_id(doc_id):
        raise ValueError(f"{doc_id!r} is no document id; expected 16 hex digits (0-9, a-f)")
    visits = [visit for visit in opened.visits(doc_id) if visit.has_row or visit.decisions]
    if not visits:
        stages = ", ".join(place.stage for place in opened.places) or "no stage"
        raise ValueError(
            f"doc_id {doc_id} was never seen by {stages}; expected a URL of the link lists or the "
            "id of a document that entered later"
        )
    last = opened.places[-1].stage
    return [
        Stop(
            stage=visit.stage,
            is_dropped=not visit.has_row,
            told=_told(visit, "kept" if visit.stage == last else "went on"),
        )
        for visit in visits
    ]


def _told(visit: Visit, on: str) -> str:
    """Returns what one stage did with a document; `on` says that it has a row of it."""
    said = [f"{d.reason} ({d.detail})" if d.detail else d.reason for d in visit.decisions]
    if not visit.has_row:
        return "dropped: " + "; ".join(said)
    return on + (f"; also {'; '.join(said)}" if said else "")


def census(opened: Ledger, column: str, site: str) -> dict[tuple[str, str], int]:
    """Returns how many documents of a site ended where, by stage and reason.

    A line of a dump that was dropped before it became a link belongs to no site.

    Args:
        opened: The ledger.
        column: `host` or `domain` (the registered one).
        site: Its value.

    Raises:
        ValueError: If no document has it.
    """
    ids = _ids_of_site(opened, column, site.strip().lower().rstrip("."))
    counts: Counter[tuple[str, str]] = Counter()
    for fates in opened.fates():
        mine = fates.filter(pc.is_in(fates["doc_id"], ids))
        counts.update(zip(mine["stage"].to_pylist(), mine["reason"].to_pylist(), strict=True))
    if not counts:
        raise ValueError(
            f"no document has the {column} {site!r}; expected e.g. "
            f"{_an_example(opened, column) or 'one of a finished run'}"
        )
    return _in_order(counts)


def _ids_of_site(opened: Ledger, column: str, site: str) -> pa.Array:
    """Returns the ids of a site's documents from every stage that says where they are from."""
    found = [pa.array([], pa.string())]
    for place in opened.places:
        source = opened.dataset(place.stage)
        if source is not None and column in source.schema.names:
            wanted = pc.field(column) == site
            table = source.to_table(columns=["doc_id"], filter=wanted)
            found.append(table["doc_id"].combine_chunks())
    return pc.unique(pa.concat_arrays(found))


def _in_order(counts: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Returns counts by stage and reason in the order of the graph."""
    stages = [place.stage for place in ledger.PLACES]
    return dict(sorted(counts.items(), key=lambda item: (stages.index(item[0][0]), item[0][1])))


def _an_example(opened: Ledger, column: str) -> str:
    for place in opened.places:
        source = opened.dataset(place.stage)
        if source is not None and column in source.schema.names and source.count_rows():
            return str(source.head(1, columns=[column])[column][0])
    return ""


def write(opened: Ledger, target: Path) -> dict[tuple[str, str], int]:
    """Writes every document's fate as Parquet, sorted by `doc_id`; returns counts by stage, reason.

    Args:
        opened: The ledger.
        target: The file; it appears when it is whole.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    counts: Counter[tuple[str, str]] = Counter()
    try:
        with pq.ParquetWriter(draft, FATES, compression="zstd", store_schema=False) as writer:
            for fates in opened.fates():
                writer.write_table(fates)
                pairs = zip(fates["stage"].to_pylist(), fates["reason"].to_pylist(), strict=True)
                counts.update(pairs)
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)
    return _in_order(counts)

"""Documents that need no extraction: JSON lines, Parquet, folders of text, as rows of pages.

    a.jsonl.zst ──> read ─┬─> piece 0 ──┐
                          └─> piece 1 ──┤   pages' ids ─┐
    b.parquet ────> read ───> piece 0 ──┼─> repeats ────┴─> part 0, part 1, ... (a part per piece)
    *.txt ────────> read ───> piece 0 ──┘

Decisions:
- A JSON line, a row of Parquet and a text file are a document each. One with an http(s) address has
  the id of that address; any other the hash of its file's SHA-256 and its row, whatever its name.
- Large files are cut into pieces of about `shard_bytes` of text, small text files put together, so
  that a shard of any collection has the same size. Cuts depend on the bytes only.
- Where a page or an earlier document has the same id, the later document is `superseded`.
- What is no document is dropped by reason; a damaged file stops the stage.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import intermediate, shard_map
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, shards, urls
from pipeline.store.config import require
from pipeline.store.records import Drop
from pipeline.store.shards import Shard, ShardDraft
from pipeline.text import formats, inputs, repeats
from pipeline.text.formats import Document, Fields
from pipeline.text.inputs import Named

PIECE = pa.schema(
    [field.with_nullable(True) for field in records.PAGES]
    + [pa.field(name, pa.string()) for name in ("reason", "detail")]
)

_LIBRARIES = ("pyarrow", "zstandard", "publicsuffixlist", "ada-url")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the user's documents are.

    Attributes:
        inputs: Folders and files.
        fields: Where JSON lines and Parquet have what.
        max_document_bytes: A longer text (UTF-8) is dropped.
        shard_bytes: Text of one shard, about.
    """

    inputs: tuple[str, ...]
    fields: Fields
    max_document_bytes: int
    shard_bytes: int

    def __post_init__(self) -> None:
        n_bytes = self.max_document_bytes
        require("max_document_bytes", n_bytes, 1 <= n_bytes <= 1 << 30, "1 <= x <= 1073741824")
        n_bytes = self.shard_bytes
        require("shard_bytes", n_bytes, 1 <= n_bytes <= 1 << 30, "1 <= x <= 1073741824")


def run(pages: Path, output: Path, config: Config, engine: Engine) -> dict[str, Any]:
    """Turns the user's documents into shards of pages.

    Args:
        pages: Folder of extracted pages; an id that it has is theirs.
        output: Folder of documents.
        config: What the documents are.
        engine: Where tasks run.

    Returns:
        The stage's figures.

    Raises:
        FileNotFoundError: If an input does not exist or holds no document file.
        ValueError: If not one document has text.
    """
    given = inputs.find(config.inputs, formats.is_known, "documents.inputs", formats.FILES, engine)
    pieces = _pieces(given, config, engine)
    others = manifest.load(pages, "extract").paths() if pieces else ()
    lost = repeats.lost("documents", __name__, [*others, *pieces], keys, len(others), engine)
    tasks = [(p, *files) for p, files in zip(pieces, lost[len(others) :], strict=True)]
    step = Step(name="documents", code=__name__, config={}, libraries=("pyarrow",))
    made = shard_map(step, tasks, settle, output, engine)
    if made.counts.n_in == made.counts.dropped.get("no_text", 0) > 0:
        raise ValueError(
            f"documents.fields.text is {config.fields.text!r}; none of {made.counts.n_in:,} "
            "documents has text there; name the field that has it"
        )
    return {"counts": shards.counts_json(made.counts), **made.tally}


def _pieces(given: Sequence[Named], config: Config, engine: Engine) -> list[Path]:
    """Reads every file into pieces that become one shard each."""
    names = {str(each.path.absolute()): each.name for each in given if formats.is_text(each.path)}
    told = {key: value for key, value in asdict(config).items() if key != "inputs"}
    step = Step(
        name="documents-read",
        code=__name__,
        config={**told, "names": sorted(names.values())},
        libraries=_LIBRARIES,
    )
    work = partial(read, config=config, names=names)
    made = intermediate(step, group(given, config.shard_bytes), work, engine).shards
    return [path for shard in made for path in _piece_paths(shard)]


def _piece_paths(shard: Shard) -> list[Path]:
    return [shard.path(name) for name in sorted(shard.files) if name.startswith("piece-")]


def group(given: Iterable[Named], shard_bytes: int) -> list[list[Path]]:
    """Returns tasks: each collection alone, text files in runs of about `shard_bytes`."""
    tasks: list[list[Path]] = []
    room = 0
    for path, _ in given:
        n_bytes = path.stat().st_size
        if formats.is_text(path) and n_bytes <= room:
            tasks[-1].append(path)
            room -= n_bytes
        else:
            tasks.append([path])
            room = shard_bytes - n_bytes if formats.is_text(path) else 0
    return tasks


def read(
    inputs: tuple[Path, ...], draft: ShardDraft, *, config: Config, names: dict[str, str]
) -> None:
    """Reads one task's files into pieces; what is no document travels along with its reason."""
    rows: list[dict[str, Any]] = []
    n_bytes = n_pieces = 0
    for row in _rows(inputs, config, names):
        if rows and n_bytes + _weight(row) > config.shard_bytes:
            draft.write_table(f"piece-{n_pieces:05d}.parquet", pa.Table.from_pylist(rows, PIECE))
            rows, n_bytes, n_pieces = [], 0, n_pieces + 1
        rows.append(row)
        n_bytes += _weight(row)
        draft.count_in()
        draft.count_out()
    if rows:
        draft.write_table(f"piece-{n_pieces:05d}.parquet", pa.Table.from_pylist(rows, PIECE))


def _weight(row: dict[str, Any]) -> int:
    return max(row["html_bytes"] or 0, 100)  # rows without text fill a piece too


def _rows(paths: Iterable[Path], config: Config, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    for path in paths:
        origin = shards.sha256_file(path)
        name = names.get(str(path), "")
        for number, found in formats.read(path, name, config.fields, config.max_document_bytes):
            yield row_of(found, f"{origin} {number}")


def row_of(found: Document | Drop, origin: str) -> dict[str, Any]:
    """Returns a document as a row of pages, or its drop.

    Args:
        found: What was read.
        origin: SHA-256 of the file and the row's number: the identity without an address.
    """
    row: dict[str, Any] = dict.fromkeys(PIECE.names)
    if isinstance(found, Drop):
        row |= {"doc_id": records.doc_id(origin), "reason": found.reason, "detail": found.detail}
        return row
    parsed = urls.parse(found.url)
    host = parsed.host if parsed else ""
    return row | {
        "doc_id": records.doc_id(urls.canonical_key(parsed) if parsed else origin),
        "url": parsed.href if parsed else found.name,
        "host": host,
        "domain": urls.registered_domain(host),
        "captured_on": "",
        "title": found.title or None,
        "published_on": found.date or None,
        "charset": "utf-8",
        "charset_source": "documents",
        "extractor": "documents",
        "html_bytes": len(found.text.encode()),
        "text": found.text,
    }


def keys(path: Path) -> pa.Table:
    """Returns the ids of a shard of pages, or of a piece, as `repeats.KEYS`."""
    schema = pq.read_schema(path)
    columns = ["doc_id", "captured_on", "html_bytes"]
    has_drops = "reason" in schema.names
    table = pq.read_table(
        path, columns=[*columns, *(["reason"] if has_drops else [])], partitioning=None
    )
    table = table.append_column("row", pa.array(range(table.num_rows), pa.int64()))
    if has_drops:
        table = table.filter(pc.is_null(table["reason"]))
    return table.select([*columns, "row"]).rename_columns(repeats.KEYS.names).cast(repeats.KEYS)


def settle(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Makes one piece the final shard, rows sorted by document id."""
    piece, *lost = inputs
    superseded = repeats.read(lost)
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(pq.read_table(piece, partitioning=None).to_pylist()):
        draft.count_in()
        if row["reason"] is not None:
            draft.drop(row["doc_id"], Drop(row["reason"], row["detail"]))
        elif number in superseded:
            draft.drop(row["doc_id"], Drop("superseded", row["url"]), row["text"])
        else:
            rows.append(row)
    rows.sort(key=lambda row: str(row["doc_id"]))
    draft.count_out(len(rows))
    draft.tally("text_chars", sum(len(row["text"]) for row in rows))
    draft.write_table("part.parquet", pa.Table.from_pylist(rows, records.PAGES))

"""Documents of real sentences, of any number: paragraphs of the documentation on this machine.

A document is put together by a seed, so that there are as many as one wants and none is another's
near duplicate by design. Both forms are written: shards as an earlier stage leaves them, and JSON
lines as datatrove's reader opens them.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa

from crawl import demo, prose
from crawl.docstrings import Block
from pipeline.store import manifest, records, shards
from pipeline.store.shards import Counts, FileInfo
from stages import params

SMALL = {"networkx": 120, "numpy": 80}  # packages that have enough for a test
_MIN_WORDS = 12  # of a paragraph
_MIN_BLOCKS, _MAX_BLOCKS = 8, 40  # 5 kB of text on average: GPT-2 paper, 40 GB in 8 million
_PER_HOST = 100


def packages(*, small: bool) -> Mapping[str, int]:
    """Returns how many articles are read of which package."""
    return SMALL if small else params.load("demo", demo.Config).packages


def blocks(of: Mapping[str, int]) -> list[Block]:
    """Returns the paragraphs of all articles, each once: sentences, no headings, lists or code."""
    found = (
        block
        for package, n in of.items()
        if (root := prose.find(package))
        for article in prose.articles(package, root, n)
        for block in article.blocks
        if block.kind == "paragraph" and len(" ".join(block.lines).split()) >= _MIN_WORDS
    )
    return list(dict.fromkeys(found))


def chosen(pool: Sequence[Block], seed: int, number: int) -> tuple[Block, ...]:
    """Returns the paragraphs of one document."""
    drawn = random.Random(f"{seed}/{number}")
    return tuple(drawn.choices(pool, k=drawn.randint(_MIN_BLOCKS, _MAX_BLOCKS)))


def documents(pool: Sequence[Block], seed: int, n_bytes: int) -> Iterator[str]:
    """Yields texts until there are as many bytes, a paragraph a line."""
    for number in count():
        if n_bytes <= 0:
            return
        text = prose.plain_text(chosen(pool, seed, number))
        n_bytes -= len(text.encode())
        yield text


def write(
    folder: Path, step: str, schema: pa.Schema, texts: Sequence[str], n_files: int
) -> list[str]:
    """Writes texts as a stage's output (`shards/`) and as JSON lines (`jsonl/`); returns their ids.

    Args:
        folder: Where both go.
        step: The stage.
        schema: Of its rows; `dedup` has a train part with all and an empty validation part.
        texts: Of the documents.
        n_files: How many of each.
    """
    rows = [_row(schema, number, text) for number, text in enumerate(texts)]
    splits = ("train/", "valid/") if step == "dedup" else ("",)
    files = {}
    (folder / "jsonl").mkdir(parents=True)
    for i in range(n_files):
        part = rows[i::n_files]
        lines = (json.dumps({"id": r["doc_id"], "text": r["text"]}) + "\n" for r in part)
        (folder / "jsonl" / f"part-{i:05d}.jsonl").write_text("".join(lines), encoding="utf-8")
        for split in splits:
            name = f"{split}part-{i:05d}.parquet"
            path = folder / "shards" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            held = [] if split == "valid/" else part
            shards.write_table(path, pa.Table.from_pylist(held, schema))
            files[name] = FileInfo(
                n_bytes=path.stat().st_size, sha256=shards.sha256_file(path), rows=len(held)
            )
    counts = Counts(n_in=len(rows), n_out=len(rows), dropped={})
    manifest.write(folder / "shards", step, files, counts, {}, n_files)
    return [row["doc_id"] for row in rows]


def _row(schema: pa.Schema, number: int, text: str) -> dict[str, Any]:
    """Returns a document with every column that the schema asks for."""
    host = f"site{number // _PER_HOST}.test"
    url = f"http://{host}/{number}"
    doc_id = records.doc_id(url)
    known = {
        "doc_id": doc_id,
        "url": url,
        "host": host,
        "domain": host,
        "language": "en",
        "text": text,
        "n_chars": len(text),
        "n_words": len(text.split()),
        "cluster_id": doc_id,
        "cluster_size": 1,
    }
    empty = {"string": "", "int64": 0, "int32": 0}
    rest = {f.name: None if f.nullable else empty[str(f.type)] for f in schema}
    return {**rest, **{name: value for name, value in known.items() if name in schema.names}}

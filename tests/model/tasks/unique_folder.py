"""Folders as earlier stages leave them: `data/unique/`, with stories that hold last-word passages,
and `data/overlap/`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import manifest, records
from pipeline.store.manifest import Counts, FileInfo
from pipeline.store.records import doc_id
from pipeline.store.shards import sha256_file

STORY = (
    "The harbour {0} was quiet that night. Old Marta mended the lantern by the window. "
    "She had kept it since the storm. Nobody on the quay spoke of the wreck. "
    "When the wind rose again she went out into the dark to light the lantern. "
)
ROWS = [(doc_id(f"example.org/{i}"), STORY.format(f"of number {i}")) for i in range(12)]


def make_unique(folder: Path, shards: Sequence[Sequence[tuple[str, str]]]) -> Path:
    """Writes a sealed `data/unique/` whose train part must not be looked at."""
    files = {}
    for index, rows in enumerate(shards):
        for split, some in (("valid", rows), ("train", [("0" * 16, "training text")])):
            path = folder / split / f"part-{index:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            columns = {"doc_id": [r[0] for r in some], "text": [r[1] for r in some]}
            pq.write_table(
                pa.table(columns, schema=pa.schema({"doc_id": "string", "text": "string"})), path
            )
            files[path.relative_to(folder).as_posix()] = FileInfo(
                n_bytes=path.stat().st_size, sha256=sha256_file(path), rows=len(some)
            )
    n = sum(map(len, shards)) + len(shards)
    counts = Counts(n_in=n, n_out=n, dropped={})
    manifest.write(folder, "dedup", files, counts, {}, len(shards))
    return folder


def make_overlap(folder: Path, counts: Mapping[tuple[str, str], tuple[int, int]]) -> None:
    """Writes a sealed `data/overlap/`: (8-grams, those left in the corpus) by set and example."""
    rows = [
        {
            "set": name,
            "example_id": example_id,
            "n_8grams": sizes[0],
            "n_found": sizes[0],
            "n_left": sizes[1],
            "n_words": 0,
            "text": "",
        }
        for (name, example_id), sizes in counts.items()
    ]
    path = folder / "part-00000.parquet"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, records.EXAMPLES), path)
    info = FileInfo(n_bytes=path.stat().st_size, sha256=sha256_file(path), rows=len(rows))
    manifest.write(
        folder, "decontaminate", {path.name: info}, Counts(n_in=0, n_out=0, dropped={}), {}, 1
    )

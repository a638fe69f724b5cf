"""`data/unique/` as dedup leaves it, with sites large enough for labelled tasks."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import manifest
from pipeline.store.manifest import Counts, FileInfo
from pipeline.store.records import doc_id
from pipeline.store.shards import sha256_file

Row = tuple[str, str, str]  # doc_id, domain, text
THINGS = ("harbour", "lantern", "kettle", "meadow", "chimney", "orchard")
SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("doc_id", "domain", "text")]
)


def rows(n_sites: int, per_site: int, first: int = 0) -> list[Row]:
    """Documents of 12 sentences each; no sentence occurs twice."""
    found = []
    for site in range(n_sites):
        thing = THINGS[site]
        for i in range(first, first + per_site):
            number = _spelled(1000 * site + i)
            lines = [
                f"Story {number} line {_spelled(k)} is about the old {thing} by the sea."
                for k in range(12)
            ]
            name = f"{thing}-site{site}.test"
            found.append((doc_id(f"{name}/{i}"), name, " ".join(lines)))
    return found


def _spelled(number: int) -> str:
    """Returns a number in letters, which count as prose."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def write(folder: Path, train: Sequence[Row], valid: Sequence[Row], n_shards: int = 1) -> Path:
    """Writes a sealed folder."""
    files = {}
    for part, some in (("train", train), ("valid", valid)):
        for index in range(n_shards):
            chosen = some[index::n_shards]
            path = folder / part / f"part-{index:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            columns = [list(side) for side in zip(*chosen, strict=True)] or [[], [], []]
            pq.write_table(pa.table(columns, schema=SCHEMA), path)
            files[path.relative_to(folder).as_posix()] = FileInfo(
                n_bytes=path.stat().st_size, sha256=sha256_file(path), rows=len(chosen)
            )
    n = len(train) + len(valid)
    manifest.write(folder, "dedup", files, Counts(n_in=n, n_out=n, dropped={}), {}, n_shards)
    return folder

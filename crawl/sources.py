"""What users bring: dumps of submissions and lists of URLs, told apart by their names.

Decisions:
- Packed files and lines are read by `pipeline.store.packed`: one bad line costs one line, a file
  that ends early stops the stage.
- Every line that is no submission is a `Drop` with its reason. Empty lines are no lines.
"""

from collections.abc import Iterator
from pathlib import Path

from crawl import listing
from crawl.dump import MAX_LINE_BYTES, Line, parse_submission
from pipeline.store import packed

FILES = "dump (RS_*, .ndjson, .jsonl) or list of URLs (.txt, .csv, .parquet), plain or packed"

_TABLE = ".parquet"
_LISTS = (".txt", ".csv")
_OBJECTS = (".ndjson", ".jsonl", ".json")


def is_input(path: Path) -> bool:
    """Returns whether a file is a dump or a list, by its name.

    >>> [is_input(Path(name)) for name in ("RS_2017-11.zst", "urls.csv.gz", "manifest.json")]
    [True, True, False]
    """
    if path.name.startswith("RS_") or path.suffix == _TABLE:
        return True
    is_packed = path.suffix in packed.SUFFIXES
    return _kind(path) in (_LISTS + _OBJECTS[: 3 if is_packed else 2])


def _kind(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix in packed.SUFFIXES else path.suffix


def read(path: Path) -> Iterator[Line]:
    """Yields every entry of a dump or list in file order.

    Args:
        path: Newline-delimited JSON with Pushshift's fields, one URL per line (`.txt`), or a table
            (`.csv`, `.parquet`) with a column `url` and perhaps `score`, `created_utc`, `id`,
            `subreddit`; plain, or (but Parquet) `.zst`, `.xz`, `.bz2` or `.gz`.

    Raises:
        ShardError: If a file is damaged or ends early, or a table has no `url` column.
    """
    kind = _kind(path)
    if kind == _TABLE:
        yield from listing.read_parquet(path)
        return
    with path.open("rb") as file:
        if kind == ".csv":
            yield from listing.read_csv(file, path)
        elif kind == ".txt":
            yield from listing.read_text(file, path)
        else:
            for _, data in packed.lines(packed.pieces(file, path), MAX_LINE_BYTES):
                if data:
                    yield data, parse_submission(data)

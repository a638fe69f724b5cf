"""Lists of URLs: Parquet and CSV of any origin, told apart from dumps by name."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from crawl import sources
from crawl.dump import Submission
from pipeline.store.errors import ShardError
from pipeline.store.records import Drop


def entries(path: Path) -> list[Submission | Drop]:
    return [entry for _, entry in sources.read(path)]


def table(folder: Path, **columns: Any) -> Path:
    path = folder / "urls.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return path


TIME = datetime(2017, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("created", "score"),
    [
        (pa.array([1_509_494_400, None]), pa.array([5, None])),
        (pa.array(["1509494400", ""]), pa.array(["5", None])),
        (pa.array([1509494400.0, None]), pa.array([5.0, None])),
        (pa.array([TIME, None], pa.timestamp("us", "UTC")), pa.array([5, None], pa.int8())),
        (pa.array([TIME, None], pa.timestamp("s", "UTC")), pa.array([5, None], pa.uint64())),
        (pa.array(["1509494400", ""]).dictionary_encode(), pa.array(["5", ""], pa.large_utf8())),
    ],
    ids=["integers", "texts", "floats", "microseconds", "seconds", "dictionary"],
)  # fmt: skip
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_parquet_list_of_any_type_is_understood(
    tmp_path: Path, created: pa.Array, score: pa.Array, kind: pa.DataType
) -> None:
    url = pa.array(["http://a.test/é", "http://b.test/"], kind)
    names = {"id": pa.array(["x1", None]), "subreddit": pa.array(["news", None])}
    path = table(
        tmp_path, other=pa.array([1, 2]), url=url, score=score, created_utc=created, **names
    )
    assert entries(path) == [
        Submission("http://a.test/é", 5, 1_509_494_400, "x1", "news"),
        Submission("http://b.test/", None, None, "", ""),
    ]


def test_parquet_list_of_several_row_groups_keeps_its_order(tmp_path: Path) -> None:
    path = table(tmp_path, url=pa.array([f"http://a.test/{i}" for i in range(20_000)]))
    assert [e.url for e in entries(path)] == [f"http://a.test/{i}" for i in range(20_000)]  # type: ignore[union-attr]


def test_parquet_row_that_is_no_link_is_dropped_alone(tmp_path: Path) -> None:
    raw = pa.array([b"http://a.test/", b"http://b.test/\xff", None, b"http://c.test/"], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), 4, raw.buffers())  # nobody has checked these bytes
    path = table(tmp_path, url=texts, score=pa.array(["1", "2", "3", "many"]))
    assert [e if isinstance(e, Drop) else e.url for e in entries(path)] == [
        "http://a.test/",
        Drop("not_utf8", "byte 14"),
        "",  # which is no URL, as the rules will say
        Drop("missing_field", "score"),
    ]


def test_parquet_without_a_url_column_stops_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="expected one named `url`"):
        entries(table(tmp_path, link=pa.array(["http://a.test/"])))


@pytest.mark.parametrize("damage", ["cut", "zeros", "text"])
def test_damaged_parquet_stops_with_the_remedy(tmp_path: Path, damage: str) -> None:
    path = table(tmp_path, url=pa.array([f"http://a.test/{i * 7919}" for i in range(5_000)]))
    data = path.read_bytes()
    half = len(data) // 2
    damaged = {
        "cut": data[:half],
        "zeros": data[:4] + bytes(half) + data[half + 4 :],
        "text": b"no",
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(ShardError, match=r"no whole Parquet file .*write it again"):
        entries(path)


def test_rows_that_differ_have_different_identities(tmp_path: Path) -> None:
    """A row without a usable URL is known by its bytes: two of them must not be one."""
    path = table(tmp_path, url=pa.array([None, None, None]), score=pa.array([1, 2, 1]))
    first, second, third = (data for data, _ in sources.read(path))
    assert first != second
    assert first == third


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("suffix", PACKERS)
def test_file_of_several_packed_streams_is_read_to_the_end(tmp_path: Path, suffix: str) -> None:
    """As pbzip2, `cat a.gz b.gz` and multi-threaded xz and zstd write them."""
    path = tmp_path / f"urls.txt{suffix}"
    path.write_bytes(b"".join(PACKERS[suffix](f"http://a.test/{i}".encode()) for i in range(3)))
    (joined,) = entries(path)
    assert isinstance(joined, Submission)
    assert joined.url == "http://a.test/0http://a.test/1http://a.test/2"


@pytest.mark.parametrize("suffix", PACKERS)
def test_url_that_a_piece_ends_in_is_whole(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.store.packed._READ_BYTES", 7)
    path = tmp_path / f"urls.txt{suffix}"
    urls = [f"http://a.test/café/{i}" for i in range(40)]
    path.write_bytes(PACKERS[suffix]("\n".join(urls).encode()))
    assert [e.url for e in entries(path)] == urls  # type: ignore[union-attr]

"""The removal list: what an entry hits, and that only what is hit is computed again."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, shards
from pipeline.store.shards import Counts, FileInfo
from pipeline.text import clean, removal
from pipeline.text.removal import Config
from tests.pipeline.text.configs import CLEAN, PROSE

N_SHARDS, N_PAGES = 4, 5


def url(shard: int, number: int) -> str:
    return f"http://www.site{shard}.test/p{number}?id={number}"


def doc_id(shard: int, number: int) -> str:
    return records.doc_id(f"site{shard}.test/p{number}?id={number}")


def folder(path: Path, step: str, tables: list[pa.Table]) -> Path:
    path.mkdir(parents=True)
    files = {}
    for index, table in enumerate(tables):
        part = path / f"part-{index:05d}.parquet"
        shards.write_table(part, table)
        files[part.name] = FileInfo(
            n_bytes=part.stat().st_size, sha256=shards.sha256_file(part), rows=table.num_rows
        )
    n = sum(table.num_rows for table in tables)
    manifest.write(path, step, files, Counts(n_in=n, n_out=n, dropped={}), {}, len(tables))
    return path


def page(shard: int, number: int) -> dict[str, object]:
    return {
        "doc_id": doc_id(shard, number),
        "url": url(shard, number),
        "host": f"www.site{shard}.test",
        "domain": f"site{shard}.test",
        "created_utc": 1,
        "captured_on": "2017-12-01",
        "charset": "utf-8",
        "charset_source": "header",
        "extractor": "trafilatura",
        "html_bytes": 9,
        "text": f"{PROSE}Page {number} of site {shard}.",
    }


def fetch(shard: int, number: int) -> dict[str, object]:
    """Page 4 of each site was redirected to a page of another one."""
    end = url(shard, number) if number < 4 else f"http://end{shard}.test/x?utm_source=a"
    return {
        "doc_id": doc_id(shard, number),
        "url": url(shard, number),
        "host": f"www.site{shard}.test",
        "outcome": "fetched",
        "final_url": end,
        "n_redirects": 0,
        "wire_bytes": 9,
        "opt_outs": [],
        "attempts": 1,
        "detail": "",
    }


@pytest.fixture
def places(workspace: Path) -> tuple[Path, Path]:
    """Four sites, a shard each; and what was fetched."""
    numbers = range(N_PAGES)
    pages = [[page(s, n) for n in numbers] for s in range(N_SHARDS)]
    fetches = [[fetch(s, n) for n in numbers] for s in range(N_SHARDS)]
    return (
        folder(workspace / "pages", "extract", [_table(r, records.PAGES) for r in pages]),
        folder(workspace / "fetches", "crawl", [_table(r, records.FETCHES) for r in fetches]),
    )


def _table(rows: list[dict[str, object]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["doc_id"])), schema)


def apply(places: tuple[Path, Path], lines: str, engine: Engine) -> dict[str, str]:
    """Cleans with a list; returns removed ids and why, and checks them against `ids`."""
    listed = Path("removal.txt")
    listed.write_text(lines)
    removed = removal.find([places[0]], places[1], Config(list=str(listed)), engine)
    clean.run((places[0],), Path("clean"), CLEAN, engine, removed)
    rows = [row for path in manifest.load(Path("clean"), "clean").paths("decisions")
            for row in pq.read_table(path).to_pylist()]  # fmt: skip
    assert all(row["excerpt"] == "" for row in rows), "the text itself must not stay behind"
    told = {row["doc_id"]: row["detail"] for row in rows if row["reason"] == "removed"}
    assert told == removal.ids([places[0]], places[1], listed, engine)
    return told


def store() -> dict[str, int]:
    """The cleaned shards in the store; a shard that is made anew is another file."""
    return {p.parent.name: p.stat().st_ino for p in Path(".shards/clean").glob("*/shard.json")}


def test_empty_list_removes_nothing_and_looks_at_nothing(
    places: tuple[Path, Path], inline: Engine
) -> None:
    assert apply(places, "# a comment\n\n   # another\n", inline) == {}
    assert not Path(".shards/removal").exists()


@pytest.mark.parametrize(
    ("entry", "hits"),
    [
        ("site1.test", [(1, n) for n in range(N_PAGES)]),
        ("www.site1.test  # asked for by its owner", [(1, n) for n in range(N_PAGES)]),
        ("WWW.SITE1.TEST", [(1, n) for n in range(N_PAGES)]),
        ("test", []),
        ("ite1.test", []),
        ("https://site2.test/p3/?utm_source=x&id=3#top", [(2, 3)]),
        ("https://site2.test/p3", []),
        ("end3.test", [(3, 4)]),
        ("http://end0.test/x", [(0, 4)]),
    ],
)
def test_entry_hits_these_documents(
    places: tuple[Path, Path], inline: Engine, entry: str, hits: list[tuple[int, int]]
) -> None:
    if "." not in entry:
        with pytest.raises(ValueError, match=r"line 1: 'test' is no entry"):
            apply(places, entry, inline)
        return
    expected = {doc_id(*hit): entry.partition("  #")[0] for hit in hits}
    assert apply(places, entry, inline) == expected


def test_entry_may_be_a_document_id(places: tuple[Path, Path], inline: Engine) -> None:
    assert apply(places, doc_id(0, 2), inline) == {doc_id(0, 2): doc_id(0, 2)}


def test_list_rebuilds_only_the_shards_it_hits(places: tuple[Path, Path], inline: Engine) -> None:
    apply(places, "", inline)
    before = store()
    apply(places, f"{url(2, 1)}\nsite9.test\n", inline)
    after = store()
    assert len(after) == N_SHARDS
    assert sum(after.get(name) == inode for name, inode in before.items()) == N_SHARDS - 1
    # More entries and comments that hit nothing new rebuild nothing at all.
    apply(places, f"# why\n{url(2, 1)}\nsite8.test\nhttp://site0.test/none\n", inline)
    assert store() == after
    apply(places, "", inline)
    assert store().keys() == before.keys()


def test_list_on_ray_gives_the_bytes_of_one_process(
    places: tuple[Path, Path], inline: Engine, ray_engine: Engine
) -> None:
    lines = f"{url(2, 1)}\nend3.test\n"
    apply(places, lines, inline)
    roots = [manifest.load(Path("clean"), "clean").root]
    Path(".shards").rename("other-store")
    apply(places, lines, ray_engine)
    assert [manifest.load(Path("clean"), "clean").root] == roots


def test_documents_without_a_crawl_are_found_too(places: tuple[Path, Path], inline: Engine) -> None:
    assert apply((places[0], Path("nothing")), "site3.test", inline).keys() == {
        doc_id(3, n) for n in range(N_PAGES)
    }


@pytest.mark.parametrize(
    "line", ["example.org/page", "ftp://example.org/", "a b.test", "x:80.test"]
)
def test_line_that_is_no_entry_is_refused_with_its_number(workspace: Path, line: str) -> None:
    Path("list.txt").write_text(f"example.org\n{line}\n")
    with pytest.raises(ValueError, match=r"list.txt, line 2: .* is no entry; expected a domain"):
        removal.read(Path("list.txt"))


def test_missing_list_says_that_an_empty_one_is_fine(workspace: Path) -> None:
    with pytest.raises(FileNotFoundError, match="an empty file removes nothing"):
        removal.read(Path("list.txt"))

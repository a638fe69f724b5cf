"""What people ask the ledger, and what they are told."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.store import inquiry, ledger, manifest, records, shards
from pipeline.store.records import Drop, doc_id
from pipeline.store.shards import Counts, FileInfo
from tests.pipeline.store.folders import write_folder

A, B, C, D, E, F = (doc_id(f"example.org/{name}") for name in "abcdef")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A and B are kept, C to F end in different places."""
    write_folder(
        tmp_path,
        "links",
        [([A, C, D], [(A, Drop("repeat", "t3_2"))]), ([B, E], [(F, Drop("low_karma", "score 2"))])],
    )
    write_folder(tmp_path, "crawl", [([A, D], [(C, Drop("robots", "/private"))]), ([B, E], [])])
    write_folder(tmp_path, "extract", [([A, D], []), ([B, E], [])])
    write_folder(tmp_path, "clean", [([A], [(D, Drop("too_short", "12 words"))]), ([B, E], [])])
    write_folder(tmp_path, "dedup", [([A], []), ([B], [(E, Drop("duplicate_near", "b 0.91"))])])
    for stage in ("decontaminate", "encode"):
        write_folder(tmp_path, stage, [([A], []), ([B], [])])
    return tmp_path


def write_links(data: Path, hosts: dict[str, str]) -> None:
    """Replaces `data/links` by one that has the columns of a real one."""
    columns = {
        "doc_id": sorted(hosts),
        "host": [hosts[document] for document in sorted(hosts)],
        "domain": [hosts[document].removeprefix("www.") for document in sorted(hosts)],
    }
    folder = data / "sites" / "links"
    folder.mkdir(parents=True)
    shards.write_table(folder / "part-00000.parquet", pa.table(columns))
    info = FileInfo(
        n_bytes=(folder / "part-00000.parquet").stat().st_size,
        sha256=shards.sha256_file(folder / "part-00000.parquet"),
        rows=len(hosts),
    )
    empty = folder / "decisions" / "part-00000.parquet"
    empty.parent.mkdir()
    shards.write_table(empty, records.DECISIONS.empty_table())
    none = FileInfo(n_bytes=empty.stat().st_size, sha256=shards.sha256_file(empty), rows=0)
    files = {"part-00000.parquet": info, "decisions/part-00000.parquet": none}
    n = len(hosts)
    manifest.write(folder, "links", files, Counts(n_in=n, n_out=n, dropped={}), {}, 1)


def test_explain_tells_every_stage_that_saw_the_document(data: Path) -> None:
    opened = ledger.load(data)
    document = inquiry.id_of("https://www.example.org/d?utm_source=feed")
    assert inquiry.explain(opened, document) == [
        "links         went on",
        "crawl         went on",
        "extract       went on",
        "clean         dropped: too_short (12 words)",
    ]
    kept = inquiry.explain(opened, A)
    assert kept[0] == "links         went on; also repeat (t3_2)"
    assert kept[-1] == "encode        kept"


def test_explain_document_that_entered_late_begins_where_it_entered(data: Path) -> None:
    for folder in ("links", "fetches", "pages"):
        (data / folder / manifest.NAME).unlink()
    assert inquiry.explain(ledger.load(data), D) == ["clean         dropped: too_short (12 words)"]


def test_id_of_something_else_than_a_url_is_refused() -> None:
    with pytest.raises(ValueError, match="'mailto:a@b' is no URL; expected"):
        inquiry.id_of("mailto:a@b")


@pytest.mark.parametrize(
    ("document", "message"),
    [("0" * 16, "was never seen by links, crawl"), ("example.org", "is no document id; expected")],
)
def test_explain_unknown_document_says_what_was_expected(
    data: Path, document: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        inquiry.explain(ledger.load(data), document)


def test_explain_of_nothing_names_no_stage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="was never seen by no stage"):
        inquiry.explain(ledger.load(tmp_path), A)


def test_census_counts_a_sites_documents_by_stage_and_reason(data: Path) -> None:
    hosts = {A: "www.a.test", B: "b.a.test", C: "www.a.test", D: "www.a.test", E: "c.test"}
    write_links(data, hosts)
    (data / "links").rename(data / "old-links")
    (data / "sites" / "links").rename(data / "links")
    opened = ledger.load(data)
    assert list(inquiry.census(opened, "host", "WWW.a.test.").items()) == [
        (("crawl", "robots"), 1),
        (("clean", "too_short"), 1),
        (("encode", "kept"), 1),
    ]
    assert inquiry.census(opened, "domain", "c.test") == {("dedup", "duplicate_near"): 1}
    with pytest.raises(ValueError, match=r"no document has the domain 'x.test'; expected e.g. "):
        inquiry.census(opened, "domain", "x.test")


def test_write_table_holds_the_fates_and_returns_their_counts(data: Path, tmp_path: Path) -> None:
    opened, target = ledger.load(data), tmp_path / "new" / "fates.parquet"
    counts = inquiry.write(opened, target)
    table = pq.read_table(target)
    assert table.schema.equals(ledger.FATES)
    assert table.equals(pa.concat_tables(opened.fates()))
    assert counts == {
        ("links", "low_karma"): 1,
        ("crawl", "robots"): 1,
        ("clean", "too_short"): 1,
        ("dedup", "duplicate_near"): 1,
        ("encode", "kept"): 2,
    }
    assert [path.name for path in target.parent.iterdir()] == ["fates.parquet"]

"""The ledger: one fate per document, whatever the order, the slices or the stages that have run."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.store import ledger, manifest
from pipeline.store.errors import ManifestError
from pipeline.store.records import Drop, doc_id
from tests.pipeline.store.folders import write_folder


def fates_of(data: Path, **options: int) -> dict[str, tuple[str, str, str]]:
    tables = pa.concat_tables(ledger.load(data).fates(**options))
    rows = tables.to_pylist()
    assert len({row["doc_id"] for row in rows}) == len(rows), "a document has two fates"
    return {row["doc_id"]: (row["stage"], row["reason"], row["detail"]) for row in rows}


A, B, C, D, E, F = (doc_id(f"example.org/{name}") for name in "abcdef")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A graph that ran to the end: A and B are kept, C to F end in different places."""
    write_folder(
        tmp_path,
        "links",
        [([A, C, D], [(A, Drop("repeat", "t3_2"))]), ([B, E], [(F, Drop("low_karma", "score 2"))])],
    )
    write_folder(tmp_path, "crawl", [([A, D], [(C, Drop("robots", "/private"))]), ([B, E], [])])
    write_folder(tmp_path, "extract", [([A, D], [(A, Drop("superseded"))]), ([B, E], [])])
    write_folder(tmp_path, "clean", [([A], [(D, Drop("too_short", "12 words"))]), ([B, E], [])])
    write_folder(tmp_path, "dedup", [([A], []), ([B], [(E, Drop("duplicate_near", "b 0.91"))])])
    for stage in ("decontaminate", "encode"):
        write_folder(tmp_path, stage, [([A], []), ([B], [])])
    return tmp_path


def test_fates_of_a_whole_run_name_stage_reason_and_detail(data: Path) -> None:
    assert fates_of(data) == {
        A: ("encode", "kept", ""),
        B: ("encode", "kept", ""),
        C: ("crawl", "robots", "/private"),
        D: ("clean", "too_short", "12 words"),
        E: ("dedup", "duplicate_near", "b 0.91"),
        F: ("links", "low_karma", "score 2"),
    }


def test_fates_drop_of_a_document_that_went_on_is_no_end(data: Path) -> None:
    visits = {v.stage: v for v in ledger.load(data).visits(A)}
    assert visits["links"].decisions == (Drop("repeat", "t3_2"),)
    assert fates_of(data)[A][1] == ledger.KEPT


def test_fates_document_that_a_stage_lost_is_unaccounted_there(data: Path) -> None:
    write_folder(data, "clean", [([], [(D, Drop("too_short", "12 words"))]), ([B, E], [])])
    for stage in ("dedup", "decontaminate", "encode"):
        write_folder(data, stage, [([], []), ([B, E], [])])
    assert fates_of(data)[A] == ("clean", "unaccounted", "no row and no decision")


@pytest.mark.parametrize("rows_per_slice", [1, 2, 3, 1000])
def test_fates_in_slices_equal_fates_at_once(data: Path, rows_per_slice: int) -> None:
    tables = list(ledger.load(data).fates(rows_per_slice=rows_per_slice))
    assert len(tables) == {1: 7, 2: 4, 3: 3, 1000: 1}[rows_per_slice]
    ids = pa.concat_tables(tables)["doc_id"].to_pylist()
    assert ids == sorted(ids)
    assert fates_of(data, rows_per_slice=rows_per_slice) == fates_of(data)


def test_fates_of_an_unfinished_run_end_at_the_last_finished_folder(data: Path) -> None:
    for folder in ("pages", "clean", "unique", "corpus", "tokens"):
        (data / folder / manifest.NAME).unlink()
    found = fates_of(data)
    assert found[D] == ("crawl", "kept", "")
    assert found[C] == ("crawl", "robots", "/private")


def test_fates_without_links_start_where_documents_entered(data: Path) -> None:
    for folder in ("links", "fetches", "pages"):
        (data / folder / manifest.NAME).unlink()
    found = fates_of(data)
    assert set(found) == {A, B, D, E}
    assert found[D] == ("clean", "too_short", "12 words")


def test_fates_of_nothing_are_empty(tmp_path: Path) -> None:
    assert fates_of(tmp_path) == {}


def test_load_damaged_folder_names_the_mending_command(data: Path) -> None:
    (data / "clean" / "part-00001.parquet").write_bytes(b"cut")
    with pytest.raises(ManifestError, match=r"part-00001.parquet has 3 bytes.*dvc repro clean"):
        ledger.load(data)


def test_rows_returns_only_the_wanted_documents(data: Path) -> None:
    opened = ledger.load(data)
    assert sorted(opened.rows("dedup", ["doc_id"], [A, B, E])["doc_id"].to_pylist()) == sorted(
        [A, B]
    )
    assert opened.rows("clean", ["doc_id"], []).num_rows == 0
    (data / "clean" / manifest.NAME).unlink()
    assert ledger.load(data).rows("clean", ["doc_id", "text"], [A]).column_names == [
        "doc_id",
        "text",
    ]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=40), st.integers(1, 4))
def test_fates_add_up_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, ends: list[int], n_shards: int
) -> None:
    """Document i is dropped by stage `ends[i]`; 7 is past the last one."""
    data = tmp_path_factory.mktemp("data")
    ids = [doc_id(f"example.org/{i}") for i in range(len(ends))]
    chain = [place for place in ledger.PLACES if not place.is_entry]
    for level, place in enumerate(chain):
        shards: list[tuple[list[str], list[tuple[str, Drop]]]] = [([], []) for _ in range(n_shards)]
        for i, (document, end) in enumerate(zip(ids, ends, strict=True)):
            if end > level:
                shards[i % n_shards][0].append(document)
            elif end == level:
                shards[i % n_shards][1].append((document, Drop("because")))
        write_folder(data, place.stage, shards)
    found = Counter(stage for stage, reason, _ in fates_of(data).values() if reason == "because")
    stages = [place.stage for place in chain]
    assert found == Counter(stages[end] for end in ends if end < len(stages))
    assert len(fates_of(data)) == len(ids)


def test_documents_that_enter_beside_pages_have_a_fate_of_their_own(tmp_path: Path) -> None:
    write_folder(tmp_path, "extract", [([A, B, C], [])])
    superseded = [(A, Drop("superseded", "a page")), (C, Drop("superseded", "a page"))]
    write_folder(tmp_path, "documents", [([D, E], [*superseded, (F, Drop("no_text"))])])
    assert fates_of(tmp_path)[A] == ("extract", ledger.KEPT, "")
    write_folder(tmp_path, "clean", [([A, D], [(C, Drop("too_short"))])])
    assert fates_of(tmp_path) == {
        A: ("clean", ledger.KEPT, ""),
        B: ("clean", ledger.UNACCOUNTED, "no row and no decision"),
        C: ("clean", "too_short", ""),
        D: ("clean", ledger.KEPT, ""),
        E: ("clean", ledger.UNACCOUNTED, "no row and no decision"),
        F: ("documents", "no_text", ""),
    }

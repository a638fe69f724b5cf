"""Which responses of a WARC file are extracted."""

import random
from pathlib import Path

import pytest

from pipeline.store import records
from pipeline.text.captures import Capture, choose, read_captures
from tests.pipeline.text.warcs import response, write


def _capture(doc_id: str, date: str, n_bytes: int, place: int) -> Capture:
    return Capture(doc_id, f"http://{doc_id}/", None, date, n_bytes, place)


def test_choose_several_captures_latest_then_longest_then_first_counts() -> None:
    captures = [
        _capture("a", "2017-01-01T00:00:00Z", 900, 0),
        _capture("a", "2017-02-01T00:00:00Z", 100, 1),
        _capture("b", "2017-01-01T00:00:00Z", 100, 2),
        _capture("b", "2017-01-01T00:00:00Z", 200, 3),
        _capture("b", "2017-01-01T00:00:00Z", 200, 4),
        _capture("c", "2017-01-01T00:00:00Z", 1, 5),
    ]
    expected = {1: "a", 3: "b", 5: "c"}
    for seed in range(20):
        random.Random(seed).shuffle(captures)
        kept, superseded, *_ = choose(captures)
        assert {place: capture.doc_id for place, capture in kept.items()} == expected
        assert {capture.place for capture in superseded} == {0, 2, 4}


def test_read_captures_own_file_only_answers_of_links_count(tmp_path: Path) -> None:
    path = write(
        tmp_path / "part-00000.warc.gz",
        response("http://a.test/robots.txt", b"User-agent: *", link=False),
        response("http://a.test/old", b"", status=301, link=False),
        response("http://a.test/new", b"<p>", status=200),
        response("http://a.test/gone", b"<p>", status=404),
    )
    kept, superseded, *_ = read_captures(path)
    assert [capture.url for capture in kept.values()] == ["http://a.test/new"]
    assert superseded == []


def test_read_captures_foreign_file_all_successes_count_once_each(tmp_path: Path) -> None:
    path = write(
        tmp_path / "any.warc.gz",
        response("http://www.a.test/x?utm_source=y", b"<p>1", link=False, day="2017-01-01"),
        response("https://a.test/x", b"<p>2", link=False, day="2018-01-01"),
        response("http://a.test/y", b"<p>", link=False, status=500),
        response("http://a.test/z", b"<p>", link=False, status=203),
    )
    kept, superseded, *_ = read_captures(path)
    ids = [records.doc_id("a.test/x"), records.doc_id("a.test/z")]
    assert sorted(capture.doc_id for capture in kept.values()) == sorted(ids)
    assert [capture.warc_date[:4] for capture in superseded] == ["2017"]


@pytest.mark.parametrize(
    ("name", "n_kept"), [("dolma/sample-0001.warc.gz", 13), ("whirlwind/whirlwind.warc.gz", 1)]
)
def test_read_captures_real_file_is_counted(real_data: Path, name: str, n_kept: int) -> None:
    assert len(read_captures(real_data / "warc" / name).kept) == n_kept

"""Planted cases: caught means exactly what the truth file says."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.report import planted
from pipeline.store import ledger
from tests.pipeline.report.world import World

End = tuple[str, str]
KEPT: End = ("encode", "kept")
ROBOTS: End = ("crawl", "robots")
NEAR: End = ("dedup", "duplicate_near")


def row(case: str, doc_id: str, expected: End, group: str = "") -> dict[str, str]:
    stage, reason = expected
    return {
        "url": f"http://a.test/{doc_id}",
        "doc_id": doc_id,
        "case": case,
        "group": group,
        "expect_stage": stage,
        "expect_reason": reason,
    }


@pytest.mark.parametrize(
    ("expected", "ends", "is_caught"),
    [
        (ROBOTS, [ROBOTS], True),
        (ROBOTS, [("crawl", "http_404")], False),
        (ROBOTS, [("links", "robots")], False),
        (ROBOTS, [KEPT], False),
        (ROBOTS, [], False),
        (("links", "repeat"), [("links", "repeat"), KEPT], True),
        (("decontaminate", "kept"), [KEPT], True),
        (("decontaminate", "kept"), [("links", "repeat"), KEPT], True),
        (("decontaminate", "kept"), [("clean", "too_short")], False),
        (("decontaminate", "kept"), [], False),
    ],
)
def test_compare_single_case(expected: End, ends: Sequence[End], is_caught: bool) -> None:
    found = planted.compare([row("case", "a", expected)], {"a": ends})
    assert (found.n, found.n_caught, found.n_missed) == (1, int(is_caught), int(not is_caught))


@pytest.mark.parametrize(
    ("ends", "is_caught"),
    [
        ({"a": [KEPT], "b": [NEAR]}, True),
        ({"a": [NEAR], "b": [KEPT]}, True),
        ({"a": [KEPT], "b": [KEPT]}, False),
        ({"a": [NEAR], "b": [NEAR]}, False),
        ({"a": [KEPT], "b": [("clean", "too_short")]}, False),
        ({"a": [KEPT]}, False),
        ({"b": [NEAR]}, False),
        ({"a": [("decontaminate", "contaminated")], "b": [NEAR]}, True),
        ({"a": [("clean", "too_short")], "b": [NEAR]}, False),
    ],
)
def test_compare_copies_count_once_and_exactly_one_goes_on(
    ends: dict[str, list[End]], is_caught: bool
) -> None:
    rows = [row("mirror", id_, NEAR, "mirror-1") for id_ in "ab"]
    found = planted.compare(rows, ends)
    assert (found.n, found.n_caught) == (1, int(is_caught))


def test_compare_miss_says_what_was_expected_and_found() -> None:
    rows = [row("robots", "a", ROBOTS), row("robots", "b", ROBOTS), row("twin", "c", NEAR)]
    found = planted.compare(rows, {"a": [ROBOTS], "b": [KEPT]})
    assert [(c.name, c.expected, c.n_caught, c.n) for c in found.cases] == [
        ("robots", "crawl: robots", 1, 2),
        ("twin", "dedup: duplicate_near", 0, 1),
    ]
    assert [(m.case, m.found, m.urls) for m in found.missed] == [
        ("robots", "encode: kept", ("http://a.test/b",)),
        ("twin", "no trace of it", ("http://a.test/c",)),
    ]


def test_compare_misses_of_one_kind_are_listed_together() -> None:
    rows = [row("robots", id_, ROBOTS) for id_ in "bac"]
    rows += [row("mirror", id_, NEAR, "mirror-1") for id_ in "de"]
    ends = {"a": [KEPT], "b": [KEPT], "c": [NEAR], "d": [KEPT], "e": [KEPT]}
    missed = planted.compare(rows, ends).missed
    assert [(m.case, m.found, len(m.urls)) for m in missed] == [
        ("mirror", "encode: kept", 1),
        ("robots", "dedup: duplicate_near", 1),
        ("robots", "encode: kept", 2),
    ]
    assert missed[0].urls == ("http://a.test/d and http://a.test/e",)


def test_planted_reads_truth_and_ledger(world: World) -> None:
    found = planted.planted(world.sources.data / "truth", ledger.load(world.sources.data))
    assert found is not None
    assert (found.n, found.n_caught, found.missed) == (37, 37, ())


def test_planted_without_truth_is_none(world: World, tmp_path: Path) -> None:
    assert planted.planted(tmp_path, ledger.load(world.sources.data)) is None

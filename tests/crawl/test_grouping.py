"""Grouping by columns gives what grouping by hand gives, for both ways to count scores."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawl import grouping
from pipeline.store import records
from pipeline.store.errors import ShardError

FIELDS = ("key", "url", "created_utc", "score", "submission_id", "subreddit")
Told = tuple[Any, ...]


def table(told: Sequence[Told]) -> pa.Table:
    rows = [dict(zip(FIELDS, row, strict=True)) for row in told]
    known = [
        {**row, "doc_id": records.doc_id(row["key"]), "host": row["key"], "domain": row["key"]}
        for row in rows
    ]
    return pa.Table.from_pylist(known, grouping.EXCHANGE)


def by_hand(told: Sequence[Told], min_score: int | None) -> tuple[list[Any], list[Any]]:
    """Returns links and drops as plain Python finds them."""
    links, drops = [], []
    for key in sorted({row[0] for row in told}, key=records.doc_id):
        rows = [dict(zip(FIELDS, row, strict=True)) for row in told if row[0] == key]
        last = float("inf")
        rows.sort(
            key=lambda r: (
                last if r["created_utc"] is None else r["created_utc"],
                r["submission_id"],
                r["url"],
                last if r["score"] is None else r["score"],
                r["subreddit"],
            )
        )
        seen: dict[str, dict[str, Any]] = {}
        for row in rows:
            known = seen.get(row["submission_id"])
            if row["submission_id"] and (known is None or _score(row) > _score(known)):
                seen[row["submission_id"]] = row
        nameless = [row for row in rows if not row["submission_id"]]
        total = sum(_score(row) for row in [*seen.values(), *nameless])
        judged = min_score is not None and all(row["score"] is not None for row in rows)
        if judged and total < (min_score or 0):
            drops += [(key, "low_score", f"score of url {total}")] * len(rows)
            continue
        drops += [(key, "repeat", row["submission_id"]) for row in rows[1:]]
        names = ("submission_id", "subreddit", "score", "created_utc")
        submissions = [{name: row[name] for name in names} for row in seen.values()]
        created = rows[0]["created_utc"] or 0
        most = max(_score(row) for row in rows)
        links.append((key, rows[0]["url"], created, most, submissions))
    return links, sorted(drops)


def _score(row: dict[str, Any]) -> int:
    return row["score"] or 0


def as_told(found: grouping.Grouped) -> tuple[list[Any], list[Any]]:
    names = {records.doc_id(key): key for key in "abcd"}
    links = [
        (row["key"], row["url"], row["created_utc"], row["max_score"], row["submissions"])
        for row in found.links.to_pylist()
    ]
    drops = [(names[r["doc_id"]], r["reason"], r["detail"]) for r in found.drops.to_pylist()]
    return links, sorted(drops)


_ROWS = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from(["http://x/", "https://x/"]),
        st.none() | st.integers(0, 3),
        st.none() | st.integers(-3, 5),
        st.sampled_from(["", "s1", "s2", "s3"]),
        st.sampled_from(["", "news"]),
    ),
    max_size=14,
)


@settings(max_examples=300, deadline=None)
@given(_ROWS, st.none() | st.integers(0, 6), st.randoms(use_true_random=False))
def test_groups_are_those_found_by_hand_in_any_order(
    told: list[Told], min_score: int | None, chance: random.Random
) -> None:
    expected = by_hand(told, min_score)
    chance.shuffle(told)
    found = grouping.group(table(told), min_score)
    assert as_told(found) == expected
    assert found.links.schema == records.LINKS
    assert found.drops.schema == records.DECISIONS
    assert found.links.num_rows + found.drops.num_rows == len(told)
    assert found.n_submissions == sum(len(link[4]) for link in expected[0])


def test_sum_counts_a_submission_of_two_dumps_once_at_its_highest_score() -> None:
    told = [("a", "http://x/", 1, score, "s1", "") for score in (1, 2)]
    assert grouping.group(table(told), 3).links.num_rows == 0
    assert grouping.group(table(told), 2).links.num_rows == 1


def test_sum_that_is_not_known_drops_nothing() -> None:
    told = [("a", "http://x/", 1, 1, "s1", ""), ("a", "http://x/", None, None, "", "")]
    (link,) = grouping.group(table(told), 100).links.to_pylist()
    assert [s["submission_id"] for s in link["submissions"]] == ["s1"]


@pytest.mark.parametrize("score", [2**31 - 1, -(2**31) + 1])
def test_sum_beyond_32_bits_is_exact(score: int) -> None:
    told = [("a", "http://x/", 1, score, f"s{i}", "") for i in range(5)]
    kept = grouping.group(table(told), 5 * score).links.num_rows
    dropped = grouping.group(table(told), 5 * score + 1).links.num_rows
    assert (kept, dropped) == (1, 0)


def test_two_keys_with_one_id_are_named_wherever_they_stand() -> None:
    rows = table([("a", "http://x/", i, 5, f"s{i}", "") for i in range(5)])
    index = rows.schema.get_field_index("key")
    clash = rows.set_column(index, "key", pa.array(["a", "a", "a", "b", "b"]))
    with pytest.raises(ShardError, match="stands for a and b"):
        grouping.group(clash, None)


def test_empty_partition_is_an_empty_table_of_links(tmp_path: Path) -> None:
    read = grouping.read([])
    found = grouping.group(read.links, 3)
    assert found.links.schema == records.LINKS
    assert (found.links.num_rows, found.drops.num_rows, read.drops.num_rows) == (0, 0, 0)

"""The flow adds up, or the page says where it does not."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.flow import STAGES, flow
from pipeline.report.river import WIDTH, river

NAMES = [stage.name for stage in STAGES]


def metrics_of(drops: Sequence[Sequence[int]], n: int) -> dict[str, Any]:
    """Returns figures of all stages; stage i drops `drops[i]` documents for one reason each."""
    told = {}
    for name, dropped in zip(NAMES, drops, strict=True):
        reasons = {f"reason_{k}": n_dropped for k, n_dropped in enumerate(dropped)}
        told[name] = {"counts": {"n_in": n, "n_out": n - sum(dropped), "dropped": reasons}}
        n -= sum(dropped)
    return told


some_drops = st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=7, max_size=7)


@given(some_drops, st.integers(315, 10_000))
def test_flow_of_a_sound_run_conserves_every_document(drops: list[list[int]], n: int) -> None:
    flowed = flow(metrics_of(drops, n))
    assert flowed.problems == ()
    assert flowed.rows[0].n_in == n
    for before, after in pairwise(flowed.rows):
        assert before.n_in == before.n_out + sum(k for _, k in before.dropped)
        assert after.n_in == before.n_out
    assert n - flowed.rows[-1].n_out == sum(row.n_dropped for row in flowed.rows)


@given(some_drops, st.integers(315, 10_000), st.integers(0, 6), st.sampled_from(["n_in", "n_out"]))
def test_flow_with_one_wrong_count_names_the_stage(
    drops: list[list[int]], n: int, place: int, field: str
) -> None:
    told = metrics_of(drops, n)
    told[NAMES[place]]["counts"][field] += 1
    problems = flow(told).problems
    assert any(problem.startswith(f"{NAMES[place]}: ") for problem in problems)


def test_flow_between_stages_that_disagree_is_a_problem() -> None:
    told = metrics_of([[1], [1], [], [], [], [], []], 20)
    told["extract"]["counts"].update(n_in=17, n_out=17)
    assert flow(told).problems == (
        "crawl let 18 responses go, extract saw 17",
        "extract let 17 pages go, clean saw 18",
    )


def test_flow_counts_what_enters_beside_the_stage_before() -> None:
    told = metrics_of([[1], [1], [], [], [], [], []], 20)
    told["extract"].update(entered=5, counts={"n_in": 23, "n_out": 23, "dropped": {}})
    told["documents"] = {"counts": {"n_in": 9, "n_out": 7, "dropped": {"no_text": 2}}}
    for stage in NAMES[3:]:
        told[stage]["counts"].update(n_in=30, n_out=30)
    flowed = flow(told)
    assert flowed.problems == ()
    assert {row.stage.name: row.n_entered for row in flowed.rows if row.n_entered} == {
        "extract": 5,
        "clean": 7,
    }
    told["documents"]["counts"]["n_in"] = 8
    told["clean"]["counts"]["n_in"] = 29
    assert flow(told).problems[0].startswith("clean: 29 in")
    assert flow(told).problems[1].startswith("documents: 8 in")
    assert flow(told).problems[2] == "extract let 23 pages go, clean saw 22"


def test_flow_with_a_hole_is_a_problem() -> None:
    told = metrics_of([[]] * 7, 20)
    del told["dedup"]
    flowed = flow(told)
    assert flowed.problems == ("dedup has no figures",)
    assert flowed.absent == ("dedup",)


def test_flow_that_starts_late_or_ends_early_is_no_problem() -> None:
    told = metrics_of([[]] * 7, 20)
    flowed = flow({name: told[name] for name in ("clean", "dedup")})
    assert flowed.problems == ()
    assert [row.stage.name for row in flowed.rows] == ["clean", "dedup"]
    assert flow({}).rows == ()


def test_flow_lists_reasons_from_the_most_common_down() -> None:
    counts = {"n_in": 9, "n_out": 3, "dropped": {"a": 1, "b": 4, "c": 1, "d": 0}}
    assert flow({"clean": {"counts": counts}}).rows[0].dropped == (("b", 4), ("a", 1), ("c", 1))


@given(some_drops, st.integers(315, 10_000))
def test_river_narrows_to_scale_and_stays_inside(drops: list[list[int]], n: int) -> None:
    flowed = flow(metrics_of(drops, n))
    reaches = river(flowed)
    scale = {round(r.trunk / r.row.n_out, 2) for r in reaches if r.row.n_out > 300}
    assert len(scale) <= 1
    for reach in reaches:
        assert len(reach.ribbons) == len(reach.row.dropped)
        numbers = [float(x) for path in reach.ribbons for x in _numbers(path)]
        assert all(0 <= x <= max(WIDTH, reach.height) for x in numbers)


def _numbers(path: str) -> list[str]:
    for letter in "MCLZ":
        path = path.replace(letter, " ")
    return path.split()


def test_river_of_nothing_is_empty() -> None:
    assert river(flow({})) == ()
    empty = {"counts": {"n_in": 0, "n_out": 0, "dropped": {}}}
    assert river(flow({"links": empty}))[0].trunk == 0


@pytest.mark.parametrize("name", NAMES)
def test_stages_have_words_for_a_reader(name: str) -> None:
    stage = STAGES[NAMES.index(name)]
    assert stage.reads
    assert stage.leaves
    assert stage.does.endswith(".")

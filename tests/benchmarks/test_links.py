"""The links benchmark runs from end to end, and its input is what it says it is."""

import json
from pathlib import Path

import pytest

from benchmarks import harness, links
from tests.benchmarks.small import run


@pytest.mark.slow
def test_links_small_keeps_the_urls_of_both_loops() -> None:
    told = run("links", "--small")
    assert (told["name"], told["case"]) == ("links", "dump")
    assert told["unit"] == "MB per CPU-second"
    assert told["checks"] == {"urls_equal": 1.0, "lines_counted": 1.0}
    assert set(told["peers"]) == {"json.loads per line", "orjson.loads per line"}


@pytest.mark.parametrize("case", ["dump", "links"])
def test_input_has_lines_of_two_kilobytes_and_is_the_same_again(tmp_path: Path, case: str) -> None:
    for name in ("one", "two"):
        n_lines = links.make_input(tmp_path / name, 1, case)
    paths = [tmp_path / name / "in" / "RS_x" for name in ("one", "two")]
    assert harness.digest(paths[:1]) == harness.digest(paths[1:])
    lines = paths[0].read_bytes().splitlines()
    assert len(lines) == n_lines
    assert 1_900 < sum(map(len, lines)) / n_lines < 2_100
    n_self = sum(json.loads(line)["is_self"] for line in lines)
    assert n_self == 0 if case == "links" else 0.3 < n_self / n_lines < 0.5

"""The page of figures is what the files of results render to, and says what they say."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import harness, scoreboard

ABOUT = {
    "name": "some-2-cores",
    "processor": "Some",
    "cores": 2,
    "gpu": None,
    "memory_gib": 24,
    "system": "Linux x86_64",
}
ENTRY: dict[str, Any] = {
    "name": "extract",
    "case": "",
    "work": "9 pages",
    "unit": "docs per CPU-second",
    "ours": 164.7,
    "peers": {"one 1.0 fast": 104.8, "one 1.0": 82.1},
    "against": "one 1.0",
    "ratio": 2.006,
    "spread": [1.9, 2.2],
    "target": 2.0,
    "further": [{"against": "one 1.0 fast", "ratio": 1.57, "spread": None, "target": 2.0}],
    "date": "2026-11-23",
    "commit": "0123456789abcdef",
    "limit": {"of": "wire", "most": 4e9, "reached": 1e9, "unit": "bytes/s", "share": 0.25},
    "cost": [[40, 12.7], [9108, 55.3]],
    "swept": {"one 1.0": 81.0},
    "versions": {"one": "1.0"},
    "checks": {"f1": 0.97},
}


def test_committed_page_is_what_the_committed_files_render_to() -> None:
    page = scoreboard.render(scoreboard.load(harness.RESULTS))
    assert scoreboard.PAGE.read_text(encoding="utf-8") == page


def rows(*entries: dict[str, Any]) -> list[list[str]]:
    """The cells of the table for entries of one machine."""
    keyed = {f"{e['name']}/{e['case']}".strip("/"): e for e in entries}
    page = scoreboard.render([{"machine": ABOUT, "entries": keyed}])
    lines = re.findall(r"^\| (.*) \|$", page, re.MULTILINE)
    return [line.split(" | ") for line in lines[2:]]


def test_render_a_row_per_ratio_with_all_that_the_file_says() -> None:
    first, further = rows(ENTRY)
    assert first == [
        "extract",
        "9 pages",
        "165 docs per CPU-second",
        "one 1.0: 82.1",
        "2.01 (1.90 to 2.20)",
        "2.00",
        "yes",
        "wire, 4 G bytes/s: 25 %",
        "40: 12.7; 9,108: 55.3",
        "2026-11-23, 0123456",
    ]
    assert further[3:7] == ["one 1.0 fast: 105", "1.57", "2.00", "**no**"]


def test_render_bare_entry_leaves_cells_empty_and_dirty_commits_are_told() -> None:
    bare = {key: ENTRY[key] for key in ("name", "case", "work", "unit", "ours", "date", "target")}
    bare |= {"peers": {}, "against": None, "ratio": None, "spread": [1, 1], "commit": "0" * 40}
    bare["commit"] += "-dirty"
    ((*_, against, ratio, target, met, limit, cost, measured),) = rows(bare)
    assert (against, ratio, target, met) == ("no peer was there", "", "2.00", "")
    assert (limit, cost, measured) == ("", "", "2026-11-23, 0000000-dirty")


def test_render_orders_by_the_graph_and_names_what_is_missing() -> None:
    links = {**ENTRY, "name": "links", "case": "dump", "further": []}
    other = {**ENTRY, "name": "another", "further": []}
    assert [row[0] for row in rows(other, ENTRY, links)] == [
        "links/dump",
        "extract",
        "extract",
        "another",
    ]
    page = scoreboard.render([{"machine": ABOUT, "entries": {"extract": ENTRY}}])
    (missing,) = re.findall(r"^Not measured here: (.*)\.$", page, re.MULTILINE)
    assert {"extract", *missing.split(", ")} == set(scoreboard.BENCHMARKS)


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks.scoreboard", *arguments]
    return subprocess.run(command, cwd=harness.ROOT, capture_output=True, text=True, check=False)


def test_command_writes_the_page_of_a_folder(tmp_path: Path) -> None:
    told = {"machine": ABOUT, "entries": {"extract": ENTRY}}
    (tmp_path / "some-2-cores.json").write_text(json.dumps(told), encoding="utf-8")
    page = tmp_path / "page.md"
    done = run("--results", str(tmp_path), "--page", str(page))
    assert done.returncode == 0, done.stderr
    assert page.read_text(encoding="utf-8") == scoreboard.render([told])


def test_command_without_results_says_how_to_measure(tmp_path: Path) -> None:
    done = run("--results", str(tmp_path), "--page", str(tmp_path / "page.md"))
    assert done.returncode == 1
    assert done.stderr == f"scoreboard: {tmp_path} holds no result; measure with: make bench\n"


def test_make_bench_runs_every_benchmark_of_the_board_but_those_for_a_gpu() -> None:
    made = (harness.ROOT / "Makefile").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^bench: .*\n((?:\t.*\n)+)", made, re.MULTILINE)
    modules = re.findall(r"-m benchmarks\.(\w+)", recipe)
    expected = {key.partition("/")[0] for key in scoreboard.BENCHMARKS} - {"train_gpu"}
    assert set(modules) == {*expected, "scoreboard"}
    assert modules[-1] == "scoreboard"


@pytest.mark.parametrize("key", scoreboard.BENCHMARKS)
def test_benchmark_of_the_board_is_a_module(key: str) -> None:
    assert (harness.ROOT / "benchmarks" / f"{key.partition('/')[0]}.py").is_file()

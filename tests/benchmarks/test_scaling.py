"""The scaling benchmark: its pages, its lines, and one small run that writes constants."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import harness, scaling
from crawl.docstrings import Block
from pipeline.engine import costs
from tests.benchmarks.small import run

_TEXT = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
POOL = scaling.Pool(
    blocks={
        "paragraph": [Block("paragraph", (f"{_TEXT} number{i}",)) for i in range(40)],
        "heading": [Block("heading", (f"heading {i}",)) for i in range(40)],
    },
    shapes=[("heading", *["paragraph"] * 9)],
    words=[f"word{i}" for i in range(100_000)],
)


def grams(number: int) -> set[tuple[str, ...]]:
    text = " ".join(line for block in POOL.article(number).blocks for line in block.lines)
    words = text.split()
    return {tuple(words[i : i + 8]) for i in range(len(words) - 7)}


def test_page_is_the_same_whatever_the_size_and_unlike_all_but_its_copy() -> None:
    assert POOL.article(7) == POOL.article(7)
    pages = [grams(number) for number in range(30)]
    shared = {(i, j): len(pages[i] & pages[j]) for i in range(30) for j in range(i)}
    copies = {i: j for (i, j), n in shared.items() if n > 0.7 * len(pages[i])}
    assert set(copies) == {9, 19, 29}
    assert {j % 10 for j in copies.values()} <= {0, 9}
    assert max(n for (i, j), n in shared.items() if not {i % 10, j % 10} & {0, 9}) == 0


@pytest.mark.parametrize(
    ("line", "points"),
    [((3.0, 2.0), (1, 3, 5, 9)), ((0.0, 3.0), (1, 3, 1, 9)), ((9.0, 0.0), (1, 3, 9, 5))],
)
def test_fit_goes_through_both_points_and_is_never_negative(
    line: tuple[float, float], points: tuple[float, float, float, float]
) -> None:
    assert scaling.fit(*points) == line


def test_calibrating_takes_two_sizes() -> None:
    command = [sys.executable, "-m", "benchmarks.scaling", "--calibrate", "--workers", "1"]
    done = subprocess.run(command, cwd=harness.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "two sizes" in done.stderr


@pytest.mark.slow
def test_small_run_writes_constants_that_the_plan_reads(tmp_path: Path) -> None:
    shutil.copy(scaling.COSTS, tmp_path)
    before = json.loads(scaling.COSTS.read_bytes())
    told = run(
        "scaling", "--documents", "50", "100", "--workers", "1", "--small", "--calibrate",
        "--check", "--costs", str(tmp_path / "costs.json"), OUTBOUND_ENGINE="inline",
    )  # fmt: skip
    assert told["checks"] == {"roots_equal": 1.0}
    assert {row["stage"] for row in told["rows"]} == set(scaling.STAGES)
    assert all(row["cpu_s"] > 0 and row["peak_bytes"] > 50e6 for row in told["rows"])
    # the line goes through both sizes, so what it says of them is what was measured
    errors = [one["disk_bytes"] for name, one in told["errors"].items() if "all" not in name]
    assert max(abs(error) for error in errors) < 0.01
    known = costs.load(tmp_path / "costs.json")
    assert set(known.stages) == set(scaling.STAGES)
    assert known.crawl.html_bytes_per_page == 44_000
    assert 1_000 < known.crawl.warc_bytes_per_page < 44_000
    written = json.loads((tmp_path / "costs.json").read_bytes())
    assert [written[name] for name in ("corpora", "nodes")] == [before["corpora"], before["nodes"]]

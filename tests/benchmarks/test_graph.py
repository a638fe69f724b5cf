"""The whole graph as a benchmark; its small run is what tests/e2e runs once already."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import graph
from benchmarks.harness import Run


def test_another_root_in_one_round_is_told() -> None:
    same = dict.fromkeys(graph._DATA, "a")
    assert graph._equal([same, same]) == 1.0
    other = {**same, "clean": "b"}
    assert graph._equal([same, other]) == pytest.approx(1 - 1 / len(graph._DATA))


def test_ratio_is_to_the_clock() -> None:
    runs = [Run(500.0, 160.0, 0, {"first_s": seconds}) for seconds in (100.0, 150.0, 600.0)]
    assert graph._to_limit(runs) == {
        "against": "300 s by the clock",
        "ratio": 2.0,
        "spread": [0.5, 3.0],
    }


def test_pages_are_compared_as_rows_and_the_rest_as_files(tmp_path: Path) -> None:
    rows = [{"doc_id": str(n), "text": f"text {n}"} for n in range(6)]
    for name, files in (("one", (rows[:2], rows[2:])), ("two", (rows[3:], rows[:3]))):
        folder = tmp_path / name / "pages"
        folder.mkdir(parents=True)
        for index, file in enumerate(files):
            pq.write_table(pa.Table.from_pylist(file), folder / f"part-{index:05d}.parquet")
    one, two = (tmp_path / name / "pages" for name in ("one", "two"))
    assert graph._root(one) == graph._root(two)
    pq.write_table(pa.Table.from_pylist(rows[1:3]), two / "part-00001.parquet")
    assert graph._root(one) != graph._root(two)
    (tmp_path / "manifest.json").write_text('{"root": "ab"}')
    assert graph._root(tmp_path) == "ab"

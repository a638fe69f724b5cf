"""The whole graph from nothing: the embedded default, links to report, as `make repro` runs it.

Each round unpacks the last commit into an empty folder, runs `python -m stages.repro` there with
the installed environment, and runs it again. There is no peer: nobody else covers the chain. So
`ratio` is to a limit in seconds, five minutes on two cores, by the clock.

Checks
- roots_equal: share of the folders up to the tokens whose root digest is the same in all rounds.
  Pages are in files as they arrived, which no two crawls do alike; their rows are compared.
- planted: share of the planted cases that end where they must.
- second_runs_nothing: whether the second run finds everything up to date.

`stages` tells the seconds of each stage, medians; `second_s` the second run.

Run: python -m benchmarks.graph [--small]
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import harness
from benchmarks.harness import Check, Comparison, Run

_LIMIT_S = 300.0
_DATA = ("links", "pages", "documents", "clean", "unique", "corpus", "tokens")
_SETTINGS = {"whole": (), "small": ("size=tiny",)}
_UP_TO_DATE = "Data and pipelines are up to date."


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    size = "small" if given.small else "whole"
    with tempfile.TemporaryDirectory(prefix="bench-graph-") as name:
        ours = harness.ours("graph", Path(name) / "project", size)
        runs = harness.rounds([ours], 1 if given.small else given.rounds)
    told = [run.told for run in runs[harness.OURS]]
    checks = {
        "roots_equal": Check(_equal([each["roots"] for each in told]), 1.0),
        "planted": Check(min(each["planted"] for each in told), 1.0),
        "second_runs_nothing": Check(min(each["second_runs_nothing"] for each in told), 1.0),
    }
    comparison = Comparison(
        name="graph",
        work=f"{told[0]['n_lines']:,} dump lines to the report, nothing done before",
        unit="documents per CPU-second",
        amount=told[0]["n_documents"],
        target=1.0,
        inputs=told[0]["roots"]["links"][:16],
    )
    found = harness.result(comparison, runs, harness.OURS, checks)
    seconds = _by_stage(told)
    more = {"stages": seconds, "second_s": _median([each["second_s"] for each in told])}
    return harness.finish(
        {**found, **_to_limit(runs[harness.OURS]), **more}, runs, checks, given.results
    )


def _equal(roots: Sequence[dict[str, str]]) -> float:
    """Returns the share of folders whose root is the same in all rounds."""
    return sum(len({each[name] for each in roots}) == 1 for name in _DATA) / len(_DATA)


def _to_limit(runs: Sequence[Run]) -> dict[str, Any]:
    ratios = [_LIMIT_S / run.told["first_s"] for run in runs]
    return {
        "against": f"{_LIMIT_S:.0f} s by the clock",
        "ratio": round(statistics.median(ratios), 4),
        "spread": [round(min(ratios), 4), round(max(ratios), 4)],
    }


def _by_stage(told: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Returns the seconds of each stage, the longest first."""
    names = told[0]["stages"]
    seconds = {name: _median([each["stages"][name] for each in told]) for name in names}
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 2)


def work(project: Path, size: str) -> None:
    """Does one round, and tells what came of it."""
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir()
    archive = subprocess.run(
        ["git", "archive", "HEAD"], cwd=harness.ROOT, check=True, capture_output=True
    )
    subprocess.run(["tar", "x"], cwd=project, input=archive.stdout, check=True)
    for setting in _SETTINGS[size]:
        _python(project, "stages.configure", setting)
    first_s, _ = _timed(project)
    second_s, told = _timed(project)
    metrics = project / "metrics"
    links = json.loads((metrics / "links.json").read_bytes())
    report = json.loads((metrics / "report.json").read_bytes())
    timings = {path.stem: json.loads(path.read_bytes()) for path in (metrics / "timings").iterdir()}
    roots = {name: _root(project / "data" / name) for name in _DATA}
    found = {
        "first_s": round(first_s, 2),
        "second_s": round(second_s, 2),
        "second_runs_nothing": float(_UP_TO_DATE in told),
        "n_lines": links["counts"]["n_in"],
        "n_documents": report["n_documents"],
        "planted": report["n_planted_caught"] / report["n_planted"],
        "roots": roots,
        "stages": {name: each["seconds"] for name, each in timings.items() if "seconds" in each},
    }
    print(json.dumps(found))


def _root(folder: Path) -> str:
    if folder.name == "pages":
        return _rows_root(folder)
    found: str = json.loads((folder / "manifest.json").read_bytes())["root"]
    return found


def _rows_root(folder: Path) -> str:
    """Returns a digest of all rows of a folder's shards, every column, in the order of ids."""
    paths = sorted(folder.glob("part-*.parquet"))
    rows = pa.concat_tables([pq.read_table(path) for path in paths]).sort_by("doc_id")
    digest = hashlib.sha256()
    for row in rows.to_pylist():
        digest.update(f"{json.dumps(row)}\n".encode())
    return digest.hexdigest()


def _timed(project: Path) -> tuple[float, str]:
    start = time.monotonic()
    told = _python(project, "stages.repro")
    return time.monotonic() - start, told


def _python(project: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-4000:])
    return done.stdout


if __name__ == "__main__":
    harness.main(main, harness.parser(__doc__), work)

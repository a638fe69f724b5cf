"""The extraction benchmark runs from end to end, without peers, on a small web."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import extract, harness


@pytest.mark.slow
def test_extract_small_without_peers_reports_our_quality() -> None:
    environment = os.environ | {"OUTBOUND_ENGINE": "inline", "OUTBOUND_BENCH_PYTHON": "/no/such"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.extract", "--small"],
        cwd=harness.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["name"], told["unit"]) == ("extract", "docs per CPU-second")
    assert (told["peers"], told["ratio"]) == ({}, None)
    assert told["ours"] > 0
    assert told["checks"]["f1"] > 0.98


def test_f1_empty_and_equal_texts_are_the_ends_of_the_scale() -> None:
    assert extract.f1("", "a b") == 0
    assert extract.f1("b, a", "a b") == 1

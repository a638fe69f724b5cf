"""The training benchmarks run from end to end, without nanoGPT, on a tiny network."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import harness, resident, training
from benchmarks.trainees import NANOGPT
from benchmarks.training import TINY


def run(module: str, *options: str) -> dict[str, Any]:
    kept = {key: value for key, value in os.environ.items() if key != NANOGPT}
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", "--small", *options],
        cwd=harness.ROOT,
        env=kept | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{NANOGPT} names no checkout" in done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.slow
def test_train_cpu_small_finds_equal_losses() -> None:
    told = run("train_cpu", "--threads", "1")
    assert told["name"] == "train_cpu"
    assert [name.split()[0] for name in told["peers"]] == ["transformers"]
    assert told["checks"]["losses_equal"] == 1.0
    assert 0 < told["loss_gap_nats"]["transformers"] < 1e-4  # not the same run twice
    assert set(told["wall"]) == {"ours", "peers", "ratio", "spread"}


@pytest.mark.slow
def test_train_gpu_small_writes_hardware_versions_and_utilisation(tmp_path: Path) -> None:
    told = run("train_gpu", "--results", str(tmp_path))
    (path,) = tmp_path.glob("*.json")
    tiny = json.loads(path.read_bytes())["entries"]["train_gpu/tiny"]
    assert tiny == told["shapes"]["tiny"]
    assert tiny["versions"]["torch"]
    assert tiny["hardware"]["python"]
    n_weights = 300 * 32 + 2 * (12 * 32**2 + 13 * 32) + 2 * 32  # of the tiny network, no positions
    per_token = 6 * n_weights + 12 * 2 * 32 * 16
    expected = tiny["ours"] * per_token / tiny["limit"]["most"]
    assert tiny["mfu"]["ours"] == pytest.approx(expected, rel=2e-3, abs=1e-8)
    assert tiny["limit"]["share"] == pytest.approx(expected, rel=1e-2)


@pytest.fixture
def unmade() -> Iterator[None]:
    """nanoGPT's place is a folder without its model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NANOGPT, str(Path(__file__).parent))
        yield


@pytest.mark.usefixtures("unmade")
def test_a_contender_that_fails_tells_why(tmp_path: Path) -> None:
    settings = training.prepare(TINY, tmp_path, training.drawn(TINY), who="nanogpt")
    paths = training.written(tmp_path, {"theirs": settings})
    with (
        pytest.raises(RuntimeError, match=f"no such file; {NANOGPT} names a checkout"),
        resident.started(paths),
    ):
        pass


def test_sequences_overlap_by_the_token_that_is_target_and_input() -> None:
    rows = training.drawn(TINY)
    assert rows.shape == (training.N_SEQUENCES, TINY.shape.n_ctx + 1)
    assert (rows[:-1, -1] == rows[1:, 0]).all()
    assert rows.max() < TINY.shape.n_vocab

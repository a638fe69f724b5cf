"""The ladder on the tiny graph: killed, continued, and nothing of the graph's own written."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Project
from tests.e2e.test_ablate import digests

pytestmark = pytest.mark.e2e


def scaling(project: Project) -> str:
    done = project.python("stages.scaling", OUTBOUND_ENGINE="inline")
    assert done.returncode == 0, done.stderr
    return done.stderr


def figures(project: Project) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((project.root / "metrics" / "scaling.json").read_bytes())
    return told


def kill_in_third_size(project: Project) -> None:
    """Kills the ladder and its training once that says which of the four sizes it is at."""
    command = [sys.executable, "-m", "stages.scaling"]
    environment = project.environment(OUTBOUND_ENGINE="inline")
    with subprocess.Popen(
        command,
        cwd=project.root,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        seen = next((line for line in process.stderr if line.startswith("scaling 3/4: 1x32")), None)
        os.killpg(process.pid, signal.SIGKILL)
    assert seen is not None


@pytest.fixture(scope="module")
def ladder(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished.clone(tmp_path_factory.mktemp("ladder") / "project")


def test_scaling_killed_and_run_again_trains_only_what_is_left(ladder: Project) -> None:
    before = {
        name: digests(ladder.root / name) for name in ("data", ".shards", "models/pretrained")
    }
    own = set((ladder.root / "models" / "checkpoints").iterdir())
    kill_in_third_size(ladder)
    kept = digests(ladder.root / "models" / "scaling")
    assert len(kept) == 2
    told = scaling(ladder)
    assert [line for line in told.splitlines() if line.endswith("measured before")] == [
        "scaling 1/4: 1x8, seed 1: measured before",
        "scaling 2/4: 1x16, seed 1: measured before",
    ]
    assert kept.items() < digests(ladder.root / "models" / "scaling").items()
    assert {name: digests(ladder.root / name) for name in before} == before
    made = set((ladder.root / "models" / "checkpoints").iterdir()) - own
    first = figures(ladder)
    # the third size is the graph's own model with another number of warm-up steps, or its very own
    assert {run["run"] for size in first["sizes"] for run in size["runs"]} >= {p.name for p in made}
    again = scaling(ladder)
    assert again.count("measured before") == 4
    assert figures(ladder) == first


def test_scaling_figures_hold_sizes_scores_fits_and_the_prediction(ladder: Project) -> None:
    told = figures(ladder)
    assert told["n_tokens"] == 20 * 256
    assert [size["name"] for size in told["sizes"]] == ["1x8", "1x16", "1x32", "1x48"]
    for size in told["sizes"]:
        width, n_vocab, n_ctx = size["n_embd"], 512, 32
        assert size["n_parameters"] - size["n_parameters_non_embedding"] == width * (
            n_vocab + n_ctx
        )
        assert size["n_parameters_non_embedding"] == 12 * width**2 + 13 * width + 2 * width
        low, high = size["valid_loss_interval"]
        assert low <= size["valid_loss"] <= high
        assert size["scores"]["heldout"]["bits_per_byte"] > 0
    losses = [size["valid_loss"] for size in told["sizes"]]
    assert losses == sorted(losses, reverse=True)
    assert told["fit"]["degrees_of_freedom"] == 1
    foretold = told["predictions"]["valid_loss"]["non_embedding"]
    assert foretold["from_sizes"] == 3
    assert foretold["measured"] == losses[-1]
    assert set(told["scores"]) == set(json.loads(_evaluated(ladder)))
    plots = ladder.root / "metrics" / "scaling"
    assert len(json.loads((plots / "loss.json").read_bytes())) == 4
    assert (plots / "scores" / "heldout_bits_per_byte.json").is_file()


def _evaluated(project: Project) -> bytes:
    return Path(project.root / "metrics" / "evaluate.json").read_bytes()

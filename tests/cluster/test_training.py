"""Two ranks on two nodes, ZeRO-2, gloo: a node lost in the middle changes no loss and no weight."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.cluster.conftest import WORKER, Cluster, Run, digests
from tests.cluster.machines import Machine, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

SETTINGS = {"steps": 300, "zero_stage": 2, "checkpoint_every_steps": 20, "eval_every_steps": 100}


@pytest.fixture
def tokens(extracted: Cluster) -> Iterator[Cluster]:
    """The cluster after the graph up to `encode`, set to train longer."""
    run = extracted.submit("encode")
    assert run.end() == 0, run.told()
    file = extracted.project.root / "params.yaml"
    before = file.read_text()
    told = YAML().load(before)
    told["train"].update(SETTINGS)
    YAML().dump(told, file)
    yield extracted
    file.write_text(before)


def train(cluster: Cluster) -> Run:
    """Starts the training anew, one rank per machine."""
    shutil.rmtree(cluster.project.root / "models" / "checkpoints", ignore_errors=True)
    return cluster.execute(
        "cd $OUTBOUND_WORKSPACE && OUTBOUND_LAUNCH=ray RAY_ADDRESS=auto "
        "python -m stages.repro --force --single-item train"
    )


def checkpoints(cluster: Cluster) -> list[Path]:
    return sorted((cluster.project.root / "models" / "checkpoints").glob("*/step-*"))


def computed_with(cluster: Cluster) -> set[tuple[int, int]]:
    """Returns with how many ranks and which ZeRO stage the run's steps were computed."""
    told = json.loads((checkpoints(cluster)[-1] / "checkpoint.json").read_bytes())
    return {(part["n_ranks"], part["zero_stage"]) for part in told["segments"]}


def left(cluster: Cluster) -> dict[str, str]:
    """Returns the digests of model, curves and figures."""
    root = cluster.project.root
    return {**digests(root, "models/pretrained"), **digests(root, "metrics/train")}


def test_training_that_loses_a_node_ends_as_one_that_does_not(tokens: Cluster) -> None:
    undisturbed = train(tokens)
    assert undisturbed.end() == 0, undisturbed.told()
    expected = left(tokens)
    assert computed_with(tokens) == {(2, 2)}
    run = train(tokens)
    wait_until(lambda: checkpoints(tokens), run.is_under_way)
    tokens.worker.lose()
    tokens.worker = Machine(tokens.network, "another", WORKER, tokens.shared)
    assert run.end() == 0, run.told()
    assert "starts again from what is saved" in run.told()
    assert computed_with(tokens) == {(2, 2)}
    assert left(tokens) == expected

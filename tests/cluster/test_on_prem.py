"""`deploy/on-prem.yaml` as a user follows it: what it refuses, and the bytes it gives."""

import re

import pytest

from tests.cluster.conftest import HEAD, OTHER, OUTPUT, STEP, Cluster, digests
from tests.cluster.machines import Machine, wait_until
from tests.e2e.conftest import Project

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

DATA = ["links", "pages", "documents", "clean", "unique", "eval", "labelled", "corpus"]
MADE = [f"data/{name}" for name in [*DATA, "overlap", "bpe", "tokens"]]
MADE += ["models/pretrained", "models/finetuned", "samples"]


def rows_only(found: dict[str, str]) -> dict[str, str]:
    """Leaves sidecars out, which hold the digests of WARC files: those are in order of arrival."""
    return {name: digest for name, digest in found.items() if not name.endswith(".json")}


def test_up_without_the_mount_is_refused(cluster: Cluster) -> None:
    bare = Machine(cluster.network, "bare", OTHER, None)
    file = cluster.write_file("bare.yaml", OTHER, HEAD)
    done = cluster.user.run(["ray", "up", "--yes", str(file), "--cluster-name", "bare"])
    bare.lose()
    assert done.returncode != 0
    assert "error - /mnt/outbound is not mounted on bare" in done.stdout


def test_cluster_refuses_who_has_not_its_token(cluster: Cluster) -> None:
    for settings in (
        ["RAY_AUTH_MODE=disabled"],
        ["RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN=" + 64 * "f"],
    ):
        done = cluster.head.run(["env", *settings, "ray", "status", "--address", f"{HEAD}:6379"])
        assert done.returncode != 0
        assert "InvalidAuthToken" in done.stdout


def test_graph_on_two_nodes_gives_the_bytes_of_one_process(
    finished: Cluster, alone: Project
) -> None:
    for folder in MADE:
        ours, theirs = digests(finished.project.root, folder), digests(alone.root, folder)
        if folder == OUTPUT:
            ours, theirs = rows_only(ours), rows_only(theirs)
        assert theirs
        assert ours == theirs, folder


def test_submit_failing_stage_gives_a_failing_exit_code(extracted: Cluster) -> None:
    file = extracted.project.root / "params.yaml"
    before = file.read_text()
    told, n = re.subn(r"(?m)^(dedup:\n(?:  .*\n)*?  threshold: )[\d.]+", r"\g<1>1.7", before)
    assert n == 1
    file.write_text(told)
    run = extracted.submit("dedup")
    code = run.end()
    file.write_text(before)
    assert code != 0
    assert "error: params.yaml: dedup.threshold is 1.7; expected" in run.told()
    assert "failed to reproduce 'dedup'" in run.told()


def test_node_without_the_workspace_is_named_before_anything_runs(extracted: Cluster) -> None:
    stranger = Machine(extracted.network, "stranger", OTHER, None)
    token = (extracted.shared / "ray-token").read_text().strip()
    settings = ["RAY_AUTH_MODE=token", f"RAY_AUTH_TOKEN={token}"]
    joined = stranger.run(["env", *settings, "ray", "start", f"--address={HEAD}:6379"])
    assert joined.returncode == 0, joined.stdout
    wait_until(lambda: OTHER in extracted.alive())
    run = extracted.submit("--force", "--single-item", STEP)
    code = run.end()
    stranger.run(["ray", "stop"])
    stranger.lose()
    extracted.wait_for_both()
    assert code != 0
    assert "error: 1 of 3 Ray nodes do not see /mnt/outbound/project" in run.told()
    assert "mount one shared file system at this path on every node" in run.told()
    assert "Running stage" not in run.told()

"""What clusters are started with: valid offline, one shared workspace, the pinned versions."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import ray
from ray.autoscaler._private.util import prepare_config, validate_config
from ruamel.yaml import YAML

from pipeline.engine.identity import ROOT

LAUNCHED = ["cluster.yaml", "deploy/on-prem.yaml"]  # by `ray up`
IMAGE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
WORKSPACE = "/mnt/outbound/project"


def read(name: str) -> dict[str, Any]:
    told: dict[str, Any] = YAML(typ="safe").load(ROOT / name)
    return told


@pytest.mark.parametrize("name", LAUNCHED)
def test_cluster_file_passes_rays_preparation_and_schema(name: str) -> None:
    prepared = prepare_config(read(name))
    validate_config(prepared)
    assert prepared["head_node_type"] in prepared["available_node_types"]


@pytest.mark.parametrize("name", LAUNCHED)
def test_cluster_file_with_unknown_key_is_refused(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match="max_worker_nodes"):
        validate_config(prepare_config({**read(name), "max_worker_nodes": 8}))


@pytest.mark.parametrize("name", LAUNCHED)
def test_cluster_file_has_the_workspace_that_repro_looks_for_on_every_node(name: str) -> None:
    told = read(name)
    assert "mountpoint -q /mnt/outbound" in " ".join(told["initialization_commands"])
    assert f"OUTBOUND_WORKSPACE={WORKSPACE}" in " ".join(told["setup_commands"])
    clone, setup, _ = told["head_setup_commands"]
    assert WORKSPACE in clone
    assert WORKSPACE in setup
    for start in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert WORKSPACE in told[start][-1]
        assert "RAY_USAGE_STATS_ENABLED=0" in told[start][-1]


@pytest.mark.parametrize("name", LAUNCHED)
def test_cluster_file_gives_every_node_the_token_that_the_head_makes(name: str) -> None:
    told = read(name)
    everywhere = " ".join(told["setup_commands"])
    assert "RAY_AUTH_MODE=token" in everywhere
    (token,) = re.findall(r"RAY_AUTH_TOKEN_PATH=(/mnt/outbound/[\w-]+)", everywhere)
    assert any(f"> {token}" in command for command in told["head_setup_commands"])


def kubernetes() -> tuple[dict[str, Any], dict[str, Any]]:
    claim, job = YAML(typ="safe").load_all(ROOT / "deploy" / "kuberay.yaml")
    return claim, job


def pods(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]["spec"]


def test_kuberay_job_runs_the_pinned_ray_and_the_graph_s_own_command() -> None:
    _, job = kubernetes()
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray.__version__
    assert (ROOT / job["spec"]["entrypoint"].split()[1]).is_file()
    assert job["spec"]["backoffLimit"] == 0  # a new cluster for what DVC has said no to


def test_kuberay_pods_share_one_volume_at_the_workspace() -> None:
    claim, job = kubernetes()
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods(job):
        (container,), (volume,) = pod["containers"], pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        (mount,) = container["volumeMounts"]
        assert mount["name"] == volume["name"]
        assert WORKSPACE.startswith(f"{mount['mountPath']}/")


def test_image_is_of_the_project_s_python_and_knows_the_workspace() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (wanted,) = re.findall(r'requires-python = "==([\d.]+)\.\*"', project)
    assert f"FROM python:{wanted}-" in IMAGE
    assert f"OUTBOUND_WORKSPACE={WORKSPACE} " in IMAGE
    assert f"WORKDIR {WORKSPACE}\n" in IMAGE
    assert all((ROOT / name).exists() for name in re.findall(r"^COPY (\S+)", IMAGE, re.MULTILINE))


def test_kuberay_refuses_who_has_no_token() -> None:
    _, job = kubernetes()
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_clusters_install_what_jobs_and_s3_need() -> None:
    locked = (ROOT / "requirements" / "lock-cluster.txt").read_text(encoding="utf-8")
    assert {"aiohttp-cors", "s3fs"} <= {line.partition("==")[0] for line in locked.splitlines()}
    assert re.search(r"pip install .*-r /tmp/lock\.txt -r /tmp/lock-cluster\.txt", IMAGE)
    for name in ("cluster.yaml", "deploy/on-prem.yaml"):
        assert "make -C /mnt/outbound/project setup-cluster" in (ROOT / name).read_text()

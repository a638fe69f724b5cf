"""cluster.yaml is valid by Ray's own schema and preparation code, offline."""

import copy
from typing import Any

import jsonschema
import pytest
from ray.autoscaler._private.util import prepare_config, validate_config
from ruamel.yaml import YAML

from pipeline.engine.identity import ROOT

CONFIG: dict[str, Any] = YAML(typ="safe").load(ROOT / "cluster.yaml")


def test_cluster_yaml_passes_rays_preparation_and_schema() -> None:
    prepared = prepare_config(copy.deepcopy(CONFIG))
    validate_config(prepared)
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_cluster_yaml_with_unknown_key_is_refused() -> None:
    wrong = {**copy.deepcopy(CONFIG), "max_worker": 8}
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(prepare_config(wrong))


def test_cluster_yaml_mounts_the_workspace_that_repro_looks_for() -> None:
    mounted = " ".join(CONFIG["initialization_commands"])
    assert "/mnt/outbound" in mounted
    assert "OUTBOUND_WORKSPACE=/mnt/outbound/project" in " ".join(CONFIG["setup_commands"])
    assert all("/mnt/outbound/project" in c for c in CONFIG["head_setup_commands"])

"""Merging presets keeps comments, refuses what params.yaml does not know, and stays loadable."""

from pathlib import Path

import pytest

from pipeline.engine.identity import ROOT
from stages import configure, params

PARAMS = """\
# How long to train.
train:
  steps: 100  # optimizer steps
  lr: 1.0e-3
model:
  n_layer: 4  # blocks
"""


@pytest.fixture
def project(workspace: Path) -> Path:
    (workspace / "params.yaml").write_text(PARAMS)
    for name, text in {
        "size/tiny": "train:\n  steps: 3\n",
        "model/big": "model:\n  n_layer: 12\ntrain:\n  steps: 7\n",
        "model/wrong": "model:\n  n_layers: 12\n",
    }.items():
        file = workspace / "presets" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return workspace


def test_configure_changes_values_and_keeps_comments(project: Path) -> None:
    configure.configure(["size=tiny"], project / "params.yaml")
    assert (project / "params.yaml").read_text() == PARAMS.replace("steps: 100", "steps: 3")


def test_configure_later_preset_wins(project: Path) -> None:
    configure.configure(["size=tiny", "model=big"], project / "params.yaml")
    told = params.read(project / "params.yaml")
    assert told["train"]["steps"] == 7
    assert told["model"]["n_layer"] == 12


def test_configure_unknown_key_is_refused_and_file_untouched(project: Path) -> None:
    with pytest.raises(ValueError, match=r"presets/model/wrong.yaml.model.n_layers is not a key"):
        configure.configure(["model=wrong"], project / "params.yaml")
    assert (project / "params.yaml").read_text() == PARAMS


def test_configure_unknown_preset_lists_known_ones(project: Path) -> None:
    with pytest.raises(ValueError, match=r"'size=huge' does not exist; known: model=big"):
        configure.configure(["size=huge"], project / "params.yaml")


@pytest.mark.parametrize("file", sorted((ROOT / "presets").glob("*/*.yaml")), ids=lambda f: f.stem)
def test_every_preset_fits_params_yaml(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "params.yaml"
    target.write_bytes((ROOT / "params.yaml").read_bytes())
    known = params.read(target)
    configure.merge(known, params.read(file), file.name)

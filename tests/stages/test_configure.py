"""Merging presets keeps comments, refuses what params.yaml does not know, and stays loadable."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from crawl import crawl, demo, links
from model import gallery
from model.capacity import scaling
from model.config import Architecture
from model.finetune import finetune, labelled, study
from model.tasks import evalsets, evaluate
from model.training import train
from pipeline.engine.identity import ROOT
from pipeline.overlap import decontaminate, dedup, memorize
from pipeline.report import page
from pipeline.text import clean, documents, extract
from pipeline.tokens import bpe
from stages import configure, params

SECTIONS = {
    "demo": demo.Config,
    "links": links.Config,
    "crawl": crawl.Config,
    "extract": extract.Config,
    "documents": documents.Config,
    "clean": clean.Config,
    "dedup": dedup.Config,
    "evalsets": evalsets.Config,
    "labelled": labelled.Config,
    "decontaminate": decontaminate.Config,
    "bpe": bpe.Config,
    "model": Architecture,
    "train": train.Config,
    "scaling": scaling.Config,
    "finetune": finetune.Config,
    "study": study.Config,
    "evaluate": evaluate.Config,
    "sample": gallery.Config,
    "memorize": memorize.Config,
    "report": page.Config,
}

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
    written = (project / "params.yaml").read_text()
    assert re.sub(r"(?<=\S) +#", "  #", written) == PARAMS.replace("steps: 100", "steps: 3")


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
def test_every_preset_gives_sections_that_load(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "params.yaml"
    target.write_bytes((ROOT / "params.yaml").read_bytes())
    yaml = YAML()
    content = yaml.load(target)
    content["crawl"]["contact"] = "mailto:somebody@example.org"  # what no preset can know
    configure.merge(content, yaml.load(file), file.name)
    yaml.dump(content, target)
    for section, config in SECTIONS.items():
        params.load(section, config, target)


def test_configure_mapping_in_braces_replaces_and_indented_one_merges(project: Path) -> None:
    file = project / "params.yaml"
    file.write_text("demo:\n  packages: {a: 1, b: 2}\n  limits:\n    x: 1\n    y: 2\n")
    (project / "presets/size/tiny.yaml").write_text(
        "demo:\n  packages: {a: 5}\n  limits:\n    x: 3\n"
    )
    configure.configure(["size=tiny"], file)
    assert params.read(file)["demo"] == {"packages": {"a": 5}, "limits": {"x": 3, "y": 2}}


def test_empty_braces_in_a_preset_replace_a_mapping(project: Path) -> None:
    params_file = project / "params.yaml"
    params_file.write_text("demo:\n  packages:  # names\n    a: 1\n    b: 2\n")
    (project / "presets" / "size" / "none.yaml").write_text("demo:\n  packages: {}\n")
    configure.configure(["size=none"], params_file)
    assert params.read(params_file) == {"demo": {"packages": {}}}

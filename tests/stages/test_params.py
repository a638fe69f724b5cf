"""Reading params.yaml: each mistake gives one line that names file and key."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from pipeline.store.config import require
from stages import params


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    names: tuple[str, ...]
    weights: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    threshold: float
    n_bands: int
    mode: Literal["drop", "mark"]
    contact: str | None
    inner: Inner

    def __post_init__(self) -> None:
        require("threshold", self.threshold, 0 < self.threshold <= 1, "0 < x <= 1")


GOOD = """
dedup:
  threshold: 1
  n_bands: 14
  mode: drop
  contact: null
  inner:
    names: [a, b]
    weights: {x: 0.5, y: 2}
"""


def load(folder: Path, text: str) -> Config:
    file = folder / "params.yaml"
    file.write_text(text)
    return params.load("dedup", Config, file)


def test_load_good_section_gives_typed_config(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    assert config.threshold == 1.0
    assert type(config.threshold) is float
    assert config.inner == Inner(names=("a", "b"), weights={"x": 0.5, "y": 2.0})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("threshold: 1", "threshold: 1.7", "dedup.threshold is 1.7; expected 0 < x <= 1"),
        ("threshold: 1", "threshold: high", "dedup.threshold is 'high'; expected a number"),
        ("n_bands: 14", "n_bands: 14.5", "dedup.n_bands is 14.5; expected a whole number"),
        ("n_bands: 14", "n_bands: true", "dedup.n_bands is True; expected a whole number"),
        ("n_bands: 14", "bands: 14", "dedup.bands is not known; allowed: threshold, n_bands"),
        ("  n_bands: 14\n", "", "dedup.n_bands is missing; expected a whole number"),
        ("mode: drop", "mode: keep", "dedup.mode is 'keep'; expected drop | mark"),
        ("names: [a, b]", "names: [a, 1]", "dedup.inner.names[1] is 1; expected text"),
        ("names: [a, b]", "names: a", "dedup.inner.names is 'a'; expected a list of text"),
        ("y: 2", "y: z", "dedup.inner.weights.y is 'z'; expected a number"),
        ("contact: null", "contact: 7", "dedup.contact is 7; expected text"),
        ("dedup:", "dedupe:", "section `dedup` is missing"),
        ("dedup:", "dedup: [", "not valid YAML"),
    ],
)
def test_load_mistake_names_file_key_and_allowed(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    with pytest.raises(ValueError, match=r"params\.yaml") as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_load_without_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run from the project's root"):
        params.load("dedup", Config, tmp_path / "params.yaml")

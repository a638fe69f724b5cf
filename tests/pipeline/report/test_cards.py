"""The cards: the hubs' forms, the run's own figures, and no effect of what strangers wrote."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.report import cards
from pipeline.report.page import Sources, read_metrics
from pipeline.store.shards import to_json
from tests.pipeline.report.world import HOSTILE, World, write_stage

# Sections of the Hub's two templates that every card must have.
MODEL = (
    "Model Details, Uses, Bias, Risks, and Limitations, How to Get Started with the Model, "
    "Training Details, Evaluation, Technical Specifications, Citation"
)
DATA = "Dataset Details, Uses, Dataset Structure, Dataset Creation, Bias, Risks, and Limitations"


def made(sources: Sources, output: Path) -> dict[str, str]:
    cards.run(sources, output)
    return {name: (output / name).read_text() for name in cards.NAMES}


def front(card: str) -> Any:
    """Returns the block on top, as a hub reads it."""
    _, block, _ = card.split("---\n", 2)
    return YAML(typ="safe").load(block)


def headings(card: str) -> list[str]:
    return re.findall(r"^## (.*)$", card, re.MULTILINE)


def test_cards_have_the_hubs_sections_and_fields(world: World, tmp_path: Path) -> None:
    found = made(world.sources, tmp_path)
    model, data = found["model_card.md"], found["datasheet.md"]
    assert all(name in MODEL for name in headings(model))
    assert len(headings(model)) == 8
    assert headings(data)[:4] == DATA.split(", ")[:4]
    assert front(model)["pipeline_tag"] == "text-generation"
    assert front(model)["library_name"] == "transformers"
    assert front(data)["size_categories"] == ["n<1K"]
    assert front(model)["language"] == front(data)["language"] == ["en"]


def test_figures_are_those_of_the_metrics(world: World, tmp_path: Path) -> None:
    told = read_metrics(world.sources.metrics)
    found = made(world.sources, tmp_path)
    (result,) = front(found["model_card.md"])["model-index"][0]["results"]
    measured = {one["type"]: one["value"] for one in result["metrics"]}
    assert measured["bits_per_byte"] == told["evaluate"]["heldout"]["bits_per_byte"]
    assert f"{told['encode']['train']['n_tokens']:,} tokens" in found["model_card.md"]
    for stage in ("links", "crawl", "clean"):
        counts = told[stage]["counts"]
        row = re.search(rf"^\| {stage} \|.*\|$", found["datasheet.md"], re.MULTILINE)
        assert row
        assert f"| {counts['n_in']} | {counts['n_out']} |" in row[0]
        for reason, n in counts["dropped"].items():
            assert f"| {stage} | `{reason}` | {n} |" in found["datasheet.md"]


def test_every_table_keeps_its_columns(own_world: World, tmp_path: Path) -> None:
    """Also where a stranger's reason has bars, backticks and line ends in it."""
    path = own_world.sources.metrics / "clean.json"
    told = read_metrics(own_world.sources.metrics)["clean"]
    attack = "a|b`<script>alert(1)</script>`\n# A heading"
    told["counts"]["dropped"][attack] = told["counts"]["dropped"].pop("language")
    path.write_bytes(to_json(told))
    for card in made(own_world.sources, tmp_path).values():
        assert "# A heading" not in card.splitlines()
        lines = card.splitlines()
        for i, line in enumerate(lines):
            if re.fullmatch(r"\|(---\|)+", line):
                rows = [lines[i - 1], *_until_blank(lines[i + 1 :])]
                assert {row.count("|") for row in rows} == {line.count("|")}


def _until_blank(lines: list[str]) -> list[str]:
    end = next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return lines[:end]


def test_domains_of_strangers_are_code(own_world: World, tmp_path: Path) -> None:
    alive = [d for d in own_world.documents if not d.end]
    shutil.rmtree(own_world.sources.data / "corpus")
    write_stage(own_world.sources.data, "decontaminate", alive)
    card = made(own_world.sources, tmp_path)["datasheet.md"]
    assert "| `numpy-manual.test` | 20 |" in card
    assert not any(attack in card for attack in HOSTILE)


def test_run_that_has_only_begun_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    found = made(World(root=tmp_path, documents=()).sources, tmp_path / "report")
    assert "encode has not run." in found["model_card.md"]
    assert "evaluate has not run." in found["model_card.md"]
    assert front(found["datasheet.md"])["size_categories"] == ["n<1K"]
    for card in found.values():
        assert front(card)["language"] == ["und"]  # ISO 639-2: undetermined


@pytest.mark.parametrize("name", cards.NAMES)
def test_same_run_gives_the_same_card(world: World, tmp_path: Path, name: str) -> None:
    first, again = made(world.sources, tmp_path / "a"), made(world.sources, tmp_path / "b")
    assert first[name] == again[name]

"""The gallery has what was asked for; continuations stand beside what the authors wrote there."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from model import gallery, hf
from model.gallery import Config, Continuations
from model.sample import GREEDY, Settings
from model.tasks import evalsets
from pipeline.store import records
from pipeline.tokens import bpe, codec
from tests.model.small_models import random_model
from tests.model.tasks.unique_folder import ROWS, make_unique
from tests.model.test_sample import slow_greedy

PLAIN = Settings(temperature=1.0, top_k=None, top_p=None)

CONFIG = Config(
    seed=7,
    n_new_tokens=9,
    n_samples=2,
    prompts=("abc", "", "naïve <|endoftext|> text"),
    methods={
        "greedy": GREEDY,
        "top_k": replace(PLAIN, top_k=4),
        "top_p": replace(PLAIN, top_p=0.9),
    },
    continuations=Continuations(n_documents=3, prompt_tokens=4, n_new_tokens=12, method="top_k"),
)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    bpe.write(folder / "bpe", [("a", "b"), ("ab", "c")])
    hf.save(folder / "pretrained", random_model(n_vocab=259), folder / "bpe", 258)
    return folder / "pretrained"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Held-out documents, made by the stage that makes them."""
    folder = tmp_path_factory.mktemp("evaluation")
    config = evalsets.Config(
        mirror=None,
        extra=None,
        accept=(),
        heldout_documents=5,
        lastword_per_document=1,
        lastword_min_words=15,
    )
    short = ("f" * 16, "short")
    evalsets.run(make_unique(folder / "unique", [[*ROWS[:4], short]]), folder / "eval", config)
    return folder / "eval"


def test_gallery_has_every_prompt_by_every_method_and_greedy_once(
    pretrained: Path, evaluation: Path, tmp_path: Path
) -> None:
    figures = gallery.run(pretrained, evaluation, tmp_path, CONFIG)
    told = json.loads((tmp_path / "samples.json").read_bytes())["samples"]
    assert [(s["prompt"], s["method"], s["index"]) for s in told] == [
        (prompt, method, index)
        for prompt in CONFIG.prompts
        for method, n in (("greedy", 1), ("top_k", 2), ("top_p", 2))
        for index in range(n)
    ]
    assert figures["n_samples"] == len(told) == 15
    assert figures["n_tokens"] == sum(s["n_tokens"] for s in told)
    assert all(s["n_tokens"] == 9 or s["ended"] for s in told)
    assert len({s["seed"] for s in told}) == 15
    assert told[1]["text"] != told[2]["text"]
    shown = (tmp_path / "samples.txt").read_bytes().decode()
    assert all(f"{s['prompt']}│{s['text']}" in shown for s in told)


def test_gallery_text_is_the_decoded_continuation_of_the_prompt(
    pretrained: Path, evaluation: Path, tmp_path: Path
) -> None:
    gallery.run(pretrained, evaluation, tmp_path, CONFIG)
    told = json.loads((tmp_path / "samples.json").read_bytes())["samples"][0]
    model, _ = hf.load(pretrained)
    coder = codec.load(pretrained / "tokenizer.json")
    prompt = [coder.vocabulary.eot_id, *coder.encode("abc").tolist()]
    new = slow_greedy(model, prompt, 9)
    cut = new[: new.index(258)] if 258 in new else new
    assert told["text"] == coder.decode(cut)


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    table = pq.read_table(folder / gallery.TEXTS)
    assert table.schema.equals(records.EVAL)
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        rows.setdefault(row["set"], []).append(row | {"fields": json.loads(row["fields"])})
    return rows


def test_continuations_stand_beside_what_the_authors_wrote_there(
    pretrained: Path, evaluation: Path, tmp_path: Path
) -> None:
    figures = gallery.run(pretrained, evaluation, tmp_path, CONFIG)
    rows, texts = rows_of(tmp_path), dict(ROWS)
    assert figures["n_continuations"] == len(rows["generated"]) == len(rows["held_out"]) == 3
    coder = codec.load(pretrained / "tokenizer.json")
    for made, written in zip(rows["generated"], rows["held_out"], strict=True):
        assert made["example_id"] == written["example_id"]
        ids = coder.encode(texts[written["example_id"]]).tolist()
        assert written["fields"] == {"prompt": coder.decode(ids[:4]), "n_tokens": 12}
        assert written["text"] == coder.decode(ids[4:16])
        assert made["fields"]["prompt"] == written["fields"]["prompt"]
        assert made["fields"]["n_tokens"] <= 12
    assert len({row["text"] for row in rows["generated"]}) == 3


def test_continuation_is_the_model_s_own(
    pretrained: Path, evaluation: Path, tmp_path: Path
) -> None:
    how = replace(CONFIG.continuations, method="greedy")
    gallery.run(pretrained, evaluation, tmp_path, replace(CONFIG, continuations=how))
    made, written = (rows_of(tmp_path)[name][0] for name in ("generated", "held_out"))
    model, _ = hf.load(pretrained)
    coder = codec.load(pretrained / "tokenizer.json")
    ids = coder.encode(dict(ROWS)[written["example_id"]]).tolist()
    new = slow_greedy(model, [258, *ids[:4]], 12)
    assert made["text"] == coder.decode(new[: new.index(258)] if 258 in new else new)


def test_texts_hold_the_gallery_by_method(
    pretrained: Path, evaluation: Path, tmp_path: Path
) -> None:
    gallery.run(pretrained, evaluation, tmp_path, CONFIG)
    rows = rows_of(tmp_path)
    told = json.loads((tmp_path / "samples.json").read_bytes())["samples"]
    for method in CONFIG.methods:
        shown = [each["text"] for each in told if each["method"] == method]
        assert [row["text"] for row in rows[f"gallery_{method}"]] == shown
    ids = [row["example_id"] for some in rows.values() for row in some if row["set"] != "held_out"]
    assert len(set(ids)) == len(ids)


def test_continuations_of_too_short_documents_are_left_out(
    pretrained: Path, evaluation: Path, tmp_path: Path
) -> None:
    how = replace(CONFIG.continuations, n_documents=100)
    figures = gallery.run(pretrained, evaluation, tmp_path, replace(CONFIG, continuations=how))
    assert figures["n_continuations"] == 4  # of five documents
    none = replace(how, n_documents=0)
    gallery.run(pretrained, evaluation, tmp_path, replace(CONFIG, continuations=none))
    assert set(rows_of(tmp_path)) == {f"gallery_{method}" for method in CONFIG.methods}


def test_missing_sets_name_the_command(pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="dvc repro evalsets"):
        gallery.run(pretrained, tmp_path / "absent", tmp_path, CONFIG)


def test_gallery_is_the_same_bytes_again_and_other_bytes_for_another_seed(
    pretrained: Path, evaluation: Path, tmp_path: Path
) -> None:
    for name, config in (("a", CONFIG), ("b", CONFIG), ("c", replace(CONFIG, seed=8))):
        gallery.run(pretrained, evaluation, tmp_path / name, config)
    a, b, c = ((tmp_path / name / "samples.txt").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize("change", [{"n_new_tokens": 0}, {"n_samples": 0}, {"methods": {}}])
def test_config_out_of_range_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(CONFIG, **change)


@pytest.mark.parametrize(
    "change", [{"n_documents": -1}, {"prompt_tokens": -1}, {"n_new_tokens": 0}]
)
def test_continuations_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(CONFIG.continuations, **change)


def test_continuations_by_an_unknown_method_are_refused() -> None:
    how = replace(CONFIG.continuations, method="beam")
    with pytest.raises(
        ValueError, match=r"continuations.method is 'beam'; expected one of \['greedy'"
    ):
        replace(CONFIG, continuations=how)

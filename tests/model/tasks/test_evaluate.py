"""Evaluation as a whole: every present set, under a protocol that says what was done."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from model import hf
from model.tasks import evalsets, evaluate
from model.tasks.evaluate import PAPER, TASKS, Config, Evaluation
from model.tasks.registry import HELDOUT, LASTWORD, SETS
from pipeline.store.shards import sha256_file
from pipeline.tokens import bpe
from tests.model.small_models import random_model, unigram
from tests.model.tasks.unique_folder import ROWS, make_unique

CONFIG = Config(stride_tokens=None, seed=1)
MIRROR = {
    "lambada_openai": "\n".join(
        json.dumps({"text": f"he lit the old lantern {w}"}) for w in "abcde"
    ),
    "lambada_plain": "he did n't see the lantern\nshe said , `` here ''\n",
    "winograd": "I saw [MASK] .\n[MASK]\nthe cat ,Ann\nAnn\n\n",
    "ptb": " he did n't pay $ N \n no \n",
    "wikitext2": " \n = One = \n \n a @-@ b , c \n",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small random model, and all known sets with bytes of our own."""
    root = tmp_path_factory.mktemp("evaluate")
    bpe.write(root / "bpe", [("Ġ", "t"), ("h", "e"), ("Ġt", "he")])
    hf.save(root / "pretrained", random_model(n_vocab=260), root / "bpe", 259)
    for known in SETS:
        path = root / "mirror" / known.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MIRROR[known.name], encoding="utf-8")
    config = evalsets.Config(
        mirror=str(root / "mirror"),
        accept=tuple(MIRROR),
        heldout_documents=4,
        lastword_per_document=1,
        lastword_min_words=15,
    )
    evalsets.run(make_unique(root / "unique", [ROWS]), root / "eval", config)
    return root / "pretrained", root / "eval"


@pytest.fixture(scope="module")
def found(folders: tuple[Path, Path]) -> Evaluation:
    return evaluate.run(*folders, CONFIG)


def test_every_known_set_has_a_task() -> None:
    assert set(TASKS) == {HELDOUT, LASTWORD, *(known.name for known in SETS)}


def test_every_present_set_is_scored_under_each_of_its_protocols(found: Evaluation) -> None:
    assert set(found.figures) == {
        "heldout", "heldout_lastword", "lambada_openai", "lambada_plain_raw",
        "lambada_plain_detokenized", "winograd", "ptb_raw", "ptb_detokenized", "wikitext2_raw",
        "wikitext2_detokenized",
    }  # fmt: skip
    for figures in found.figures.values():
        assert all(math.isfinite(value) for value in figures.values())


def test_every_figure_carries_its_protocol(found: Evaluation, folders: tuple[Path, Path]) -> None:
    keys = {
        "set", "split", "source", "text_sha256", "digest_known", "detokenizer", "unit", "n_units",
        "method", "window", "bos", "dtype", "tokenizer_sha256", "model_sha256", "paper",
    }  # fmt: skip
    assert set(found.protocols["protocols"]) == set(found.figures)
    listed = evalsets.listing(folders[1])
    for protocol in found.protocols["protocols"].values():
        assert keys <= set(protocol)
        assert protocol["text_sha256"] == listed[protocol["set"]]["sha256"]
        assert protocol["model_sha256"] == sha256_file(folders[0] / "model.safetensors")
        assert protocol["tokenizer_sha256"] == sha256_file(folders[0] / "tokenizer.json")
        assert ("stride" in protocol) == protocol["method"].startswith("rolling")


def test_paper_s_figures_stand_beside_published_bytes_only(found: Evaluation) -> None:
    assert all(not p["paper"] for p in found.protocols["protocols"].values())
    listed = {"set": "ptb", "split": "test", "file": "f", "sha256": "0", "digest_known": True}
    told = evaluate._source("ptb_detokenized", listed)
    assert told["paper"]["perplexity_word"]["117M"] == 65.85
    assert evaluate._source("ptb_raw", listed)["paper"] == {}


def test_paper_s_figures_name_figures_that_are_measured(found: Evaluation) -> None:
    for name, figures in PAPER.items():
        assert set(figures) <= set(found.figures[name])


def test_same_model_and_sets_give_the_same_figures(
    found: Evaluation, folders: tuple[Path, Path]
) -> None:
    assert evaluate.run(*folders, CONFIG) == found


def test_stride_changes_rolling_figures_and_no_others(
    found: Evaluation, folders: tuple[Path, Path]
) -> None:
    other = evaluate.run(*folders, replace(CONFIG, stride_tokens=4))
    changed = {name for name, figures in found.figures.items() if other.figures[name] != figures}
    assert "heldout" in changed
    assert changed <= {name for name, p in other.protocols["protocols"].items() if "stride" in p}


def test_absent_sets_are_listed_and_not_scored(folders: tuple[Path, Path], tmp_path: Path) -> None:
    config = evalsets.Config(
        mirror=None, accept=(), heldout_documents=2, lastword_per_document=1, lastword_min_words=15
    )
    evalsets.run(make_unique(tmp_path / "unique", [ROWS]), tmp_path / "eval", config)
    found = evaluate.run(folders[0], tmp_path / "eval", CONFIG)
    assert set(found.figures) == {HELDOUT, LASTWORD}
    assert set(found.protocols["absent"]) == {known.name for known in SETS}
    assert all(found.protocols["absent"].values())


def test_uniform_model_is_as_good_as_a_die(folders: tuple[Path, Path], tmp_path: Path) -> None:
    bpe.write(tmp_path / "bpe", [("Ġ", "t"), ("h", "e"), ("Ġt", "he")])
    hf.save(tmp_path / "pretrained", unigram([1.0] * 260, n_ctx=32), tmp_path / "bpe", 259)
    figures = evaluate.run(tmp_path / "pretrained", folders[1], CONFIG).figures
    for name in ("heldout", "ptb_raw", "wikitext2_detokenized"):
        assert figures[name]["perplexity_token"] == pytest.approx(260, rel=1e-5)
    assert figures["winograd"]["accuracy_partial"] == 0.0  # ties are wrong
    assert figures["lambada_openai"]["accuracy"] == 0.0
    # One-letter targets: a blank and a letter, two tokens.
    assert figures["lambada_openai"]["perplexity"] == pytest.approx(260**2, rel=1e-5)


def test_missing_inputs_name_the_command(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="dvc repro train"):
        evaluate.run(tmp_path, folders[1], CONFIG)
    with pytest.raises(FileNotFoundError, match="dvc repro evalsets"):
        evaluate.run(folders[0], tmp_path, CONFIG)


@pytest.mark.parametrize("stride", [0, -5])
def test_stride_below_one_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match=f"stride_tokens is {stride}"):
        replace(CONFIG, stride_tokens=stride)


def test_stride_beyond_the_context_is_refused(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="stride_tokens is 33; expected x <= n_ctx = 32"):
        evaluate.run(*folders, replace(CONFIG, stride_tokens=33))

"""Evaluation as a whole: every present set, under a protocol that says what was done."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model import hf
from model.tasks import evalsets, evaluate, overlap
from model.tasks.evaluate import PAPER, TASKS, Config, Evaluation
from model.tasks.registry import HELDOUT, LASTWORD, SETS
from pipeline.store.errors import ManifestError
from pipeline.store.shards import sha256_file
from pipeline.tokens import bpe
from tests.model.small_models import random_model, unigram
from tests.model.tasks.unique_folder import ROWS, make_overlap, make_unique

Folders = tuple[Path, Path, Path]
CONFIG = Config(stride_tokens=None, seed=1, max_overlap_frac=0.0)
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
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
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
        extra=None,
        accept=tuple(MIRROR),
        heldout_documents=4,
        lastword_per_document=1,
        lastword_min_words=15,
    )
    evalsets.run(make_unique(root / "unique", [ROWS]), root / "eval", config)
    # Of the five passages, the second and half of the third are in the training text.
    shares = {f"{i:05d}": (4, left) for i, left in enumerate([0, 4, 2, 0])} | {"00004": (0, 0)}
    counts = {("lambada_openai", name): pair for name, pair in shares.items()}
    for name in (HELDOUT, LASTWORD, "winograd"):
        counts |= {(name, e.example_id): (3, 3) for e in evalsets.read(root / "eval", name)}
    documents = [e.example_id for e in evalsets.read(root / "eval", HELDOUT)]
    counts[HELDOUT, documents[1]] = (3, 0)
    make_overlap(root / "overlap", counts)
    return root / "pretrained", root / "eval", root / "overlap"


@pytest.fixture(scope="module")
def found(folders: Folders) -> Evaluation:
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


def test_every_figure_carries_its_protocol(found: Evaluation, folders: Folders) -> None:
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


def test_same_model_and_sets_give_the_same_figures(found: Evaluation, folders: Folders) -> None:
    assert evaluate.run(*folders, CONFIG) == found


def test_stride_changes_rolling_figures_and_no_others(found: Evaluation, folders: Folders) -> None:
    other = evaluate.run(*folders, replace(CONFIG, stride_tokens=4))
    changed = {name for name, figures in found.figures.items() if other.figures[name] != figures}
    assert "heldout" in changed
    assert changed <= {name for name, p in other.protocols["protocols"].items() if "stride" in p}


def again(found: Evaluation, name: str) -> dict[str, float]:
    told: dict[str, float] = found.without_overlap["scores"][name]
    return told


def test_scores_without_overlap_are_those_of_the_other_examples_alone(
    found: Evaluation, folders: Folders, tmp_path: Path
) -> None:
    """Sets that hold only the examples without overlap, scored as a whole, give the same."""
    told = again(found, "lambada_openai")
    assert (told["n"], told["n_overlapping"], told["n_too_short"]) == (3, 2, 1)
    assert told["mean_overlap_frac"] == pytest.approx((0 + 1 + 0.5 + 0 + 0) / 5)
    (tmp_path / "eval").mkdir()
    for path in folders[1].iterdir():
        (tmp_path / "eval" / path.name).write_bytes(path.read_bytes())
    for name, keep in (("lambada_openai", [0, 3, 4]), (HELDOUT, [1])):
        file = tmp_path / "eval" / f"{name}.parquet"
        pq.write_table(pq.read_table(file).take(keep), file)
    fewer = evaluate.run(folders[0], tmp_path / "eval", folders[2], CONFIG)
    for name in ("lambada_openai", HELDOUT):
        figures = fewer.figures[name]
        assert {key: again(found, name)[key] for key in figures} == figures
        assert figures != found.figures[name]


def test_scores_without_overlap_below_a_share_keep_the_examples_at_it(folders: Folders) -> None:
    half = evaluate.run(*folders, replace(CONFIG, max_overlap_frac=0.5))
    assert again(half, "lambada_openai")["n"] == 4
    assert half.without_overlap["max_overlap_frac"] == 0.5
    everything = evaluate.run(*folders, replace(CONFIG, max_overlap_frac=1.0))
    for name in ("lambada_openai", "winograd", HELDOUT):
        figures = everything.figures[name]
        assert {key: again(everything, name)[key] for key in figures} == figures


def test_scores_without_overlap_that_cannot_be_given_say_why(found: Evaluation) -> None:
    assert again(found, "ptb_raw") == {"absent": overlap.RUNNING_TEXT}
    assert again(found, "wikitext2_detokenized") == {"absent": overlap.RUNNING_TEXT}
    assert again(found, "lambada_plain_raw") == {"absent": overlap.NOT_STUDIED}
    told = again(found, "winograd")
    assert (told["absent"], told["n_overlapping"]) == (overlap.NOTHING_LEFT, 1)


def test_absent_sets_are_listed_and_not_scored(folders: Folders, tmp_path: Path) -> None:
    config = evalsets.Config(
        mirror=None,
        extra=None,
        accept=(),
        heldout_documents=2,
        lastword_per_document=1,
        lastword_min_words=15,
    )
    evalsets.run(make_unique(tmp_path / "unique", [ROWS]), tmp_path / "eval", config)
    found = evaluate.run(folders[0], tmp_path / "eval", folders[2], CONFIG)
    assert set(found.figures) == {HELDOUT, LASTWORD}
    assert set(found.protocols["absent"]) == {known.name for known in SETS}
    assert all(found.protocols["absent"].values())


def test_uniform_model_is_as_good_as_a_die(folders: Folders, tmp_path: Path) -> None:
    bpe.write(tmp_path / "bpe", [("Ġ", "t"), ("h", "e"), ("Ġt", "he")])
    hf.save(tmp_path / "pretrained", unigram([1.0] * 260, n_ctx=32), tmp_path / "bpe", 259)
    figures = evaluate.run(tmp_path / "pretrained", *folders[1:], CONFIG).figures
    for name in ("heldout", "ptb_raw", "wikitext2_detokenized"):
        assert figures[name]["perplexity_token"] == pytest.approx(260, rel=1e-5)
    assert figures["winograd"]["accuracy_partial"] == 0.0  # ties are wrong
    assert figures["lambada_openai"]["accuracy"] == 0.0
    # One-letter targets: a blank and a letter, two tokens.
    assert figures["lambada_openai"]["perplexity"] == pytest.approx(260**2, rel=1e-5)


def test_missing_inputs_name_the_command(folders: Folders, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="dvc repro train"):
        evaluate.run(tmp_path, *folders[1:], CONFIG)
    with pytest.raises(FileNotFoundError, match="dvc repro evalsets"):
        evaluate.run(folders[0], tmp_path, folders[2], CONFIG)
    with pytest.raises(ManifestError, match="dvc repro decontaminate"):
        evaluate.run(*folders[:2], tmp_path, CONFIG)


@pytest.mark.parametrize("frac", [-0.1, 1.1])
def test_overlap_share_out_of_range_is_refused(frac: float) -> None:
    with pytest.raises(ValueError, match=f"max_overlap_frac is {frac}"):
        replace(CONFIG, max_overlap_frac=frac)


@pytest.mark.parametrize("stride", [0, -5])
def test_stride_below_one_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match=f"stride_tokens is {stride}"):
        replace(CONFIG, stride_tokens=stride)


def test_stride_beyond_the_context_is_refused(folders: Folders) -> None:
    with pytest.raises(ValueError, match="stride_tokens is 33; expected x <= n_ctx = 32"):
        evaluate.run(*folders, replace(CONFIG, stride_tokens=33))

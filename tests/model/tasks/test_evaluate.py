"""Evaluation as a whole: every present set, under a protocol that says what was done."""

import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model import hf
from model.tasks import evalsets, evaluate, overlap, paper
from model.tasks.evaluate import TASKS, Config, Evaluation
from model.tasks.paper import PAPER
from model.tasks.registry import HELDOUT, LASTWORD, SETS
from pipeline.store.errors import ManifestError
from pipeline.store.shards import sha256_file
from pipeline.tokens import bpe
from tests.model.small_models import random_model, unigram
from tests.model.tasks import published_lines
from tests.model.tasks.unique_folder import ROWS, make_overlap, make_unique

Folders = tuple[Path, Path, Path, Path]
CONFIG = Config(
    stride_tokens=None,
    more_strides_tokens=(8,),
    seed=1,
    max_generated_examples=None,
    max_overlap_frac=0.0,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A small random model, and all known sets with bytes of our own."""
    root = tmp_path_factory.mktemp("evaluate")
    bpe.write(root / "bpe", [("Ġ", "t"), ("h", "e"), ("Ġt", "he")])
    hf.save(root / "pretrained", random_model(n_vocab=260), root / "bpe", 259)
    config = evalsets.Config(
        mirror=str(published_lines.write(root / "mirror")),
        extra=None,
        accept=tuple(known.name for known in SETS),
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
    return root / "pretrained", root / "eval", root / "overlap", root / "store"


@pytest.fixture(scope="module")
def found(folders: Folders) -> Evaluation:
    return evaluate.run(*folders, CONFIG)


def test_every_known_set_has_a_task() -> None:
    assert set(TASKS) == {HELDOUT, LASTWORD, *(known.name for known in SETS)}


def test_every_present_set_is_scored_under_each_of_its_protocols(found: Evaluation) -> None:
    assert set(found.figures) == {
        "heldout", "heldout_lastword", "lambada_openai", "lambada_plain_raw",
        "lambada_plain_detokenized", "winograd", "lambada_openai_ascii", "lambada_openai_harness",
        "lambada_plain_harness", "winograd_harness", "wikitext2_harness", "wikitext103_harness",
        *(
            f"{name}_{way}{stride}"
            for name in ("ptb", "wikitext2", "wikitext103", "one_billion")
            for way in ("raw", "detokenized")
            for stride in ("", "_stride_8")
        ),
        "one_billion_sentences", "enwik8", "enwik8_stride_8", "text8", "text8_stride_8",
        *(f"cbt_{kind}_{split}_{way}" for kind in ("cn", "ne") for split in ("valid", "test")
          for way in ("raw", "detokenized")),
        *(f"{name}{way}" for name in ("cnn_dailymail", "cnn_dailymail_sample")
          for way in ("", "_no_hint", "_lead3", "_random3")),
        "coqa", "wmt14_en_fr", "wmt14_en_fr_line", "wmt14_fr_en", "wmt14_fr_en_line", "nq_open",
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
        is_rolling = protocol["method"].startswith("rolling") or "one page" in str(
            protocol.get("texts")
        )
        assert ("stride" in protocol) == is_rolling


def test_paper_s_figures_stand_beside_published_bytes_only(found: Evaluation) -> None:
    assert all(not p["paper"] for p in found.protocols["protocols"].values())
    known = {"digest_known": True}
    assert paper.beside("ptb_detokenized", known)["perplexity_word"]["117M"] == 65.85
    assert paper.beside("ptb_raw", known) == {}
    assert paper.beside("ptb_detokenized", {"digest_known": False}) == {}


def test_paper_s_figures_do_not_stand_beside_a_share_of_a_set(
    found: Evaluation, folders: Folders
) -> None:
    told = found.protocols["protocols"]
    generated = {name for name, protocol in told.items() if "is_whole" in protocol}
    assert {"nq_open", "wmt14_fr_en", "coqa", "cnn_dailymail_lead3"} <= generated
    assert all(told[name]["is_whole"] for name in generated)
    fewer = evaluate.run(*folders, replace(CONFIG, max_generated_examples=1))
    some = fewer.protocols["protocols"]
    assert {name for name in generated if not some[name]["is_whole"]} == generated - {"coqa"}
    assert some["nq_open"]["n_units"] == fewer.figures["nq_open"]["n"] == 1
    scored = set(found.figures) - generated
    assert {name: found.figures[name] for name in scored} == {
        name: fewer.figures[name] for name in scored
    }


def test_matrix_has_a_row_for_each_figure_with_its_protocol(found: Evaluation) -> None:
    rows = found.protocols["matrix"]
    names = {(row["protocol"], row["figure"]) for row in rows}
    assert len(names) == len(rows)
    assert ("lambada_openai", "accuracy_last_token") in names
    assert ("wikitext2_raw_stride_8", "perplexity_word") in names
    for row in rows:
        protocol = found.protocols["protocols"][row["protocol"]]
        assert row["value"] == found.figures[row["protocol"]][row["figure"]]
        assert {row[key] == protocol.get(key) for key in evaluate.MATRIX_COLUMNS} == {True}
    strides = {row["stride"] for row in rows if row["protocol"].startswith("wikitext2_raw")}
    assert strides == {8, 32}
    harness = [row for row in rows if row["protocol"] == "lambada_openai_harness"]
    assert {row["bos"] for row in harness} == {"none"}


def test_paper_s_figures_name_figures_that_are_measured(found: Evaluation) -> None:
    for name, figures in PAPER.items():
        assert set(figures) <= set(found.figures[name])


def test_same_model_and_sets_give_the_same_figures(
    found: Evaluation, folders: Folders, tmp_path: Path
) -> None:
    assert evaluate.run(*folders[:3], tmp_path, CONFIG) == found


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
    fewer = evaluate.run(folders[0], tmp_path / "eval", folders[2], tmp_path / "store", CONFIG)
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


def test_running_text_is_scored_without_its_overlapping_articles(
    folders: Folders, tmp_path: Path
) -> None:
    """What is left are the other article's tokens, and the bits of both parts are those of all."""
    (tmp_path / "eval").mkdir()
    for path in folders[1].iterdir():
        (tmp_path / "eval" / path.name).write_bytes(path.read_bytes())
    file = tmp_path / "eval" / "wikitext2.parquet"
    row = pq.read_table(file).to_pylist()[0]
    texts = [" \n = One = \n \n a @-@ b , c \n \n", " = Two = \n \n the lamp \n"]
    rows = [row | {"text": text, "example_id": f"{i:03d}"} for i, text in enumerate(texts)]
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(file)), file)
    left = {}
    for i in (0, 1):
        counts = {("wikitext2", "000"): (4, 4 * i), ("wikitext2", "001"): (4, 4 - 4 * i)}
        make_overlap(tmp_path / f"overlap-{i}", counts)
        told = evaluate.run(
            folders[0], tmp_path / "eval", tmp_path / f"overlap-{i}", folders[3], CONFIG
        )
        left[i] = again(told, "wikitext2_raw")
        assert (left[i]["n_examples"], left[i]["n_overlapping"]) == (1, 1)
        assert left[i]["n_bytes"] == len(texts[i])
        assert again(told, "wikitext2_harness")["n_bytes"] == len(texts[i])
    bits = [told["bits_per_byte"] * told["n_bytes"] for told in left.values()]
    whole = told.figures["wikitext2_raw"]
    assert sum(bits) == pytest.approx(whole["bits_per_byte"] * whole["n_bytes"], rel=1e-4)
    assert sum(one["n_tokens"] for one in left.values()) == whole["n_tokens"]


def test_every_figure_of_quality_has_an_interval_that_holds_it(found: Evaluation) -> None:
    told = found.protocols["protocols"]
    n = 0
    for name, figures in found.figures.items():
        for key in [each for each in figures if f"{each}_low" in figures]:
            low, high = figures[f"{key}_low"], figures[f"{key}_high"]
            assert low <= figures[key] <= high
            n += 1
        assert told[name]["resampled"]
    assert n > 60
    assert {f"perplexity{end}" for end in ("_low", "_high")} <= set(found.figures["lambada_openai"])
    assert told["heldout"]["resampled"] == "documents"
    assert told["wikitext2_raw"]["resampled"] == "articles"
    assert told["text8"]["resampled"] == "blocks of 5,000 characters"


def test_scores_without_overlap_that_cannot_be_given_say_why(found: Evaluation) -> None:
    assert again(found, "ptb_raw") == {"absent": overlap.NOT_STUDIED}
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
    found = evaluate.run(folders[0], tmp_path / "eval", folders[2], tmp_path / "store", CONFIG)
    assert set(found.figures) == {HELDOUT, LASTWORD}
    assert set(found.protocols["absent"]) == {known.name for known in SETS}
    assert all(found.protocols["absent"].values())


def test_uniform_model_is_as_good_as_a_die(folders: Folders, tmp_path: Path) -> None:
    bpe.write(tmp_path / "bpe", [("Ġ", "t"), ("h", "e"), ("Ġt", "he")])
    hf.save(tmp_path / "pretrained", unigram([1.0] * 260, n_ctx=32), tmp_path / "bpe", 259)
    figures = evaluate.run(tmp_path / "pretrained", *folders[1:], CONFIG).figures
    for name in ("heldout", "ptb_raw", "wikitext2_detokenized", "one_billion_sentences", "text8"):
        assert figures[name]["perplexity_token"] == pytest.approx(260, rel=1e-5)
    assert figures["winograd"]["accuracy_partial"] == 0.0  # ties are wrong
    assert figures["lambada_openai"]["accuracy"] == 0.0
    # One-letter targets: a blank and a letter, two tokens.
    assert figures["lambada_openai"]["perplexity"] == pytest.approx(260**2, rel=1e-5)


def test_missing_inputs_name_the_command(folders: Folders, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="dvc repro train"):
        evaluate.run(tmp_path, *folders[1:], CONFIG)
    with pytest.raises(FileNotFoundError, match="dvc repro evalsets"):
        evaluate.run(folders[0], tmp_path, *folders[2:], CONFIG)
    with pytest.raises(ManifestError, match="dvc repro decontaminate"):
        evaluate.run(*folders[:2], tmp_path, folders[3], CONFIG)


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

"""Decontamination over shard folders: the paper's percentage by hand, removal, pass-through."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine
from pipeline.overlap import decontaminate, evalgrams, forward
from pipeline.overlap.decontaminate import Config, Outputs
from pipeline.overlap.evalgrams import Grams
from pipeline.overlap.spans import Cutting
from pipeline.store import manifest, metrics, records
from pipeline.store.errors import ManifestError, ShardError

_CUTTING = Cutting(min_words=8, margin_chars=0, min_piece_chars=3, max_pieces=3)
_REMOVE = Config(
    remove="document",
    max_overlap_frac=0.5,
    max_matched_ngrams=3,
    span=_CUTTING,
    filter="reverse",
    max_fp=1e-8,
    forward=forward.Config(partitions=3, max_bytes=10**6),
)
_REPORT = replace(_REMOVE, remove="none")
_UNIQUE, _EVAL, _CORPUS = Path("data/unique"), Path("data/eval"), Path("data/corpus")
_OVERLAP = Path("data/overlap")

# Nine words, so two 8-grams: "one ... eight" and "two ... nine".
_NINE = "one two three four five six seven eight nine"
_TEN = "alpha beta gamma delta epsilon zeta eta theta iota kappa"


def _run(config: Config, engine: Engine) -> dict[str, Any]:
    return decontaminate.run(_UNIQUE, _EVAL, Outputs(_CORPUS, _OVERLAP), config, engine)


def _rows(side: str) -> list[dict[str, Any]]:
    paths = manifest.load(_CORPUS, "decontaminate").paths(side)
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_run_percentage_by_hand(write_unique, write_eval, inline: Engine) -> None:
    write_eval({"ptb": [_NINE, _NINE], "own": [_TEN], "short": ["too short"]})
    write_unique(
        [
            # Shard 0 has the first 8-gram of _NINE, shard 1 the same and two of _TEN's three.
            (["And: ONE two, three-four five six (seven) eight! Then"], []),
            (["one two three four five six seven eight", f"x {_TEN[:-6]} y"], []),
        ]
    )
    sets = _run(_REPORT, inline)["sets"]
    assert sets["ptb"] == {
        "n_examples": 2,
        "n_too_short": 0,
        "n_8grams": 2,
        "n_found": 1,
        "percent": 50.0,
        "n_left": 1,
        "percent_left": 50.0,
        "paper_percent": 0.88,
        "paper_percent_own_train": 2.67,
    }
    told = {key: sets["own"][key] for key in ("n_examples", "n_8grams", "n_found", "percent")}
    assert told == {"n_examples": 1, "n_8grams": 3, "n_found": 2, "percent": 66.6667}
    told = {key: sets["short"][key] for key in ("n_too_short", "n_8grams", "n_found", "percent")}
    assert told == {"n_too_short": 1, "n_8grams": 0, "n_found": 0, "percent": 0.0}


def test_run_validation_text_counts_for_nothing_and_passes_through(
    write_unique, write_eval, inline: Engine
) -> None:
    write_eval({"held_out": [_NINE]})
    write_unique([(["nothing of it here"], [_NINE])])
    figures = _run(_REMOVE, inline)
    assert figures["sets"]["held_out"]["n_found"] == 0
    assert figures["counts"] == {"n_in": 2, "n_out": 2, "dropped": {}}
    (row,) = _rows("valid")
    assert (row["text"], row["overlap_frac"]) == (_NINE, 1.0)


def test_run_removal_drops_by_share_or_by_count_and_says_why(
    write_unique, write_eval, inline: Engine
) -> None:
    write_eval({"a": [_NINE], "b": [_TEN, f"{_NINE} ten eleven twelve"]})
    filler = " ".join(f"f{i}" for i in range(100))
    texts = [
        filler,
        f"{filler} {_NINE}",  # 2 shared 8-grams of 102: allowed
        f"{filler} {_NINE} ten eleven twelve",  # 5 with one example: too many
        _NINE,  # all of it
        f"{filler} {_NINE} and {_TEN}",  # 5 in all, 3 with one example at most: allowed
    ]
    write_unique([(texts[:3], []), (texts[3:], [])])
    figures = _run(_REMOVE, inline)
    assert figures["counts"] == {"n_in": 5, "n_out": 3, "dropped": {"contaminated": 2}}
    assert [row["text"] for row in _rows("train")] == [texts[0], texts[1], texts[4]]
    details = sorted(row["detail"] for row in _rows("decisions"))
    assert details == [
        "set=a example_id=a-0 8grams=2 overlap_frac=1.0000",
        f"set=b example_id=b-1 8grams=5 overlap_frac={5 / 105:.4f}",
    ]
    assert {row["excerpt"] for row in _rows("decisions")} == {texts[2][:400], texts[3]}


def test_run_share_of_exactly_the_limit_is_allowed(
    write_unique, write_eval, inline: Engine
) -> None:
    # 2 of 10 8-grams; 0.2 as a float32 is a little more than 0.2.
    write_eval({"a": [_NINE]})
    write_unique([([f"{_NINE} a b c d e f g h"], [])])
    limit = replace(_REMOVE, max_overlap_frac=0.2)
    assert _run(limit, inline)["counts"]["n_out"] == 1
    below = replace(_REMOVE, max_overlap_frac=0.19)
    assert _run(below, inline)["counts"]["dropped"] == {"contaminated": 1}


def test_run_report_only_keeps_and_measures_the_same(
    write_unique, write_eval, inline: Engine
) -> None:
    write_eval({"a": [_NINE]})
    write_unique([([_NINE, "clean text"], [])])
    reported = _run(_REPORT, inline)
    kept = [(row["text"], row["overlap_frac"]) for row in _rows("train")]
    removed = _run(_REMOVE, inline)
    assert kept == [(_NINE, 1.0), ("clean text", 0.0)]
    for before, after in ((reported, 2), (removed, 0)):
        told = before["sets"]["a"]
        assert (told["n_8grams"], told["n_found"], told["n_left"]) == (2, 2, after)
    assert reported["tally"]["n_contaminated"] == removed["tally"]["n_contaminated"] == 1
    assert reported["most_overlap"] == removed["most_overlap"]
    assert reported["most_overlap"][0]["allowed"] is False


def test_run_schema_is_the_contract_and_counts_are_conserved(
    write_unique, write_eval, inline: Engine
) -> None:
    write_eval({"a": [_NINE]})
    write_unique([([_NINE], ["v"]), ([], [])])
    figures = _run(_REMOVE, inline)
    folder = manifest.load(_CORPUS, "decontaminate")
    for side in ("train", "valid"):
        assert [pq.read_schema(p).equals(records.CORPUS) for p in folder.paths(side)] == [True] * 2
    counts = figures["counts"]
    assert counts["n_in"] == counts["n_out"] + sum(counts["dropped"].values()) == 2


def test_run_filter_check_is_in_the_figures(write_unique, write_eval, inline: Engine) -> None:
    write_eval({"a": [_NINE]})
    write_unique([([_NINE + " ten"], [])])
    figures = _run(_REPORT, inline)
    tally = figures["tally"]
    assert (tally["n_random_keys"], tally["n_random_keys_found"]) == (1_000_000, 0)
    assert (tally["n_filter_keys"], tally["n_lookups"], tally["n_false_lookups"]) == (2, 3, 0)
    metrics.write("decontaminate", figures)
    assert json.loads(Path("metrics/decontaminate.json").read_text())["sets"]["a"]["n_found"] == 2


def test_run_index_that_lost_rows_is_refused(
    write_unique, write_eval, inline: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = evalgrams.collect
    monkeypatch.setattr(evalgrams, "collect", lambda t: Grams(*(a[:-1] for a in sound(t))))
    write_eval({"a": [_NINE]})
    write_unique([([_NINE], [])])
    with pytest.raises(ShardError, match="decontaminate self-test: only 1 of 2 8-grams"):
        _run(_REMOVE, inline)


def test_run_threshold_change_scans_nothing_again(write_unique, write_eval, inline: Engine) -> None:
    write_eval({"a": [_NINE]})
    write_unique([([_NINE], [])])
    _run(_REPORT, inline)
    scans = [p.stat().st_mtime_ns for p in Path(".shards/decontaminate-scan").glob("*/*")]
    _run(_REMOVE, inline)
    assert [p.stat().st_mtime_ns for p in Path(".shards/decontaminate-scan").glob("*/*")] == scans


def test_run_any_order_of_completion_gives_the_same_bytes(
    write_unique, write_eval, shuffled
) -> None:
    rng = random.Random(0)
    words = [f"w{i}" for i in range(30)]
    write_eval({name: [" ".join(rng.choices(words, k=40)) for _ in range(5)] for name in "abc"})
    text = [[" ".join(rng.choices(words, k=60)) for _ in range(4)] for _ in range(8)]
    write_unique([(text[i], text[i + 4]) for i in range(4)])
    seen = []
    for seed in (1, 2):
        figures = _run(_REMOVE, shuffled(seed))
        seen.append((figures, manifest.load(_CORPUS, "decontaminate").root))
        for path in sorted(Path(".shards").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    assert seen[0] == seen[1]


def test_run_without_any_set_keeps_everything(write_unique, write_eval, inline: Engine) -> None:
    write_eval({})
    write_unique([([_NINE], ["v"])])
    figures = _run(_REMOVE, inline)
    assert figures["counts"] == {"n_in": 2, "n_out": 2, "dropped": {}}
    assert figures["sets"] == {}


def test_run_hostile_texts_are_data(write_unique, write_eval, inline: Engine) -> None:
    write_eval({"a": [_NINE, "", "\x00", "x" * 10**6]})
    write_unique([(["", "x" * 10**6, "中" * 10**5, "a " * 10**6, f"{_NINE} " * 10**4], [])])
    figures = _run(_REMOVE, inline)
    assert figures["counts"] == {"n_in": 5, "n_out": 5, "dropped": {}}
    # The last text has the nine rotations of _NINE as 8-grams, two of which the set has.
    assert [round(row["overlap_frac"], 4) for row in _rows("train")] == [0, 0, 0, 0, 0.2222]


def test_run_missing_sets_name_the_command(write_unique, inline: Engine) -> None:
    write_unique([([_NINE], [])])
    with pytest.raises(FileNotFoundError, match="dvc repro evalsets"):
        _run(_REMOVE, inline)


def test_run_missing_input_names_the_command(workspace: Path, inline: Engine) -> None:
    with pytest.raises(ManifestError, match="dvc repro dedup"):
        _run(_REMOVE, inline)


def test_run_real_test_set_in_a_document_is_found_in_full(
    write_unique, write_eval, inline: Engine, real_data: Path
) -> None:
    """PTB as one document of the corpus: 100 % found; WikiText-2 shares next to nothing with it."""
    ptb = (real_data / "eval/ptb/ptb.test.txt").read_text()
    wikitext = (real_data / "eval/wikitext-2/wiki.test.tokens").read_text()
    write_eval({"ptb": ptb.splitlines(), "wikitext-2": [wikitext]})
    write_unique([([ptb, "unrelated"], [])])
    sets = _run(_REPORT, inline)["sets"]
    assert sets["ptb"]["percent"] == 100.0
    assert sets["ptb"]["n_8grams"] > 40_000
    assert sets["wikitext-2"]["percent"] < 0.1


@pytest.mark.parametrize(
    ("key", "value"), [("max_overlap_frac", 1.5), ("max_matched_ngrams", -1), ("max_fp", 0.0)]
)
def test_config_value_out_of_range_is_named(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{key} is {value}; expected"):
        replace(_REMOVE, **{key: value})

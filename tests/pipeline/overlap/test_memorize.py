"""Generated text against the corpus: shares by hand, distributions, the longest run's document."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.tasks import Engine
from pipeline.overlap import decontaminate, forward, memorize
from pipeline.overlap.decontaminate import Outputs
from pipeline.overlap.memorize import Config, Memorized, cdf
from pipeline.overlap.spans import Cutting
from pipeline.store import manifest, records, shards
from pipeline.store.errors import ManifestError

_SAMPLES, _CORPUS, _OUTPUT = Path("samples"), Path("data/corpus"), Path("data/memorize")
_CONFIG = Config(max_fp=1e-8, n_longest=2)
_NINE = "one two three four five six seven eight nine"
_TEN = "alpha beta gamma delta epsilon zeta eta theta iota kappa"


def _write_texts(sets: dict[str, list[str]]) -> None:
    rows = [
        {"set": name, "split": "sample", "example_id": str(i), "text": text, "fields": "{}"}
        for name, texts in sets.items()
        for i, text in enumerate(texts)
    ]
    _SAMPLES.mkdir(exist_ok=True)
    made = pa.Table.from_pylist(rows, records.EVAL)
    shards.write_table(_SAMPLES / memorize.TEXTS, made)


def _make_corpus(write_unique, write_eval, engine: Engine, parts: list[Any]) -> None:
    write_eval({"none": ["nothing of it"]})
    config = decontaminate.Config(
        remove="document",
        max_overlap_frac=0.5,
        max_matched_ngrams=3,
        span=Cutting(min_words=8, margin_chars=0, min_piece_chars=1, max_pieces=9),
        filter="reverse",
        max_fp=1e-8,
        forward=forward.Config(partitions=2, max_bytes=10**6),
    )
    outputs = Outputs(_CORPUS, Path("data/overlap"))
    decontaminate.run(write_unique(parts), Path("data/eval"), outputs, config, engine)


def _run(engine: Engine, config: Config = _CONFIG) -> Memorized:
    return memorize.run(_SAMPLES, _CORPUS, _OUTPUT, config, engine)


def test_run_shares_by_hand(write_unique, write_eval, inline: Engine) -> None:
    _make_corpus(
        write_unique,
        write_eval,
        inline,
        [([f"It said: {_NINE}.", "x"], [_TEN]), ([f"{_TEN[:-6]} too"], [])],
    )
    _write_texts(
        {
            # 2 of 2; 2 of 3; 0 of 1; no 8-gram
            "generated": [_NINE, _TEN, "a b c d e f g h", "too short"],
            "held_out": [f"{_NINE} ten", "i j k l m n o p"],
            "gallery_greedy": ["", "one two three four five six seven eight"],
        }
    )
    found = _run(inline)
    assert found.figures["sets"]["generated"] == {
        "n_texts": 4,
        "n_too_short": 1,
        "n_8grams": 6,
        "n_found": 4,
        "longest_words": 9,
        "mean_percent": round(100 * (1 + 2 / 3) / 3, 4),
        "median_percent": 66.6667,
        "p90_percent": round(100 * (2 / 3 + 0.8 * (1 / 3)), 4),
        "max_percent": 100.0,
        "none_frac": 0.3333,
        "below_1_percent_frac": 0.3333,
    }
    assert found.figures["sets"]["gallery_greedy"]["mean_percent"] == 100.0
    assert found.cdf == [
        {"overlap_percent": 0.0, "generated": 0.333333, "held_out": 0.5},
        {"overlap_percent": 66.6667, "generated": 0.666667, "held_out": 1.0},
        {"overlap_percent": 100.0, "generated": 1.0, "held_out": 1.0},
    ]


def test_run_longest_runs_come_with_their_documents(
    write_unique, write_eval, inline: Engine
) -> None:
    texts = [f"It said: {_NINE}.", f"And {_TEN}!"]
    _make_corpus(write_unique, write_eval, inline, [([text], []) for text in texts])
    _write_texts({"generated": [_NINE, f"so {_TEN}", "none of it"], "held_out": [f"{_TEN} x"]})
    told = _run(inline).figures["longest"]
    rows = [
        row
        for path in manifest.load(_CORPUS, "decontaminate").paths("train")
        for row in pq.read_table(path).to_pylist()
    ]
    by_text = {row["text"]: row for row in rows}
    assert [(row["example_id"], row["n_words"], row["text"]) for row in told] == [
        ("1", 10, _TEN),
        ("0", 9, _NINE),
    ]
    for row, text in zip(told, texts[::-1], strict=True):
        assert (row["doc_id"], row["url"]) == (by_text[text]["doc_id"], by_text[text]["url"])
        assert row["text"] in text
    assert len(_run(inline, replace(_CONFIG, n_longest=1)).figures["longest"]) == 1


def test_run_validation_text_is_no_training_text(write_unique, write_eval, inline: Engine) -> None:
    _make_corpus(write_unique, write_eval, inline, [(["other"], [_NINE])])
    _write_texts({"generated": [_NINE]})
    assert _run(inline).figures["sets"]["generated"]["n_found"] == 0


def test_run_order_of_completion_changes_nothing(write_unique, write_eval, shuffled) -> None:
    parts = [([f"{i} {_NINE}", f"{i} {_TEN}"], []) for i in range(4)]
    _make_corpus(write_unique, write_eval, shuffled(0), parts)
    _write_texts({"generated": [_NINE, _TEN], "held_out": [_NINE]})
    assert _run(shuffled(1)) == _run(shuffled(2))
    roots = set()
    for seed in (3, 4):
        for path in sorted(Path(".shards").glob("memorize*/*/*")):
            path.unlink()
        _run(shuffled(seed))
        roots.add(manifest.load(_OUTPUT, "memorize").root)
    assert len(roots) == 1


def test_run_without_texts_or_without_continuations_is_no_failure(
    write_unique, write_eval, inline: Engine
) -> None:
    _make_corpus(write_unique, write_eval, inline, [([_NINE], [])])
    _write_texts({})
    found = _run(inline)
    assert found.figures == {"sets": {}, "longest": []}
    assert found.cdf == [{"overlap_percent": 0.0}, {"overlap_percent": 100.0}]
    _write_texts({"generated": ["", "short"]})
    assert _run(inline).figures["sets"]["generated"]["n_too_short"] == 2


def test_run_missing_inputs_name_the_command(write_unique, write_eval, inline: Engine) -> None:
    with pytest.raises(ManifestError, match="dvc repro decontaminate"):
        _run(inline)
    _make_corpus(write_unique, write_eval, inline, [([_NINE], [])])
    with pytest.raises(FileNotFoundError, match="dvc repro sample"):
        _run(inline)


@given(st.lists(st.floats(0, 1), max_size=20), st.lists(st.floats(0, 1), max_size=20))
def test_cdf_is_the_part_at_or_below_and_ends_at_one(a: list[float], b: list[float]) -> None:
    rows = cdf({"generated": np.array(a), "held_out": np.array(b)})
    steps = sorted({0.0, 1.0, *a, *b})
    assert [row["overlap_percent"] for row in rows] == [round(100 * step, 4) for step in steps]
    for name, shares in (("generated", a), ("held_out", b)):
        assert all((name in row) == bool(shares) for row in rows)
        for step, row in zip(steps, rows, strict=True):
            if shares:
                part = sum(share <= step for share in shares) / len(shares)
                assert row[name] == pytest.approx(part, abs=1e-6)


def test_write_cdf_is_a_list_that_plots_read(workspace: Path) -> None:
    rows = [{"overlap_percent": 0.0, "generated": 0.5}]
    memorize.write_cdf(workspace / "cdf.json", rows)
    assert json.loads((workspace / "cdf.json").read_bytes()) == rows


@pytest.mark.parametrize(("key", "value"), [("max_fp", 0.0), ("n_longest", -1)])
def test_config_value_out_of_range_is_named(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{key} is {value}; expected"):
        replace(_CONFIG, **{key: value})

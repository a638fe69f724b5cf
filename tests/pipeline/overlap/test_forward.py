"""The forward filter gives the reverse one's answers, within its rate and its budget."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine
from pipeline.overlap import bloom, decontaminate, forward
from pipeline.overlap.decontaminate import Config, Outputs
from pipeline.overlap.spans import Cutting
from pipeline.overlap.words import sequence
from pipeline.store import manifest

_UNIQUE, _EVAL = Path("data/unique"), Path("data/eval")
_OUTPUTS = Outputs(Path("data/corpus"), Path("data/overlap"))
_FORWARD = Config(
    remove="none",
    max_overlap_frac=0.5,
    max_matched_ngrams=3,
    span=Cutting(min_words=8, margin_chars=0, min_piece_chars=1, max_pieces=9),
    filter="forward",
    max_fp=1e-8,
    forward=forward.Config(partitions=3, max_bytes=10**6),
)


def _run(config: Config, engine: Engine) -> dict[str, Any]:
    return decontaminate.run(_UNIQUE, _EVAL, _OUTPUTS, config, engine)


def _lay_out(write_unique, write_eval) -> None:
    """Random texts of few words, so that many 8-grams are shared and many are not."""
    rng = random.Random(5)
    vocabulary = [f"w{i}" for i in range(6)]

    def text(n: int) -> str:
        return " ".join(rng.choices(vocabulary, weights=[30, 1, 1, 1, 1, 1], k=n))

    write_eval({name: [text(40) for _ in range(8)] for name in ("one", "two")})
    write_unique([([text(200) for _ in range(6)], [text(50)]) for _ in range(3)])


def test_forward_gives_the_percentages_of_the_reverse_filter(
    write_unique, write_eval, inline: Engine
) -> None:
    _lay_out(write_unique, write_eval)
    ahead = _run(_FORWARD, inline)
    back = _run(replace(_FORWARD, filter="reverse"), inline)
    assert ahead["sets"] == back["sets"]
    assert all(0 < told["n_found"] < told["n_8grams"] for told in back["sets"].values())
    assert ahead["tally"]["n_filter_false"] == 0


def test_forward_figures_state_keys_bytes_rate_and_check(
    write_unique, write_eval, inline: Engine
) -> None:
    _lay_out(write_unique, write_eval)
    told = _run(_FORWARD, inline)["forward"]
    distinct = set()
    for path in manifest.load(_UNIQUE, "dedup").paths("train"):
        for text in pq.read_table(path)["text"].to_pylist():
            split = text.split()
            distinct |= {tuple(split[i : i + 8]) for i in range(len(split) - 7)}
    assert told["n_corpus_8grams"] == len(distinct)
    assert told["n_bytes"] * 8 == told["n_bits"]
    assert 0 < told["n_bits_set"] < told["n_bits"]
    assert 0 < told["max_fp"] <= 1e-8
    assert told["n_random_keys"] == 3_000_000
    assert told["n_random_keys_found"] <= 1  # 0.03 are expected


def test_forward_filter_that_is_often_wrong_says_so_within_its_rate(
    write_unique, write_eval, inline: Engine
) -> None:
    write_eval({"s": [" ".join(f"t{i}" for i in range(4000))]})
    write_unique(
        [([" ".join(f"d{i}" for i in range(3000)), " ".join(f"t{i}" for i in range(100))], [])]
    )
    figures = _run(replace(_FORWARD, max_fp=0.1), inline)
    told, wrong = figures["sets"]["s"], figures["tally"]["n_filter_false"]
    assert told["n_8grams"] == 3993
    assert told["n_found"] == 93 + wrong
    assert told["n_left"] == 93  # the scan's, exact
    n, p = 3900, figures["forward"]["max_fp"]
    assert 0 < wrong < n * p + 5 * (n * p) ** 0.5


@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_forward_any_number_of_ranges_gives_the_same_answers(
    write_unique, write_eval, shuffled, partitions: int
) -> None:
    _lay_out(write_unique, write_eval)
    ranges = forward.Config(partitions=partitions, max_bytes=10**6)
    tables = []
    for config in (_FORWARD, replace(_FORWARD, forward=ranges)):
        sets = _run(config, shuffled(partitions))["sets"]
        (found,) = Path(".shards/decontaminate-query").glob("*/found.parquet")
        tables.append((sets, pq.read_table(found)["hash"].to_pylist()))
    assert tables[0] == tables[1]
    assert tables[0][1] == sorted(tables[0][1])


def test_forward_set_that_is_added_reads_no_document_again(
    write_unique, write_eval, inline: Engine
) -> None:
    _lay_out(write_unique, write_eval)
    _run(_FORWARD, inline)
    kept = {p: p.stat().st_mtime_ns for p in Path(".shards/decontaminate-build").glob("*/*")}
    write_eval({"three": ["w0 " * 20]})
    assert _run(_FORWARD, inline)["sets"]["three"]["n_found"] == 1
    assert {
        p: p.stat().st_mtime_ns for p in Path(".shards/decontaminate-build").glob("*/*")
    } == kept


def test_forward_corpus_beyond_the_budget_is_refused_before_a_filter_is_built(
    write_unique, write_eval, inline: Engine
) -> None:
    _lay_out(write_unique, write_eval)
    small = replace(_FORWARD, forward=forward.Config(partitions=3, max_bytes=1000))
    with pytest.raises(
        ValueError, match=r"distinct 8-grams, .* \d+ bytes; .*max_bytes allows 1000"
    ) as e:
        _run(small, inline)
    assert "filter: reverse" in str(e.value)
    assert not Path(".shards/decontaminate-build").exists()


def test_n_bytes_is_the_size_of_the_filters_that_are_built() -> None:
    for n in (0, 1, 1000, 50_000):
        assert 8 * len(bloom.build(sequence(n, n), 1e-8).bits) == forward.n_bytes([n], 1e-8)


def test_forward_empty_corpus_and_empty_sets_find_nothing(
    write_unique, write_eval, inline: Engine
) -> None:
    write_eval({"s": ["too short"]})
    write_unique([([], []), (["a b c"], [])])
    figures = _run(_FORWARD, inline)
    assert figures["forward"]["n_corpus_8grams"] == 0
    assert figures["sets"]["s"]["n_found"] == 0


def test_cuts_split_the_hash_space_into_equal_ranges() -> None:
    keys = np.sort(sequence(3, 10_000))
    for n in (1, 2, 3, 64):
        parts = np.split(keys, forward._cuts(keys, n))
        assert len(parts) == n
        for number, part in enumerate(parts):
            assert all(int(key) * n >> 64 == number for key in part[[0, -1]])


@pytest.mark.parametrize(("key", "value"), [("partitions", 0), ("max_bytes", 0)])
def test_config_value_out_of_range_is_named(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{key} is {value}; expected"):
        replace(_FORWARD.forward, **{key: value})

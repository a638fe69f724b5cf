"""Removal by span: what is cut, what is kept, and that nothing beyond a threshold stays."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine
from pipeline.overlap import decontaminate, forward
from pipeline.overlap.decontaminate import Config, Outputs
from pipeline.overlap.spans import Cutting
from pipeline.store import manifest, records

_UNIQUE, _EVAL, _CORPUS = Path("data/unique"), Path("data/eval"), Path("data/corpus")
_NINE = "one two three four five six seven eight nine"
_SPAN = Config(
    remove="span",
    max_overlap_frac=0.5,
    max_matched_ngrams=1,
    span=Cutting(min_words=8, margin_chars=0, min_piece_chars=4, max_pieces=3),
    filter="reverse",
    max_fp=1e-8,
    forward=forward.Config(partitions=2, max_bytes=10**6),
)


def _run(config: Config, engine: Engine) -> dict[str, Any]:
    outputs = Outputs(_CORPUS, Path("data/overlap"))
    return decontaminate.run(_UNIQUE, _EVAL, outputs, config, engine)


def _rows(side: str) -> list[dict[str, Any]]:
    paths = manifest.load(_CORPUS, "decontaminate").paths(side)
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def _filler(name: str, n: int) -> str:
    return " ".join(f"{name}{i}" for i in range(n))


def test_span_is_cut_and_the_pieces_stay(write_unique, write_eval, inline: Engine) -> None:
    write_eval({"a": ["not in it", f"so: {_NINE}"]})
    before, after = f"Begin. {_filler('b', 5)}", f"{_filler('e', 5)}\nEnd."
    text = f'{before} "One, TWO three\nfour five six seven (eight) nine!" {after}'
    write_unique([([text, "untouched"], [_NINE])])
    figures = _run(_SPAN, inline)
    assert figures["counts"] == {"n_in": 3, "n_out": 3, "dropped": {}}
    cut, untouched = _rows("train")
    assert cut["text"] == f"{before}\n\n{after}"
    assert (cut["n_chars"], cut["n_words"]) == (len(cut["text"]), 12)
    assert cut["overlap_frac"] == 0.0
    assert untouched["text"] == "untouched"
    assert [row["text"] for row in _rows("valid")] == [_NINE]
    (span,) = _rows("spans")
    start = text.index("One,")
    assert span == {
        "doc_id": cut["doc_id"],
        "start_char": start,
        "end_char": text.index("!"),
        "n_words": 9,
        "set": "a",
        "example_id": "a-1",
        "example_word": 1,
        "n_shared": 2,
        "is_cut": True,
        "text": text[start : text.index("!")],
    }
    tally = figures["tally"]
    assert (tally["n_contaminated"], tally["n_cut_documents"]) == (1, 1)
    assert tally["n_cut_chars"] == len(text) - len(cut["text"])
    told = figures["sets"]["a"]
    assert (told["n_8grams"], told["n_found"], told["n_left"]) == (3, 2, 0)


def test_span_of_an_allowed_document_is_listed_and_not_cut(
    write_unique, write_eval, inline: Engine
) -> None:
    write_eval({"a": [_NINE]})
    text = f"{_filler('b', 9)} {_NINE[:-5]} {_filler('e', 9)}"  # one 8-gram
    write_unique([([text], [])])
    figures = _run(_SPAN, inline)
    assert [row["text"] for row in _rows("train")] == [text]
    assert [row["is_cut"] for row in _rows("spans")] == [False]
    assert figures["tally"].get("n_cut_documents", 0) == 0
    assert figures["sets"]["a"]["n_left"] == 1


@pytest.mark.parametrize(
    ("cutting", "pieces"),
    [
        ({}, 0),  # the pieces, three characters each, are too short
        ({"min_piece_chars": 1, "max_pieces": 1}, 2),
        ({"min_piece_chars": 1, "min_words": 10}, 1),  # nothing is long enough to be cut
    ],
)
def test_span_document_that_cannot_be_saved_is_dropped_with_its_reason(
    write_unique, write_eval, inline: Engine, cutting: dict[str, int], pieces: int
) -> None:
    write_eval({"a": [_NINE]})
    write_unique([([f"bbb {_NINE} eee"], [])])
    figures = _run(replace(_SPAN, span=replace(_SPAN.span, **cutting)), inline)
    assert figures["counts"] == {"n_in": 1, "n_out": 0, "dropped": {"contaminated": 1}}
    (decision,) = _rows("decisions")
    assert decision["detail"].startswith("set=a example_id=a-0 8grams=2 overlap_frac=0.5")
    assert decision["detail"].endswith(f"pieces={pieces}")
    assert [row["is_cut"] for row in _rows("spans")] == [False]
    assert figures["sets"]["a"]["n_left"] == 0


def test_span_margin_goes_too(write_unique, write_eval, inline: Engine) -> None:
    write_eval({"a": [_NINE]})
    write_unique([([f"{_filler('b', 9)} near {_NINE} close {_filler('e', 9)}"], [])])
    _run(replace(_SPAN, span=replace(_SPAN.span, margin_chars=3)), inline)
    (row,) = _rows("train")
    assert row["text"] == f"{_filler('b', 9)}\n\n{_filler('e', 9)}"


@pytest.mark.parametrize("remove", ["document", "span"])
def test_no_document_beyond_a_threshold_stays_and_all_are_accounted_for(
    write_unique, write_eval, inline: Engine, remove: str
) -> None:
    """Random texts of few words; what stays is measured again by a study of the outcome."""
    rng = random.Random(3)
    vocabulary = [f"w{i}" for i in range(8)]

    def text(n: int) -> str:
        return " ".join(rng.choices(vocabulary, weights=[40, *[2] * 7], k=n))

    write_eval({"s": [text(60) for _ in range(6)]})
    texts = [[f"{_filler(f'd{i}', 40)} {text(30)} {_filler(f'f{i}', 40)}" for i in range(s, s + 12)]
             for s in (0, 12)]  # fmt: skip
    write_unique([(some, []) for some in texts])
    config = replace(_SPAN, remove=remove, max_overlap_frac=0.04)
    figures = _run(config, inline)
    n_dropped = sum(figures["counts"]["dropped"].values())
    n_cut = figures["tally"].get("n_cut_documents", 0)
    assert figures["tally"]["n_contaminated"] == n_dropped + n_cut > 5
    assert (n_cut > 0) == (remove == "span")
    kept = _rows("train")
    assert figures["counts"]["n_in"] == len(kept) + n_dropped == 24
    cut_ids = {row["doc_id"] for row in _rows("spans") if row["is_cut"]}
    assert len(cut_ids) == n_cut
    assert cut_ids <= {row["doc_id"] for row in kept}
    schema = pq.read_schema(manifest.load(_CORPUS, "decontaminate").paths("train")[0])
    assert schema.equals(records.CORPUS)
    before = figures["sets"]["s"]
    write_unique([([row["text"] for row in kept], [])])
    again = _run(replace(config, remove="none"), inline)
    assert again["tally"].get("n_contaminated", 0) == 0
    assert again["sets"]["s"]["n_found"] == before["n_left"] < before["n_found"]


def test_span_of_a_huge_document_of_one_phrase_is_handled(
    write_unique, write_eval, inline: Engine
) -> None:
    write_eval({"a": [_NINE] * 50})
    write_unique([([f"{_NINE} " * 3000 + _filler("e", 20), "中" * 10**5], [])])
    figures = _run(_SPAN, inline)
    assert figures["counts"]["dropped"] == {}
    assert [row["text"][:3] for row in _rows("train")] == ["e0 ", "中中中"]
    assert len(_rows("spans")) == 3000

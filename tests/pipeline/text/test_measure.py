"""Scores of documents, whatever they hold."""

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import lines, measure
from pipeline.text.judge import judge
from pipeline.text.normalize import regular
from tests.pipeline.text.configs import CLEAN, LINES, MEASURE

_STRICT = replace(
    MEASURE,
    lines=lines.Config(
        terminal=True, min_words=3, policy=True, long_words=True, max_upper_frac=0.5, counters=True
    ),
)


def _score(text: str, config: measure.Config) -> dict[str, object]:
    pruned = measure.prune(text, "x.test", frozenset(), config)
    document = {"doc_id": "0a", "host": "x.test", "text": text}
    scores = measure.score(document, pruned, config)
    pa.Table.from_pylist([scores], measure.SCHEMA).validate(full=True)
    judge("x.test", scores, CLEAN.limits())
    return scores


@settings(deadline=None)
@given(st.text(max_size=300))
def test_score_any_text_is_measured_and_judged(text: str) -> None:
    for config in (MEASURE, _STRICT):
        scores = _score(regular(text), config)
        assert scores["n_chars"] <= len(text)  # type: ignore[operator]
        assert 0 <= scores["removed_words_frac"] <= 1  # type: ignore[operator]


@pytest.mark.parametrize(
    "text", ["", "a", "\n" * 10, "a" * 1_000_000, "é " * 300_000, "1\n" * 300_000, "{" * 1_000_000]
)
def test_score_odd_document_is_measured_and_judged(text: str) -> None:
    _score(text, MEASURE)
    _score(text, _STRICT)


def test_prune_removed_lines_are_named_and_the_rest_stays_regular() -> None:
    config = replace(MEASURE, lines=replace(LINES, counters=True))
    pruned = measure.prune(
        "One line.\n\n3 likes\n\n17\n\nOther line.", "x.test", frozenset(), config
    )
    assert pruned.text == "One line.\n\nOther line."
    assert pruned.ruled == {2, 4}

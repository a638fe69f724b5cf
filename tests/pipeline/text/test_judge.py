"""Decisions on measured documents."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.store.records import Drop
from pipeline.text import measure
from pipeline.text.clean import Config
from pipeline.text.judge import judge
from tests.pipeline.text.configs import CLEAN, LINES, MEASURE, PROSE

_NUMBERS = "The word and the number: 1 2 3 4 5 6 7 8 9 0. " * 7


def _decide(text: str, host: str, config: Config = CLEAN, **changes: Any) -> Drop | None:
    settings = replace(MEASURE, **changes)
    document = {"doc_id": "0a", "host": host, "text": text}
    pruned = measure.prune(text, host, frozenset(), settings)
    return judge(host, measure.score(document, pruned, settings), config.limits())


@pytest.mark.parametrize(
    ("text", "host", "reason"),
    [
        ("", "x.test", "empty"),
        (PROSE, "wikipedia.org", "wikipedia"),
        (PROSE, "en.wikipedia.org", "wikipedia"),
        (PROSE, "www.gutenberg.org", "evaluation_source"),
        ("short", "wikipedia.org", "wikipedia"),
        ("short", "x.test", "too_short"),
        (PROSE * 300, "x.test", "too_long"),
        ("Es war einmal ein König, der hatte drei Söhne und ein Land. " * 5, "x.test", "language"),
        (_NUMBERS, "x.test", "gopher_min_mean_word_chars"),
        (PROSE * 2, "x.test", "repetition_max_copied_lines_frac"),
        (PROSE + "Lorem ipsum dolor sit amet.", "x.test", "c4_max_lorem_ipsum"),
    ],
)  # fmt: skip
def test_judge_document_with_a_fault_is_dropped_for_it(text: str, host: str, reason: str) -> None:
    drop = _decide(text, host)
    assert drop is not None
    assert drop.reason == reason


@pytest.mark.parametrize("host", ["x.test", "notwikipedia.org", "wikipedia.org.x.test"])
def test_judge_prose_is_kept(host: str) -> None:
    assert _decide(PROSE, host) is None


def test_judge_any_language_allowed_keeps_german() -> None:
    german = "Es war einmal ein König, der hatte drei Söhne und ein sehr großes Land. " * 5
    config = replace(
        CLEAN,
        languages=(),
        repetition=replace(CLEAN.repetition, **dict.fromkeys(_limits(CLEAN.repetition), 1.0)),
        gopher=replace(CLEAN.gopher, min_stop_words=0),
    )
    drop = _decide(german, "x.test", config)
    assert drop is None or drop.reason != "language"
    assert _decide(german, "x.test") == Drop("language", "de 1.00")


def _limits(group: Any) -> tuple[str, ...]:
    return tuple(type(group).__dataclass_fields__)


def test_judge_lines_without_prose_over_their_share_drop_the_document() -> None:
    text = PROSE + "3 likes\n" * 6  # 12 of 120 words
    counters = replace(LINES, counters=True)
    drop = _decide(text, "x.test", lines=counters)
    assert drop is not None
    assert (drop.reason, drop.detail) == ("lines_removed", "removed_words_frac = 0.1")
    kept = replace(CLEAN, max_removed_words_frac=0.2)
    assert _decide(text, "x.test", kept, lines=counters) is None


def test_judge_document_of_counters_alone_is_emptied_by_them() -> None:
    drop = _decide("3 likes\n17", "x.test", lines=replace(LINES, counters=True))
    assert drop == Drop("lines_removed", "9 characters in lines without prose")

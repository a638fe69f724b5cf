"""The zero-shot table: every measure is there, the paper's figure only where `evaluate` put it."""

import copy

import pytest

from pipeline.report.scores import headline, scores
from tests.pipeline.report.world import EVALUATE, PROTOCOLS

TOLD = {"evaluate": EVALUATE, "evaluate_protocols": PROTOCOLS}


def lines(told: dict[str, object]) -> dict[tuple[str, str], tuple[str, str]]:
    return {(g.title, s.measure): (s.value, s.paper) for g in scores(told).groups for s in g.scores}


def test_scores_show_paper_beside_its_own_protocol_only() -> None:
    assert lines(TOLD) == {
        ("Held-out documents", "bits per byte"): ("1.618", ""),
        ("Held-out documents", "perplexity per word"): ("1,205", ""),
        ("Held-out documents", "perplexity per token"): ("88.50", ""),
        ("LAMBADA, OpenAI’s text", "accuracy"): ("12.5\xa0% (10.0–15.0)", "52.7\xa0% (1542M)"),
        ("LAMBADA, OpenAI’s text", "accuracy, stop words filtered"): (
            "20.0\xa0% (18.0–22.0)",
            "46.0\xa0% (117M)",
        ),
        ("LAMBADA, OpenAI’s text", "perplexity of the word"): ("4,321", "35.13 (117M)"),
        ("Penn Treebank as published", "bits per byte"): ("2.500", ""),
        ("Penn Treebank as published", "perplexity per word"): ("5.0e+12", ""),
        ("new_set", "accuracy"): ("50.0\xa0%", ""),
    }


def test_scores_without_paper_figures_show_none() -> None:
    told = copy.deepcopy(TOLD)
    told["evaluate_protocols"]["protocols"]["lambada_openai"]["paper"] = {}
    assert {paper for _, paper in lines(told).values()} == {""}


def test_scores_say_how_each_was_measured() -> None:
    protocols = {group.title: group.protocol for group in scores(TOLD).groups}
    assert protocols["Held-out documents"] == (
        "400 words between blanks · split valid · window 256, stride 128"
    )
    told = copy.deepcopy(TOLD)
    told["evaluate_protocols"]["protocols"]["lambada_openai"]["digest_known"] = False
    protocols = {group.title: group.protocol for group in scores(told).groups}
    assert protocols["LAMBADA, OpenAI’s text"] == (
        "5,153 last words · split test · window 256 · not the published bytes"
    )


def test_scores_list_absent_sets_with_the_reason() -> None:
    assert scores(TOLD).absent == (
        ("wikitext2", "wikitext-2/wiki.test.tokens is absent"),
        ("winograd", "no mirror folder"),
    )


def test_scores_before_evaluate_are_empty() -> None:
    assert (scores({}).groups, scores({}).absent, headline({})) == ((), (), [])


@pytest.mark.parametrize(
    ("name", "note"),
    [("lambada_openai", "5,153 LAMBADA"), ("heldout_lastword", "5,153 passages in LAMBADA’s form")],
)
def test_headline_takes_bits_per_byte_and_a_last_word_score(name: str, note: str) -> None:
    told = {"evaluate": {"heldout": EVALUATE["heldout"], name: EVALUATE["lambada_openai"]}}
    assert headline(told) == [
        ("validation bits per byte", "1.618", "2,400 bytes unseen"),
        ("last words guessed, zero-shot", "12.5\xa0%", note),
    ]


def test_generated_scores_tell_their_share_and_keep_their_scale() -> None:
    protocol = {"n_units": 200, "unit": "articles", "is_whole": False}
    metrics = {
        "evaluate": {
            "cnn": {"rouge_1": 29.34, "rouge_1_low": 28.04, "rouge_1_high": 30.5},
            "coqa": {"f1": 0.55, "f1_low": 0.5, "f1_high": 0.6},
        },
        "evaluate_protocols": {"absent": {}, "protocols": {"cnn": protocol}},
    }
    found = {each.title: each for each in scores(metrics).groups}
    assert found["cnn"].protocol == "200 articles, a share chosen by hash"
    assert found["cnn"].scores[0].value == "29.34 (28.0–30.5)"
    assert found["coqa"].scores[0].value == "55.0\xa0% (50.0–60.0)"

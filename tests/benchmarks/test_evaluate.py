"""The evaluation benchmark: its questions, and one small run whose scores must be equal."""

import importlib.util

import pytest

from benchmarks import evaluate
from tests.benchmarks.small import run


def test_question_is_a_sentence_cut_in_two_with_its_own_word_among_ten() -> None:
    sentences = [f"Person{i} saw the lamp{i} and left ." for i in range(60)]
    one, two = (evaluate._question(i, sentences) for i in (0, 1))
    assert one.text.split("Person20")[1] == " saw the"
    assert one.fields["choices"][one.fields["answer"]] == "lamp20 and left ."
    assert len(set(one.fields["choices"])) == 10
    assert all(choice.endswith(" and left .") for choice in one.fields["choices"])
    assert two.text.startswith("Person21 ")


@pytest.mark.slow
def test_evaluate_small_once_gives_equal_scores_and_reports_what_they_cost() -> None:
    if importlib.util.find_spec("lm_eval") is None:
        pytest.skip("lm_eval is not installed: pip install -r requirements/lock-dev.txt")
    told = run("evaluate", "--small", "--threads", "1", OUTBOUND_TEST_DATA="")
    assert set(told["cases"]) == {"lambada", "wikitext", "cloze"}
    assert all(case["checks"] == {"scores_equal": 1.0} for case in told["cases"].values())
    assert {"lm-eval 0.4.13", "each candidate alone"} == set(told["cases"]["cloze"]["peers"])

"""Tasks that generate: metrics by hand, the paper's prompts, answers as a slow reading has them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from model.score import Scorer
from model.tasks import conversation, generation, questions, summaries, translation
from model.tasks.forms import Example
from model.tasks.results import Bench
from model.tasks.translation import Translated
from pipeline.tokens.bytelevel import ByteLevelCodec
from tests.model.small_models import random_model, slow_logprobs, unigram

N_VOCAB = 257


def bench(model: Any = None, limit: int | None = None, n_ctx: int = 64) -> Bench:
    model = random_model(n_vocab=N_VOCAB, n_ctx=n_ctx) if model is None else model
    return Bench(
        scorer=Scorer(model, N_VOCAB - 1),
        coder=ByteLevelCodec([], "00"),
        stride=n_ctx,
        more_strides=(),
        seed=3,
        max_generated=limit,
    )


def constant(text: str, n_ctx: int = 64) -> Any:
    """A model whose first choice is always the one byte of `text`."""
    (best,) = ByteLevelCodec([], "00").encode(text).tolist()
    return unigram([100.0 if i == best else 1.0 for i in range(N_VOCAB)], n_ctx=n_ctx)


def example(name: str, text: str = "", **fields: object) -> Example:
    return Example(example_id=name, text=text, fields=fields)


def bleu(hypotheses: list[str], references: list[str]) -> dict[str, float]:
    texts = Translated(hypotheses=hypotheses, references=references)
    indices = list(range(len(hypotheses)))
    return translation._figures(texts, indices, 0, np.ones(len(indices), np.bool_))


def test_bleu_equals_the_one_computed_by_hand() -> None:
    # n-grams right of those written: 6/7, 3/6, 1/5, 0/4; 7 tokens for 8, so a brevity penalty.
    found = bleu(["the cat sat on the mat ."], ["the cat lay on the mat now ."])
    expected = math.exp(1 - 8 / 7) * (6 / 7 * 3 / 6 * 1 / 5 * 1 / 8) ** 0.25
    # Exponential smoothing counts the 4-gram that is missing as half of one.
    assert found["bleu_13a"] == pytest.approx(100 * expected, rel=1e-4)


def test_bleu_of_the_reference_is_100_and_of_nothing_0() -> None:
    lines = ["Le chat est sur le tapis.", "Il pleut depuis ce matin à Paris."]
    assert bleu(lines, lines)["bleu_13a"] == pytest.approx(100)
    assert bleu(["", ""], lines)["bleu_13a"] == 0.0


def test_bleu_s_interval_is_made_of_the_counts_that_make_bleu() -> None:
    """With one segment drawn again and again, interval and figure agree to the digit."""
    found = bleu(["the cat sat on a mat ."], ["the cat lay on the mat now ."])
    assert found["bleu_13a_low"] == found["bleu_13a"] == found["bleu_13a_high"]
    assert found["bleu_intl_low"] == found["bleu_intl"]


def test_bleu_names_its_tokenization() -> None:
    assert "tok:13a" in translation.signature("13a")
    assert "case:mixed" in translation.signature("intl")


def test_translation_prompt_holds_pairs_in_the_direction_asked() -> None:
    prompt = translation.prompt("Hello.", into_french=True)
    lines = prompt.split("\n")
    assert lines[0] == "The house is small. = La maison est petite."
    assert lines[-1] == "Hello. ="
    assert len(lines) == len(translation.PAIRS) + 1


def test_translation_is_the_first_sentence_and_the_first_line() -> None:
    assert translation.cuts(["Un chat. Il dort", ""]) == {
        "": ["Un chat.", ""],
        "_line": ["Un chat. Il dort", ""],
    }
    some = [example("a", source="A cat.", reference="Un chat.")]
    first, line = translation.segments("wmt", some, bench(constant("e")), into_french=True)
    assert (first.name, line.name) == ("wmt", "wmt_line")
    assert (first.protocol["unit"], first.figures["n"]) == ("segments", 1)
    assert first.protocol["n_prompts_cut"] == 1


def test_rouge_equals_the_one_computed_by_hand() -> None:
    some = [example("a", highlights=["The river rose .", "Nobody was hurt ."])]
    found = summaries.rouge([["The river rose quickly."]], some)[0]
    # 3 of 4 words, 3 of 6; 2 of 3 pairs, 2 of 5 (pairs cross the line); longest common: 3 words.
    expected = [2 * 3 / (4 + 6), 2 * 2 / (3 + 5), 2 * 3 / (4 + 6)]
    assert found.tolist() == pytest.approx([100 * each for each in expected])


def test_rouge_stems_words_and_takes_each_sentence_for_itself() -> None:
    some = [example("a", highlights=["rivers rose", "cats slept"])]
    found = summaries.rouge([["cat slept", "river rose"]], some)[0]
    assert found.tolist() == pytest.approx([100, 200 * 2 / 6, 100])


def test_summary_baselines_are_sentences_of_the_article() -> None:
    text = "One fell. Two ran. Three hid. Four sat. Five left."
    some = [example(f"{i}", text, highlights=["One fell ."]) for i in range(8)]
    found = {each.name: each for each in summaries.articles("cnn", some, bench())}
    assert set(found) == {"cnn", "cnn_no_hint", "cnn_lead3", "cnn_random3"}
    assert found["cnn_lead3"].figures["rouge_1"] == pytest.approx(100 * 2 * 2 / (2 + 6))
    picks = {tuple(summaries.random_sentences(each, 0)) for each in some}
    assert len(picks) > 1
    sentences = generation.sentences(text)
    assert all(sorted(pick, key=sentences.index) == list(pick) for pick in picks)


def test_article_that_does_not_fit_loses_its_end() -> None:
    prompt, is_cut = summaries.fit("abc" * 40, summaries.HINT, bench())
    assert is_cut
    assert prompt == ("abc" * 40)[: 32 - 7] + "\nTL;DR:"
    assert summaries.fit("abc", "", bench()) == ("abc", False)
    assert summaries.fit("é" * 40, "", bench())[0] == "é" * 16


def test_answers_are_those_of_a_slow_reading() -> None:
    model = random_model(n_vocab=N_VOCAB, n_ctx=64, seed=4)
    made = generation.answer(["who", "what was it"], bench(model), 6)
    for (read, new), text in zip(made.ids, made.texts, strict=True):
        tokens = [N_VOCAB - 1, *read]
        for token in new:
            scores = [slow_logprobs(model, [*tokens, i], 1)[0] for i in range(N_VOCAB)]
            assert int(np.argmax(scores)) == token
            tokens.append(token)
        decoded = ByteLevelCodec([], "00").decode(new)
        assert text == decoded.strip()
        assert "\n" not in decoded


def test_answer_ends_with_its_line_and_a_long_prompt_loses_its_beginning() -> None:
    made = generation.answer(["x" * 100, "y"], bench(constant("\n")), 8)
    assert made.texts == ["", ""]
    assert (made.ids[0][1], made.n_cut) == ([], 1)
    assert len(made.ids[0][0]) == 64 - 8


def test_chosen_examples_depend_on_their_ids_alone() -> None:
    some = [example(f"q{i}") for i in range(50)]
    first = {some[i].example_id for i in generation.chosen(some, 10)}
    again = {some[::-1][i].example_id for i in generation.chosen(some[::-1], 10)}
    assert first == again
    assert len(first) == 10
    assert generation.chosen(some, None) == generation.chosen(some, 99) == list(range(50))


def asked(*answers: Sequence[str]) -> list[Example]:
    return [
        example(f"{i}", question=f"who {i}", answers=list(each)) for i, each in enumerate(answers)
    ]


def test_questions_have_the_figures_computed_by_hand() -> None:
    # The model says "aaaa…", 20 letters, with probability 100/356 for each of them.
    some = asked(["a" * 20], ["The " + "A" * 20 + "!"], ["b"])
    (found,) = questions.open_domain("nq", some, bench(constant("a", 512), n_ctx=512))
    assert found.figures["exact_match"] == pytest.approx(2 / 3, rel=1e-5)
    assert (found.figures["exact_match_top_1pct"], found.figures["n_top_1pct"]) == (1.0, 1)
    told = found.protocol["most_confident"]
    assert [each["correct"] for each in told] == [True, True, False]
    assert told[0]["confidence"] == pytest.approx(100 / 356, rel=1e-5)
    assert found.among is not None
    assert found.among(np.array([False, False, True]))["exact_match"] == 0.0


def test_confidence_decides_which_answers_are_counted_as_the_surest() -> None:
    hits = np.array([False, True] * 100)
    sure = np.where(hits, -1.0, -2.0)
    everything = np.ones(200, np.bool_)
    found = questions._figures(hits, sure, list(range(200)), 0, everything)
    assert (found["exact_match"], found["exact_match_top_1pct"]) == (0.5, 1.0)
    assert found["n_top_1pct"] == 2
    worst = questions._figures(hits, -sure, list(range(200)), 0, everything)
    assert worst["exact_match_top_1pct"] == 0.0


def test_empty_answer_is_wrong_and_the_least_sure() -> None:
    (found,) = questions.open_domain("nq", asked(["a"], [""]), bench(constant("\n")))
    assert found.figures["exact_match"] == 0.0
    assert [each["confidence"] for each in found.protocol["most_confident"]] == [0.0, 0.0]


def test_question_prompt_has_one_question_mark() -> None:
    assert questions.prompt("who is it?").endswith("\nQ: who is it?\nA:")
    assert questions.prompt("who is it").endswith("\nQ: who is it?\nA:")


CHAT = example(
    "s",
    "A lamp.",
    questions=["What?", "Whose?"],
    answers=["a lamp", "Ann's"],
    references=[["a lamp", "lamp"], ["Ann's", "ann", "her"]],
)


def test_conversation_prompt_holds_the_published_history() -> None:
    assert conversation.prompt(CHAT, 0) == "A lamp.\nQ: What?\nA:"
    assert conversation.prompt(CHAT, 1) == "A lamp.\nQ: What?\nA: a lamp\nQ: Whose?\nA:"


def test_f1_leaves_out_each_reference_once() -> None:
    # Against {b, c}, {a, c}, {a, b}: the best of each are 0, 1, 1.
    assert conversation.score("x", ["x", "y", "z"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    # Two of three words right, one reference: 2 * 2 / (3 + 2).
    assert conversation.score("big red barn", ["red barn"]) == (pytest.approx(0.8), 0.0)
    assert conversation.f1("", "the") == 1.0  # no word is left of either
    assert conversation.f1("", "barn") == 0.0


def test_turns_are_units_and_conversations_are_examples() -> None:
    some = [CHAT, example("t", "B.", questions=["Q"], answers=["e"], references=[["e"]])]
    (found,) = conversation.turns("coqa", some, bench(constant("e")))
    assert found.figures["n"] == found.protocol["n_units"] == 3
    assert found.protocol["n_conversations"] == 2
    assert found.among is not None
    assert found.among(np.array([True, False]))["n"] == 2
    (fewer,) = conversation.turns("coqa", some, bench(constant("e"), limit=1))
    assert fewer.protocol["n_conversations"] == 1
    assert not fewer.protocol["is_whole"]


def test_figures_of_no_example_are_a_count_alone() -> None:
    some = asked(["a"], ["b"])
    (found,) = questions.open_domain("nq", some, bench(limit=1))
    assert found.among is not None
    (index,) = generation.chosen(some, 1)
    nobody = np.ones(2, np.bool_)
    nobody[index] = False
    assert found.among(nobody) == {"n": 0}

"""Cloze questions: by hand on a unigram model, and each candidate alone on a random one."""

from dataclasses import replace
from functools import partial

import numpy as np

from model.score import Scorer
from model.tasks import cloze
from model.tasks.evalsets import READERS
from model.tasks.forms import Example
from model.tasks.results import Bench
from pipeline.text.detokenize import TREEBANK, detokenize_exactly
from pipeline.tokens.bytelevel import ByteLevelCodec
from tests.model.small_models import random_model, slow_logprobs, unigram
from tests.model.tasks.published_lines import CLOZE

N_VOCAB = 257
CODER = ByteLevelCodec([], "00")


def bench(model: object, n_ctx: int = 64) -> Bench:
    return Bench(
        scorer=Scorer(model, N_VOCAB - 1),  # type: ignore[arg-type]
        coder=CODER,
        stride=n_ctx,
        more_strides=(),
        seed=3,
        max_generated=None,
    )


def question(query: str, candidates: list[str], answer: int, context: str = "So .") -> Example:
    fields = {"context": [context], "query": query, "candidates": candidates, "answer": answer}
    return Example(example_id="0", text="", fields=fields)


def test_likeliest_candidate_wins_and_ties_are_wrong() -> None:
    (letter,) = CODER.encode("b").tolist()
    model = unigram([50.0 if i == letter else 1.0 for i in range(N_VOCAB)], n_ctx=64)
    some = [
        question("He saw XXXXX .", ["bbb", "aaa"], 0),
        question("He saw XXXXX .", ["bbb", "aaa"], 1),
        question("He saw XXXXX .", ["aaa", "ccc"], 0),  # equally likely
        question("He saw XXXXX .", ["aa", "bb", "ab"], 1),
    ]
    raw, clean = cloze.questions("cbt", some, bench(model))
    assert (raw.name, clean.name) == ("cbt_raw", "cbt_detokenized")
    for found in (raw, clean):
        assert found.figures["accuracy"] == 0.5
        assert found.figures["n"] == 4
        assert found.among is not None
        assert found.among(np.array([True, False, False, True]))["accuracy"] == 1.0
    assert (raw.protocol["detokenizer"], raw.protocol["n_units"]) == ("none", 4)


def test_candidate_and_rest_are_scored_after_the_whole_context() -> None:
    """Shared contexts give what each candidate gives alone, one token at a time."""
    model = random_model(n_vocab=N_VOCAB, n_ctx=400, seed=2)
    (example,), _ = READERS["cbt"](CLOZE)
    example = replace(example, fields=example.fields | {"context": example.fields["context"][:4]})
    told = " ".join(example.fields["context"]) + " She thought"
    totals = []
    for name in example.fields["candidates"][:4]:
        rest = CODER.encode(f" {name} had seen the lamp .").tolist()
        tokens = [N_VOCAB - 1, *CODER.encode(told).tolist(), *rest]
        totals.append(sum(slow_logprobs(model, tokens, len(rest))))
    request = cloze.request(example, CODER, lambda text: text)
    (found,) = Scorer(model, N_VOCAB - 1).loglikelihood([request])
    assert np.allclose([each.total for each in found[:4]], totals, rtol=1e-4)


def test_detokenized_question_is_written_as_people_write() -> None:
    clean = partial(detokenize_exactly, convention=TREEBANK)
    example = question(
        "`` No , '' said XXXXX , `` I ca n't . ''", ["Ann", "Bob"], 0, "It was n't so ."
    )
    made = cloze.request(example, CODER, clean)
    assert CODER.decode(made.context) == 'It wasn\'t so. "No," said'
    assert CODER.decode(made.continuations[1]) == ' Bob, "I can\'t."'


def test_blank_at_the_beginning_follows_the_sentence_before() -> None:
    made = cloze.request(question("XXXXX ran .", ["Ann", "Bob"], 0), CODER, lambda text: text)
    assert CODER.decode(made.context) == "So ."
    assert CODER.decode(made.continuations[0]) == " Ann ran ."

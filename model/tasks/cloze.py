"""A word left out of a story's 21st sentence: which of ten candidates makes the rest most likely.

    20 sentences, and the 21st up to the blank    one context, read once
    candidate, and the rest of the sentence       ten continuations of it

    accuracy    the answer's P(candidate, rest | context) is above that of the other nine

Decisions:
- Two protocols: the tokenized text as it is, and detokenized sentence by sentence as far as each
  can be restored, the blank in place. Sentences are joined by one blank.
- Ties count as wrong, as for Winograd.

Paper: GPT-2, section 3.2, on the validation split, because a book of the test split (The Jungle
Book) is in WebText. Hill et al., The Goldilocks Principle (2016), for the set.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from model.score import Request
from model.tasks.forms import Example
from model.tasks.results import Bench, Chosen, Result, proportion
from model.tasks.splits import BLANK
from pipeline.text.detokenize import TREEBANK, detokenize_exactly
from pipeline.tokens.codec import Codec

Writer = Callable[[str], str]


def questions(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores cloze questions, tokenized and detokenized."""
    ways: dict[str, tuple[Writer, str]] = {
        "raw": (lambda text: text, "none"),
        "detokenized": (
            partial(detokenize_exactly, convention=TREEBANK),
            "sentences that can be restored",
        ),
    }
    return [
        _score(f"{name}_{way}", examples, bench, write, detokenizer)
        for way, (write, detokenizer) in ways.items()
    ]


def _score(
    name: str, examples: Sequence[Example], bench: Bench, write: Writer, detokenizer: str
) -> Result:
    requests = [request(each, bench.coder, write) for each in examples]
    totals = [[each.total for each in found] for found in bench.scorer.loglikelihood(requests)]
    answers = [each.fields["answer"] for each in examples]
    hits = [is_best(found, answer) for found, answer in zip(totals, answers, strict=True)]
    among = partial(_figures, np.array(hits, np.bool_), bench.seed)
    protocol = {
        "detokenizer": detokenizer,
        "unit": "questions",
        "n_units": len(examples),
        "method": "log-likelihood of candidate and rest of the sentence, the best of ten",
        "window": bench.scorer.n_ctx,
    }
    figures = among(np.ones(len(examples), np.bool_))
    return Result(name=name, figures=figures, protocol=protocol, among=among)


def request(example: Example, coder: Codec, write: Writer) -> Request:
    """Returns the context and what each candidate makes of the rest of the sentence.

    Args:
        example: A question.
        coder: The vocabulary.
        write: From a tokenized sentence to how the model is to read it.
    """
    fields = example.fields
    before, after = write(fields["query"]).split(BLANK)
    context = " ".join([*(write(sentence) for sentence in fields["context"]), before])
    blank = context[len(context.rstrip()) :]  # a word's token begins with the blank before it
    return Request(
        context=coder.encode(context.rstrip()),
        continuations=[coder.encode(f"{blank}{name}{after}") for name in fields["candidates"]],
    )


def is_best(totals: Sequence[float], answer: int) -> bool:
    """Returns whether the answer is strictly more likely than every other candidate.

    >>> is_best([-2.0, -3.0], 0), is_best([-2.0, -2.0], 0)
    (True, False)
    """
    return all(totals[answer] > other for i, other in enumerate(totals) if i != answer)


def _figures(hits: Chosen, seed: int, chosen: Chosen) -> dict[str, float]:
    """Returns the figures of the chosen questions."""
    return {"n": int(chosen.sum()), **proportion("accuracy", hits[chosen], seed)}

"""Questions without a document: the answer that follows example pairs, and how sure the model is.

    Q: who wrote the origin of species?
    A: Charles Darwin
    … more pairs …
    Q: when was the last time anyone was on the moon?
    A:                                        greedy; the first line is the answer

    exact_match           share of answers that equal a published one, both normalised
    exact_match_top_1pct  the same among the 1 % (at least one) that the model is surest of
    confidence            exp of the mean log-probability of the answer's tokens; our choice

Decisions:
- The pairs are ours (`PAIRS`); the paper does not give its own, nor its format.
- Normalisation as usual for this set: lower case, no punctuation, no articles, single blanks
  (Rajpurkar et al., SQuAD, 2016; Lee et al., ORQA, 2019, for NQ-Open).
- The 30 most confident answers are listed, right or wrong, as in the paper's table 5.

Paper: GPT-2, section 3.8: 4.1 % exact match, 63.1 % on the 1 % it is most confident in (1542M).
"""

import math
import re
import string
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from model.score import Request
from model.tasks import generation
from model.tasks.forms import Example
from model.tasks.results import Bench, Chosen, Floats, Result, proportion, rounded

N_NEW = 20  # tokens of an answer, at most; no published one has more than 6 words
N_SHOWN = 30
TOP = 0.01

# Written for this project.
PAIRS = (
    ("who wrote the origin of species", "Charles Darwin"),
    ("what is the capital of portugal", "Lisbon"),
    ("when did the berlin wall fall", "1989"),
    ("how many strings does a violin have", "four"),
    ("where do penguins live in the wild", "the southern hemisphere"),
)

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def open_domain(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Answers questions from nothing but the model."""
    indices = generation.chosen(examples, bench.max_generated)
    some = [examples[i] for i in indices]
    made = generation.answer([prompt(each.fields["question"]) for each in some], bench, N_NEW)
    answers = [each.fields["answers"] for each in some]
    hits = [is_match(text, known) for text, known in zip(made.texts, answers, strict=True)]
    sure = confidence(made, bench)
    among = partial(_figures, np.array(hits, np.bool_), sure, indices, bench.seed)
    return [
        Result(
            name=name,
            figures=among(generation.everything(examples)),
            protocol=generation.protocol(
                bench,
                examples,
                indices,
                unit="questions",
                method="greedy, the first line after `A:`; exact match, normalised",
                confidence="mean log-probability of the answer's tokens",
                n_pairs=len(PAIRS),
                n_prompts_cut=made.n_cut,
                n_new_tokens=made.n_new,
                most_confident=_shown(some, made.texts, hits, sure),
            ),
            among=among,
        )
    ]


def prompt(question: str) -> str:
    r"""Returns the pairs and the question.

    >>> prompt("who").splitlines()[-2:]
    ['Q: who?', 'A:']
    """
    pairs = "".join(f"Q: {asked}?\nA: {told}\n" for asked, told in PAIRS)
    return f"{pairs}Q: {question.rstrip('?')}?\nA:"


def normalise(text: str) -> str:
    """Returns a text without what does not count when answers are compared.

    >>> normalise("The  Beatles!"), normalise("A.D. 79")
    ('beatles', 'ad 79')
    """
    bare = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def is_match(text: str, answers: Sequence[str]) -> bool:
    """Returns whether a text equals one of the answers.

    >>> is_match("the moon", ["Moon", "Luna"]), is_match("", ["a"])
    (True, False)
    """
    bare = normalise(text)
    return bool(bare) and bare in {normalise(each) for each in answers}


def confidence(made: generation.Answers, bench: Bench) -> Floats:
    """Returns the mean log-probability of each answer's tokens; -inf for an empty answer."""
    asked = [i for i, (_, new) in enumerate(made.ids) if new and made.texts[i]]
    requests = [Request(context=made.ids[i][0], continuations=[made.ids[i][1]]) for i in asked]
    found = np.full(len(made.texts), -np.inf)
    for i, scored in zip(asked, bench.scorer.loglikelihood(requests), strict=True):
        found[i] = scored[0].total / len(scored[0].logprobs)
    return found


def _figures(
    hits: Chosen, sure: Floats, indices: list[int], seed: int, among: Chosen
) -> dict[str, float]:
    """Returns the figures of the chosen questions."""
    mine = np.array(generation.kept(indices, among), np.int64)
    found: dict[str, float] = {"n": len(mine)}
    if len(mine):
        best = mine[_surest(sure[mine])[: max(1, math.ceil(TOP * len(mine)))]]
        found |= proportion("exact_match", hits[mine], seed)
        found |= proportion("exact_match_top_1pct", hits[best], seed)
        found["n_top_1pct"] = len(best)
    return found


def _surest(sure: Floats) -> list[int]:
    """Returns places in order of falling confidence, the first of equals first."""
    return sorted(range(len(sure)), key=lambda i: (-sure[i], i))


def _shown(
    examples: Sequence[Example], texts: Sequence[str], hits: Sequence[bool], sure: Floats
) -> list[Mapping[str, object]]:
    """Returns the most confident answers, in order."""
    return [
        {
            "question": examples[i].fields["question"],
            "answer": texts[i],
            "correct": hits[i],
            "confidence": rounded(math.exp(sure[i])),
        }
        for i in _surest(sure)[:N_SHOWN]
    ]

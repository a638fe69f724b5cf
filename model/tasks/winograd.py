"""Which of two candidates a pronoun stands for: the one that makes the sentence more likely.

    The trophy doesn't fit into the brown suitcase because it is too large.

    shared      The trophy … because            read once
    candidate    the trophy / the suitcase
    rest         is too large.

    accuracy_full     compares log P(candidate, rest | shared)
    accuracy_partial  compares log P(rest | shared, candidate): how rare a candidate is
                      in itself is out

Paper: GPT-2, section 3.4 and figure 3, after Trinh and Le, A Simple Method for Commonsense
Reasoning (2018). Ties count as wrong.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from model.score import Request, Scored
from model.tasks.cloze import is_best
from model.tasks.forms import Example
from model.tasks.results import Bench, Chosen, Result, proportion
from pipeline.tokens.codec import Codec


def schemata(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores Winograd schemata, fully and partially."""
    coder = bench.coder
    found = bench.scorer.loglikelihood([_request(each, coder) for each in examples])
    rests = [len(coder.encode(each.fields["after"])) for each in examples]
    answers = [each.fields["answer"] for each in examples]
    pairs = list(zip(found, rests, answers, strict=True))
    full = [is_best([each.total for each in scored], answer) for scored, _, answer in pairs]
    rest_only = [is_best(_tails(scored, n), answer) for scored, n, answer in pairs]
    hits = {"accuracy_partial": np.array(rest_only), "accuracy_full": np.array(full)}
    protocol = {
        "detokenizer": "none",
        "unit": "schemata",
        "n_units": len(examples),
        "method": "log-likelihood of the sentence, each candidate in the pronoun's place",
        "window": bench.scorer.n_ctx,
    }
    among = partial(_figures, hits, bench.seed)
    everything = np.ones(len(examples), np.bool_)
    return [Result(name=name, figures=among(everything), protocol=protocol, among=among)]


def _figures(hits: Mapping[str, Chosen], seed: int, chosen: Chosen) -> dict[str, float]:
    """Returns the figures of the chosen schemata."""
    found: dict[str, float] = {"n": int(chosen.sum())}
    for name, each in hits.items():
        found |= proportion(name, each[chosen], seed)
    return found


def _request(example: Example, coder: Codec) -> Request:
    fields = example.fields
    blank = " " if fields["before"] else ""
    rest = coder.encode(fields["after"])
    return Request(
        context=coder.encode(fields["before"]),
        continuations=[
            np.concatenate([coder.encode(blank + name), rest]) for name in fields["candidates"]
        ],
    )


def _tails(scored: Sequence[Scored], n: int) -> list[float]:
    """Returns the log-probability of each continuation's last `n` tokens."""
    return [float(each.logprobs[len(each.logprobs) - n :].sum()) for each in scored]

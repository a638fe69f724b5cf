"""The last word of a passage: how often a model guesses it, and how surprised it is.

    context        "… 'If this is for my own good,' she said, and took off the"
    target         " mask"       after a blank; one word, often several tokens

    accuracy                  every token of the target is the model's first choice
    accuracy_stopword_filter  the same, when stop words do not compete for its first token
    perplexity                exp(-mean log P(target | context)), one unit per target word
    …_last_token              the same of the target's last token alone, the ones before it given
    perplexity_token          exp(-sum of log P / sum of the targets' tokens)

Decisions:
- The whole word must be right, and its last token stands beside it: both circulate, and what the
  paper did is disputed (EleutherAI/lm-evaluation-harness issues 356 and 350, openai/gpt-2 issue
  131). All figures come from one reading.
- OpenAI's text is read as it is, and as the issue's script prepares it: ASCII quotes and a line
  break before the passage.
- The filter works on tokens: single tokens that are a blank and a stop word, small or capital.
  Deviation: a stop-word token counts as the whole word, though a longer word might have followed.
- For the tokenized set, the context is detokenized and the target stays as it is.

Paper: GPT-2, section 3.3: 52.66 % without and 63.24 % with a stop-word filter (1542M); neither list
nor procedure is published.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from model.score import Request, Scored
from model.tasks.forms import Example
from model.tasks.results import Bench, Chosen, Result, perplexity, proportion, rates
from model.tasks.stopwords import STOPWORDS
from pipeline.text.detokenize import LAMBADA, detokenize_exactly
from pipeline.tokens.codec import Codec

_ASCII = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'"})


def last_word(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores the last words of passages as they are."""
    requests = [
        Request(
            context=bench.coder.encode(each.text[: -len(each.fields["target"]) - 1]),
            continuations=[bench.coder.encode(" " + each.fields["target"])],
        )
        for each in examples
    ]
    scored = [found[0] for found in bench.scorer.loglikelihood(requests, muted(bench.coder))]
    among = partial(_figures, scored, bench.seed)
    return [
        Result(
            name=name,
            figures=among(np.ones(len(scored), np.bool_)),
            protocol=_protocol(len(scored), bench.scorer.n_ctx),
            among=among,
        )
    ]


def _figures(scored: Sequence[Scored], seed: int, chosen: Chosen) -> dict[str, float]:
    """Returns the figures of the chosen passages."""
    mine = [scored[i] for i in np.flatnonzero(chosen).tolist()]
    last = [bool(each.greedy[-1]) for each in mine]
    hits = {
        "accuracy": [each.is_greedy for each in mine],
        "accuracy_stopword_filter": [_leads(each) for each in mine],
        "accuracy_last_token": last,
        "accuracy_last_token_stopword_filter": [
            each.leads if len(each.greedy) == 1 else right
            for each, right in zip(mine, last, strict=True)
        ],
    }
    totals = [-each.total for each in mine]
    counts = [(1, len(each.logprobs)) for each in mine]
    per_word, per_token = rates(totals, counts, seed)
    (last_token,) = rates([-each.logprobs[-1] for each in mine], [(1,) for _ in mine], seed)
    found: dict[str, float] = {"n": len(mine)}
    for name, each in hits.items():
        found |= proportion(name, each, seed)
    found |= perplexity("perplexity", per_word)
    found |= perplexity("perplexity_last_token", last_token)
    return found | perplexity("perplexity_token", per_token)


def _leads(scored: Scored) -> bool:
    """Tells whether a target is right when stop words do not compete for its first token."""
    return scored.leads and bool(scored.greedy[1:].all())


def openai_forms(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores OpenAI's passages as they are, and with ASCII quotes after a line break."""
    plain = last_word(name, examples, bench)
    written = [
        replace(
            each,
            text="\n" + each.text.translate(_ASCII).lstrip(),
            fields={"target": each.fields["target"].translate(_ASCII)},
        )
        for each in examples
    ]
    ascii_quotes = last_word(f"{name}_ascii", written, bench)
    ascii_quotes[0].protocol.update(detokenizer="ASCII quotes, a line break before the passage")
    return plain + ascii_quotes


def both_forms(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores tokenized passages as they are and with a detokenized context."""
    raw = last_word(f"{name}_raw", examples, bench)
    written = [replace(each, text=_detokenized(each)) for each in examples]
    clean = last_word(f"{name}_detokenized", written, bench)
    clean[0].protocol.update(detokenizer="context, where it can be restored")
    return raw + clean


def muted(coder: Codec) -> list[int]:
    """Returns the ids of single tokens that are a blank and a stop word."""
    words = [form for word in sorted(STOPWORDS) for form in (word, word.capitalize())]
    encoded = [coder.encode(" " + word).tolist() for word in words]
    return sorted({ids[0] for ids in encoded if len(ids) == 1})


def _detokenized(example: Example) -> str:
    target = example.fields["target"]
    context = example.text[: -len(target) - 1]
    return f"{detokenize_exactly(context, LAMBADA)} {target}"


def _protocol(n: int, window: int) -> dict[str, object]:
    words = "\n".join(sorted(STOPWORDS))
    return {
        "detokenizer": "none",
        "unit": "last words",
        "n_units": n,
        "method": "log-likelihood and greedy choice of the whole word after the last blank",
        "window": window,
        "stopwords_sha256": hashlib.sha256(words.encode()).hexdigest(),
    }

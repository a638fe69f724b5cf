r"""lm-evaluation-harness's protocols: its `lambada_*`, `wsc273` and `wikitext`, to the digit.

    lambada_openai, lambada_standard   last word after the last blank; nothing stands before
    wsc273                             partial scoring; a tie goes to the first candidate
    wikitext                           page by page, detokenized, windows side by side

Decisions:
- Scores of this protocol stand beside ours, with `_harness` in their names, so that a figure that
  somebody measured with that program has one to be compared with.
- It differs from ours: no `<|endoftext|>` before a context; context and continuation are encoded
  together and cut where the context's own tokens end; a second blank before the rest of a schema;
  detokenization that cannot be undone; words of a page counted with the empty ones at its ends.

Deviation: version 0.4.13 is what this was compared with (`tests/model/tasks/test_harness.py`);
its tasks have the versions 1.0, 1.0, 1.0 and 2.0.
"""

import re
from collections.abc import Sequence
from functools import partial

import numpy as np

from model.score import Request, Scored
from model.tasks.forms import Example
from model.tasks.results import (
    Bench,
    Chosen,
    Floats,
    Result,
    bits,
    perplexity,
    proportion,
    rates,
)
from pipeline.tokens.arrow import END_OF_TEXT
from pipeline.tokens.codec import Codec

# In this order: pattern, replacement. What they are for: contractions, numbers, marks, what stands
# inside of brackets and quotes, headings, degrees, line ends, PTB's N, possessives.
_WIKITEXT = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"s '", "s'"),
        (r" @-@ ", "-"),
        (r" @,@ ", ","),
        (r" @\.@ ", "."),
        *((rf" {re.escape(mark)} ", f"{mark} ") for mark in ":;.!?,"),
        (r"\(\s*([^\)]*?)\s*\)", r"(\1)"),
        (r"\[\s*([^\]]*?)\s*\]", r"[\1]"),
        (r"\{\s*([^}]*?)\s*\}", r"{\1}"),
        (r"\"\s*([^\"]*?)\s*\"", r'"\1"'),
        (r"'\s*([^']*?)\s*'", r"'\1'"),
        (r"= = = =", "===="),
        (r"= = =", "==="),
        (r"= =", "=="),
        (r" ° ", "°"),
        (r" \n", "\n"),
        (r"\n ", "\n"),
        (r" N ", " 1 "),
        (r" 's", "'s"),
    )
)


def last_word(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores the last words of passages as they are."""
    pairs = [(_context(each), " " + each.fields["target"]) for each in examples]
    scored = [found for (found,) in _score([[pair] for pair in pairs], bench)]
    among = partial(_last_words, scored, bench.seed)
    return [_result(name, "last words", examples, bench, among)]


def schemata(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores what follows each candidate of Winograd schemata."""
    choices = [
        [(_sentence(each.fields["before"], who), f" {each.fields['after']}") for who in names]
        for each, names in ((each, each.fields["candidates"]) for each in examples)
    ]
    scored = _score(choices, bench)
    picks = [int(np.argmax([found.total for found in each])) for each in scored]
    hits = np.array([pick == e.fields["answer"] for pick, e in zip(picks, examples, strict=True)])
    among = partial(_schemata, hits, bench.seed)
    return [_result(name, "schemata", examples, bench, among)]


def pages(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores pages, each detokenized and after `<|endoftext|>`, in windows side by side."""
    texts = [bench.coder.encode(detokenize(each.text)) for each in examples]
    scored = bench.scorer.rolling(texts, bench.scorer.n_ctx)
    sums = np.array(
        [
            (-values.sum(), len(re.split(r"\s+", each.text)), len(each.text.encode()))
            for values, each in zip(scored, examples, strict=True)
        ]
    )
    among = partial(_pages, sums, bench.seed)
    result = _result(name, "words of the page", examples, bench, among)
    result.protocol.update(
        n_units=int(sums[:, 1].sum()),
        detokenizer="lm-evaluation-harness wikitext 2.0, not invertible",
        stride=bench.scorer.n_ctx,
        bos=END_OF_TEXT,
        texts="one page at a time",
        resampled="pages",
    )
    return [result]


def detokenize(page: str) -> str:
    r"""Returns a page of WikiText as the harness reads it.

    >>> detokenize(" = Du Fu = \n a guest @-@ star , ( in 1 @,@ 500 ) . ")
    ' = Du Fu =\na guest-star, (in 1,500). '
    """
    for pattern, replacement in _WIKITEXT:
        page = pattern.sub(replacement, page)
    return page


def _result(
    name: str,
    unit: str,
    examples: Sequence[Example],
    bench: Bench,
    among: partial[dict[str, float]],
) -> Result:
    protocol = {
        "detokenizer": "none",
        "unit": unit,
        "n_units": len(examples),
        "method": "as lm-evaluation-harness 0.4.13",
        "window": bench.scorer.n_ctx,
        "bos": "none",
    }
    figures = among(np.ones(len(examples), np.bool_))
    return Result(name=f"{name}_harness", figures=figures, protocol=protocol, among=among)


def _score(choices: Sequence[Sequence[tuple[str, str]]], bench: Bench) -> list[list[Scored]]:
    """Scores (context, continuation) pairs, nothing before the context."""
    flat = [_request(*pair, bench.coder) for pairs in choices for pair in pairs]
    found = iter(bench.scorer.loglikelihood(flat, begins=False))
    return [[next(found)[0] for _ in pairs] for pairs in choices]


def _request(context: str, continuation: str, coder: Codec) -> Request:
    """Encodes both together, after the context's blanks have gone over to the continuation."""
    bare = context.rstrip()
    whole = coder.encode(context + continuation)
    n = len(coder.encode(bare))
    return Request(context=whole[:n], continuations=[whole[n:]])


def _context(example: Example) -> str:
    text: str = example.text[: -len(example.fields["target"]) - 1]
    return text


def _sentence(before: str, candidate: str) -> str:
    return f"{before} {candidate}" if before else candidate


def _last_words(scored: Sequence[Scored], seed: int, chosen: Chosen) -> dict[str, float]:
    mine = [scored[i] for i in np.flatnonzero(chosen).tolist()]
    (rate,) = rates([-each.total for each in mine], [(1,) for _ in mine], seed)
    hits = [each.is_greedy for each in mine]
    found: dict[str, float] = {"n": len(mine)}
    return found | proportion("accuracy", hits, seed) | perplexity("perplexity", rate)


def _schemata(hits: Chosen, seed: int, chosen: Chosen) -> dict[str, float]:
    return {"n": int(chosen.sum()), **proportion("accuracy_partial", hits[chosen], seed)}


def _pages(sums: Floats, seed: int, chosen: Chosen) -> dict[str, float]:
    mine = sums[chosen]
    per_word, per_byte = rates(mine[:, 0], mine[:, 1:], seed)
    n_words, n_bytes = mine[:, 1:].sum(axis=0).tolist()
    found = {"n_words": n_words, "n_bytes": n_bytes} | bits("bits_per_byte", per_byte)
    found |= perplexity("perplexity_word", per_word)
    return found | perplexity("perplexity_byte", per_byte)

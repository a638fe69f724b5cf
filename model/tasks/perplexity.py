"""How well a model predicts running text: bits per byte, perplexity per token and per word.

    nll = - sum of log P(token | up to n_ctx tokens before it), over all tokens, in nats

    bits_per_byte     nll / ln 2 / n_bytes          does not depend on the vocabulary
    perplexity_token  exp(nll / n_tokens)           does
    perplexity_word   exp(nll / n_words)            words of the text as published, <eos> included
    bits_per_character  nll / ln 2 / n_characters   of the split as published (bytes, for enwik8)

Decisions:
- Every token is scored once, in windows that advance by `stride` (`model.score.windows`). A text
  stands after `<|endoftext|>`; the marker at its end is not charged.
- Documents are scored one by one; a published set is one running text, lines and all.
- Two protocols for each published set: its bytes as they are, and detokenized line by line as far
  as the line can be restored. Both are divided by the words of the published text, so that neither
  gains by counting differently.
- Several strides from one pass: a table with one window and stride answers one question of many.

Paper: GPT-2, section 3.1: the sum is divided by canonical units, then exponentiated.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from model.tasks.forms import Example, n_words
from model.tasks.registry import WORDS
from model.tasks.results import Bench, Chosen, Result, rounded
from pipeline.text.detokenize import Convention, detokenize_exactly, is_exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a sum is divided by: how many of what, and what counts as one."""

    name: Literal["word", "character"]
    n: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What was scored, text by text.

    Attributes:
        nll: Sum over a text's tokens, nats.
        n_tokens: Its tokens.
        n_bytes: Its bytes.
    """

    nll: list[float]
    n_tokens: list[int]
    n_bytes: list[int]


def documents(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores documents one by one."""
    texts = [each.text for each in examples]
    n_words = [len(text.split()) for text in texts]
    sums = score(texts, bench)
    unit = Unit(name="word", n=sum(n_words), words="words between blanks")
    protocol = _protocol(unit, bench, bench.stride)
    among = partial(_figures, sums, n_words)
    everything = np.ones(len(texts), np.bool_)
    return [Result(name=name, figures=among(everything), protocol=protocol, among=among)]


def _figures(sums: Sums, n_words: Sequence[int], chosen: Chosen) -> dict[str, float]:
    """Returns the figures of the chosen documents."""
    mine = np.flatnonzero(chosen).tolist()
    return figures(
        sum(sums.nll[i] for i in mine),
        n_tokens=sum(sums.n_tokens[i] for i in mine),
        n_bytes=sum(sums.n_bytes[i] for i in mine),
        n_words=sum(n_words[i] for i in mine),
    )


def running_text(
    name: str, examples: Sequence[Example], bench: Bench, convention: Convention
) -> list[Result]:
    """Scores a published text as it is and detokenized, at each stride."""
    raw = "".join(each.text for each in examples)
    unit = Unit(name="word", n=n_words(raw), words=WORDS)
    lines = raw.split("\n")
    clean = [detokenize_exactly(line, convention) for line in lines]
    kept = sum(not is_exact(a, b, convention) for a, b in zip(lines, clean, strict=True))
    plain = measure(f"{name}_raw", raw, unit, bench)
    better = measure(f"{name}_detokenized", "\n".join(clean), unit, bench)
    for each in better:
        each.protocol.update(detokenizer="lines that can be restored", n_lines_not_restored=kept)
    return plain + better


def sentences(
    name: str, examples: Sequence[Example], bench: Bench, convention: Convention
) -> list[Result]:
    """Scores shuffled sentences as one running text and, detokenized, each after a marker.

    Sentences that do not follow each other are no context; the second protocol gives none.
    """
    texts = [detokenize_exactly(each.text.rstrip("\n"), convention) for each in examples]
    counts = [n_words(each.text) for each in examples]
    sums = score([f"{text}\n" for text in texts], bench)
    protocol = _protocol(Unit(name="word", n=sum(counts), words=WORDS), bench, bench.stride)
    protocol |= {"detokenizer": "lines that can be restored", "texts": "one sentence at a time"}
    among = partial(_figures, sums, counts)
    figures = among(np.ones(len(texts), np.bool_))
    alone = Result(name=f"{name}_sentences", figures=figures, protocol=protocol, among=among)
    return [*running_text(name, examples, bench, convention), alone]


def characters(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores a text that is measured in bits per character or byte, as it is, at each stride."""
    (example,) = examples
    n_bytes = example.fields.get("n_bytes", len(example.text))
    unit = Unit(name="character", n=n_bytes, words="bytes" if example.fields else "characters")
    return measure(name, example.text, unit, bench)


def measure(name: str, text: str, unit: Unit, bench: Bench) -> list[Result]:
    """Scores a running text after `<|endoftext|>`, once for all strides.

    Args:
        name: The first result's; the others name their stride.
        text: As the model is to read it.
        unit: What to divide by.
        bench: The model and how it reads.
    """
    ids = bench.coder.encode(text)
    strides = list(dict.fromkeys([bench.stride, *bench.more_strides]))
    results = []
    for stride, (values,) in zip(strides, bench.scorer.rolling_each([ids], strides), strict=True):
        found = figures(
            -float(values.sum()),
            n_tokens=len(values),
            n_bytes=len(text.encode()),
            n_words=unit.n if unit.name == "word" else len(text.split()),
        )
        if unit.name == "character":
            found["bits_per_character"] = rounded(-float(values.sum()) / math.log(2) / unit.n)
        suffix = "" if stride == bench.stride else f"_stride_{stride}"
        protocol = _protocol(unit, bench, stride)
        results.append(Result(name=name + suffix, figures=found, protocol=protocol))
    return results


def score(texts: Sequence[str], bench: Bench) -> Sums:
    """Scores texts, each after `<|endoftext|>`."""
    scored = bench.scorer.rolling([bench.coder.encode(text) for text in texts], bench.stride)
    return Sums(
        nll=[-float(values.sum()) for values in scored],
        n_tokens=[len(values) for values in scored],
        n_bytes=[len(text.encode()) for text in texts],
    )


def _protocol(unit: Unit, bench: Bench, stride: int) -> dict[str, object]:
    return {
        "detokenizer": "none",
        "unit": unit.words,
        "n_units": unit.n,
        "method": "rolling log-likelihood",
        "window": bench.scorer.n_ctx,
        "stride": stride,
        "end_of_text_charged": False,
    }


def figures(nll: float, n_tokens: int, n_bytes: int, n_words: int) -> dict[str, float]:
    """Returns the three quotients and what they divide by.

    A perplexity beyond the range of a float is left out.

    >>> figures(8 * math.log(2), n_tokens=4, n_bytes=16, n_words=2)["bits_per_byte"]
    0.5
    >>> figures(8 * math.log(2), n_tokens=4, n_bytes=16, n_words=2)["perplexity_word"]
    16.0
    """
    counts = {"n_tokens": n_tokens, "n_bytes": n_bytes, "n_words": n_words}
    made = {"bits_per_byte": rounded(nll / math.log(2) / n_bytes)}
    for unit in ("token", "word"):
        exponent = nll / counts[f"n_{unit}s"] if counts[f"n_{unit}s"] else math.inf
        if exponent < math.log(1e300):
            made[f"perplexity_{unit}"] = rounded(math.exp(exponent))
    return made | counts

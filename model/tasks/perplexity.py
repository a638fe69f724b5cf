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
- A running text is read as one, and summed by article or block: an article's own figure, given all
  that was read before it. So it has intervals, and a score without what overlaps the training text,
  whose words stay as context.
- Several strides from one pass: a table with one window and stride answers one question of many.

Paper: GPT-2, section 3.1: the sum is divided by canonical units, then exponentiated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from model.tasks.forms import BLOCK_CHARACTERS, Example, n_words
from model.tasks.registry import WORDS
from model.tasks.results import Bench, Chosen, Floats, Result, bits, perplexity, rates
from pipeline.text.detokenize import Convention, detokenize_exactly, is_exact

BLOCKS = f"blocks of {BLOCK_CHARACTERS:,} characters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a sum is divided by.

    Attributes:
        name: A kind of figure.
        counts: (n,) how many of it each row has.
        words: What counts as one.
    """

    name: Literal["word", "character"]
    counts: npt.NDArray[np.int64]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What was scored, row by row: documents, or the articles or blocks of a running text.

    Attributes:
        nll: (n,) sum over a row's tokens, nats.
        n_tokens: (n,) its tokens.
        n_bytes: (n,) its bytes.
    """

    nll: Floats
    n_tokens: npt.NDArray[np.int64]
    n_bytes: npt.NDArray[np.int64]


def documents(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores documents one by one."""
    texts = [each.text for each in examples]
    counts = np.array([len(text.split()) for text in texts], np.int64)
    unit = Unit(name="word", counts=counts, words="words between blanks")
    made = result(name, score(texts, bench), unit, bench, bench.stride)
    made.protocol["resampled"] = "documents"
    return [made]


def running_text(
    name: str, examples: Sequence[Example], bench: Bench, convention: Convention, rows: str = BLOCKS
) -> list[Result]:
    """Scores a published text as it is and detokenized, at each stride.

    Args:
        name: The set.
        examples: Its rows; joined, they are the text. Each ends with a line.
        bench: The model and how it reads.
        convention: How it was tokenized.
        rows: What a row is, in words.
    """
    texts = [each.text for each in examples]
    counts = np.array([n_words(text) for text in texts], np.int64)
    unit = Unit(name="word", counts=counts, words=WORDS)
    lines = [text.split("\n") for text in texts]
    clean = [[detokenize_exactly(line, convention) for line in each] for each in lines]
    kept = sum(
        not is_exact(a, b, convention)
        for before, after in zip(lines, clean, strict=True)
        for a, b in zip(before, after, strict=True)
    )
    plain = measure(f"{name}_raw", texts, unit, bench)
    better = measure(f"{name}_detokenized", ["\n".join(each) for each in clean], unit, bench)
    for each in better:
        each.protocol.update(detokenizer="lines that can be restored", n_lines_not_restored=kept)
    for each in plain + better:
        each.protocol.update(resampled=rows)
    return plain + better


def sentences(
    name: str, examples: Sequence[Example], bench: Bench, convention: Convention
) -> list[Result]:
    """Scores shuffled sentences as one running text and, detokenized, each after a marker.

    Sentences that do not follow each other are no context; the second protocol gives none.
    """
    texts = [detokenize_exactly(each.text.rstrip("\n"), convention) for each in examples]
    counts = np.array([n_words(each.text) for each in examples], np.int64)
    unit = Unit(name="word", counts=counts, words=WORDS)
    sums = score([f"{text}\n" for text in texts], bench)
    alone = result(f"{name}_sentences", sums, unit, bench, bench.stride)
    alone.protocol.update(
        detokenizer="lines that can be restored",
        texts="one sentence at a time",
        resampled="sentences",
    )
    return [*running_text(name, examples, bench, convention, "sentences"), alone]


def characters(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores a text that is measured in bits per character or byte, as it is, at each stride."""
    is_bytes = "n_bytes" in examples[0].fields
    counts = [each.fields["n_bytes"] if is_bytes else len(each.text) for each in examples]
    words = "bytes" if is_bytes else "characters"
    unit = Unit(name="character", counts=np.array(counts, np.int64), words=words)
    found = measure(name, [each.text for each in examples], unit, bench)
    for each in found:
        each.protocol.update(resampled=BLOCKS)
    return found


def measure(name: str, texts: Sequence[str], unit: Unit, bench: Bench) -> list[Result]:
    """Scores a running text after `<|endoftext|>`, once for all strides.

    Args:
        name: The first result's; the others name their stride.
        texts: Its rows as the model is to read them, one after the other.
        unit: What to divide by.
        bench: The model and how it reads.
    """
    parts = bench.coder.encode_parts(texts)
    strides = list(dict.fromkeys([bench.stride, *bench.more_strides]))
    scored = bench.scorer.rolling_each([np.concatenate(parts)], strides)
    cuts = np.cumsum([0, *map(len, parts)])
    results = []
    for stride, (values,) in zip(strides, scored, strict=True):
        sums = Sums(
            nll=np.array([-values[start:end].sum() for start, end in pairwise(cuts)]),
            n_tokens=np.diff(cuts),
            n_bytes=_n_bytes(texts),
        )
        suffix = "" if stride == bench.stride else f"_stride_{stride}"
        results.append(result(name + suffix, sums, unit, bench, stride))
    return results


def score(texts: Sequence[str], bench: Bench) -> Sums:
    """Scores texts, each after `<|endoftext|>`."""
    scored = bench.scorer.rolling([bench.coder.encode(text) for text in texts], bench.stride)
    return Sums(
        nll=np.array([-values.sum() for values in scored]),
        n_tokens=np.array([len(values) for values in scored], np.int64),
        n_bytes=_n_bytes(texts),
    )


def _n_bytes(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.array([len(text.encode()) for text in texts], np.int64)


def result(name: str, sums: Sums, unit: Unit, bench: Bench, stride: int) -> Result:
    """Returns the figures of all rows, and of any of them."""
    among = partial(_among, sums, unit, bench.seed)
    protocol = {
        "detokenizer": "none",
        "unit": unit.words,
        "n_units": int(unit.counts.sum()),
        "method": "rolling log-likelihood",
        "window": bench.scorer.n_ctx,
        "stride": stride,
        "end_of_text_charged": False,
    }
    everything = np.ones(len(sums.nll), np.bool_)
    return Result(name=name, figures=among(everything), protocol=protocol, among=among)


def _among(sums: Sums, unit: Unit, seed: int, chosen: Chosen) -> dict[str, float]:
    some = Sums(nll=sums.nll[chosen], n_tokens=sums.n_tokens[chosen], n_bytes=sums.n_bytes[chosen])
    return figures(some, Unit(name=unit.name, counts=unit.counts[chosen], words=unit.words), seed)


def figures(sums: Sums, unit: Unit, seed: int) -> dict[str, float]:
    """Returns the three quotients with their intervals, and what they divide by.

    A perplexity beyond the range of a float is left out.

    >>> nll, two = np.array([8 * np.log(2)]), np.array([2])
    >>> sums = Sums(nll=nll, n_tokens=np.array([4]), n_bytes=np.array([16]))
    >>> figures(sums, Unit(name="word", counts=two, words="words"), seed=1)
    {'bits_per_byte': 0.5, 'perplexity_token': 4.0, 'perplexity_word': 16.0, 'n_tokens': 4, \
'n_bytes': 16, 'n_words': 2}
    """
    columns = np.column_stack([sums.n_bytes, sums.n_tokens, unit.counts])
    per_byte, per_token, per_unit = rates(sums.nll, columns, seed)
    made = bits("bits_per_byte", per_byte) | perplexity("perplexity_token", per_token)
    if unit.name == "word":
        made |= perplexity("perplexity_word", per_unit)
    else:
        made |= bits("bits_per_character", per_unit)
    n_bytes, n_tokens, n_units = columns.sum(axis=0).tolist()
    return made | {"n_tokens": n_tokens, "n_bytes": n_bytes, f"n_{unit.name}s": n_units}

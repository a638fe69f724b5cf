"""What the tasks that generate share: which examples, what fits the context, where an answer ends.

    examples ── hash of ids ──> at most `max_generated` ──> prompts ──> Scorer.generate ──> texts

Decisions:
- Generation is the slow part, so a share of the examples may stand for all. Their ids choose it;
  the protocol says how many of how many.
- A prompt that leaves no room for the answer loses its beginning; the protocol says how many did.
- Sentences end at a line's end, or after `.`, `!` or `?` before a blank. The paper does not say how
  it cut; abbreviations end sentences here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xxhash

from model.sample import GREEDY, Settings
from model.stops import Stops
from model.tasks.forms import Example
from model.tasks.results import Bench, Chosen

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'’”)\]]*\s+|\n+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What was generated.

    Attributes:
        texts: One per prompt, cut before the string that ended it.
        ids: The prompt as the model read it, and the new tokens before the one that ended them.
        n_cut: Prompts that lost their beginning.
        n_new: New tokens of one, at most.
    """

    texts: list[str]
    ids: list[tuple[list[int], list[int]]]
    n_cut: int
    n_new: int


def chosen(examples: Sequence[Example], limit: int | None) -> list[int]:
    """Returns the indices of at most `limit` examples, which the hash of their ids chooses."""
    ranks = [xxhash.xxh3_64_intdigest(f"generate:{e.example_id}".encode()) for e in examples]
    order = sorted(range(len(examples)), key=lambda i: (ranks[i], i))
    return sorted(order[:limit])


def kept(indices: Sequence[int], among: Chosen) -> list[int]:
    """Returns the places in `indices` of those that are among the chosen examples."""
    return [place for place, index in enumerate(indices) if among[index]]


def everything(examples: Sequence[Example]) -> Chosen:
    """Returns the choice of all examples."""
    return np.ones(len(examples), np.bool_)


def answer(
    prompts: Sequence[str],
    bench: Bench,
    n_new: int,
    *,
    ends: tuple[str, ...] = ("\n",),
    settings: Settings = GREEDY,
) -> Answers:
    """Continues prompts until one of `ends`, `<|endoftext|>` or `n_new` tokens.

    Args:
        prompts: Texts.
        bench: The model.
        n_new: New tokens, at most; half of the context where that is less.
        ends: Strings that end a text.
        settings: How each token is chosen.
    """
    n_new = min(n_new, max(1, bench.scorer.n_ctx // 2))
    room = bench.scorer.n_ctx - n_new
    encoded = [bench.coder.encode(prompt).tolist() for prompt in prompts]
    read = [ids[-room:] for ids in encoded]
    stops = Stops(strings=ends, coder=bench.coder)
    key = f"{ends} {bench.coder.vocabulary.tokenizer_sha256}"
    new = bench.scorer.generate(read, settings, n_new, bench.seed, stops=stops, stops_key=key)
    return Answers(
        texts=[stops.text(ids).strip() for ids in new],
        ids=[(a, b[:-1] if stops(b) else b) for a, b in zip(read, new, strict=True)],
        n_new=n_new,
        n_cut=sum(len(a) > len(b) for a, b in zip(encoded, read, strict=True)),
    )


def protocol(
    bench: Bench, examples: Sequence[Example], indices: Sequence[int], **more: object
) -> dict[str, object]:
    """Returns what every generated figure says of itself."""
    return {
        "detokenizer": "none",
        "n_units": len(indices),
        "is_whole": len(indices) == len(examples),
        "seed": bench.seed,
        "window": bench.scorer.n_ctx,
        **more,
    }


def sentences(text: str) -> list[str]:
    r"""Returns the sentences of a text, without the blanks around them.

    >>> sentences("It rained. Was it 3.5 mm?\nNo one knew")
    ['It rained.', 'Was it 3.5 mm?', 'No one knew']
    """
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    pieces = (text[a:b].strip() for a, b in pairwise(ends))
    return [piece for piece in pieces if piece]

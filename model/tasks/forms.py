"""How published files are read: one function per form, from its content to examples.

Here are the forms whose answers are scored; `answers` has those whose answers are generated,
`splits` those of sets that were not at hand.

A function also counts what `EvalSet.n_units` counts, so that a file that was cut, or read wrongly,
is noticed.

A running text without articles is cut into blocks: they are resampled for intervals, looked for in
the corpus, and left out where they overlap. Joined, the rows of a running text are the text.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from model.tasks.registry import Form

MASK = "[MASK]"
# About what a window of the papers' 1,024 tokens holds, so that few words depend on another block.
BLOCK_CHARACTERS = 5000

# What a candidate may begin with that is no name.
_COMMON = re.compile(r"(?:The|A|An|My|His|Her|Their|Our|People|Prehistoric|Archaeologists)\b")
# Blanks that the file has before a mark where people write none.
_SPACED = re.compile(r" (?=[.,;!?])")
# The file hides the pronouns; in these records, read one by one, it is a possessive one.
_POSSESSIVE = frozenset([208, 209, *range(216, 222), *range(228, 238), *range(240, 246), 269, 270])
# A heading of the first level after a blank line; those of sections have two signs or more.
_ARTICLE = re.compile(r"(?<=\n \n) = (?!= )[^\n]* = (?=\n \n)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row of an evaluation set; `fields` is what its task needs beside the text."""

    example_id: str
    text: str
    fields: dict[str, Any]


def _lambada_json(content: str) -> tuple[list[Example], int]:
    texts = [json.loads(line)["text"] for line in content.splitlines()]
    return _passages(texts)


def _lambada_plain(content: str) -> tuple[list[Example], int]:
    return _passages(content.removesuffix("\n").split("\n"))


def _passages(texts: Sequence[str]) -> tuple[list[Example], int]:
    """The target is what follows the last blank, as in the usual evaluators."""
    examples = [
        Example(example_id=f"{i:05d}", text=text, fields={"target": text.rsplit(" ", 1)[1]})
        for i, text in enumerate(texts)
    ]
    return examples, len(examples)


def _winograd(content: str) -> tuple[list[Example], int]:
    """Records of five lines: sentence, mask, candidates, answer, blank."""
    lines = content.rstrip("\n").split("\n")
    starts = range(0, len(lines), 5)
    examples = [_schema(f"{i:03d}", lines[start : start + 4]) for i, start in enumerate(starts)]
    return examples, len(examples)


def _schema(example_id: str, lines: Sequence[str]) -> Example:
    sentence, mask, candidates, answer = (" ".join(line.split()) for line in lines)
    before, after = _SPACED.sub("", sentence).split(MASK)
    names = [name.strip() for name in candidates.split(",")]
    if mask != MASK or len(names) != 2:
        raise ValueError(f"record {example_id}: expected {MASK} and two candidates")
    before = before.rstrip()
    ending = "'s" if int(example_id) in _POSSESSIVE else ""
    written = [_in_place(name, before) + ending for name in names]
    right = names.index(answer)
    fields = {"before": before, "after": after, "candidates": written, "answer": right}
    text = f"{before} {written[right]}{after}".strip()
    return Example(example_id=example_id, text=text, fields=fields)


def _in_place(candidate: str, before: str) -> str:
    """Writes a candidate as it stands at its place: capital only for names and sentence starts.

    >>> _in_place("The shelf", "It fell because"), _in_place("the shelf", "It fell.")
    ('the shelf', 'The shelf')
    """
    if not before or before.endswith((".", "!", "?", '"')):
        return candidate[0].upper() + candidate[1:]
    if _COMMON.match(candidate):
        return candidate[0].lower() + candidate[1:]
    return candidate


def _ptb(content: str) -> tuple[list[Example], int]:
    examples = [
        Example(example_id=f"{i:04d}", text=block, fields={})
        for i, block in enumerate(blocks(content, "\n"))
    ]
    return examples, n_words(content)


def blocks(text: str, end: str) -> list[str]:
    r"""Cuts a text into blocks of at least `BLOCK_CHARACTERS`, the last one of what is left.

    Args:
        text: Any text.
        end: Expression that a block ends with.

    >>> [len(block) for block in blocks("a few words in a line\n" * 1000, r"\n")]
    [5016, 5016, 5016, 5016, 1936]
    """
    found = re.findall(rf"(?s).{{{BLOCK_CHARACTERS}}}.*?(?:{end}|\Z)|.+", text)
    return found or [text]


def _wikitext(content: str) -> tuple[list[Example], int]:
    """One row per article; the file's first line is blank and belongs to the first."""
    cuts = [0, *(match.start() for match in _ARTICLE.finditer(content)), len(content)]
    pieces = [content[start:stop] for start, stop in pairwise(cuts)]
    examples = [
        Example(example_id=f"{i:03d}", text=piece, fields={}) for i, piece in enumerate(pieces)
    ]
    return examples, n_words(content)


def n_words(text: str) -> int:
    r"""Counts words between blanks, and one <eos> for each line, as language-model papers do.

    >>> n_words(" a b \n \n c \n")
    6
    """
    return len(text.split()) + text.count("\n")


READERS: dict[Form, Callable[..., tuple[list[Example], int]]] = {
    "lambada_json": _lambada_json,
    "lambada_plain": _lambada_plain,
    "winograd": _winograd,
    "ptb": _ptb,
    "wikitext": _wikitext,
}
"""By form: a file's examples, and what `EvalSet.n_units` counts."""

r"""Readers of the sets that no copy was at hand of: cloze questions and splits by position.

    cbt       20 numbered sentences, then `21 … XXXXX …<tab>answer<tab><tab>a|b|…|j`; blank line
    enwik8    the first 10^8 bytes of a Wikipedia dump; its last 5 * 10^6 are the test split
    text8     10^8 letters and blanks; its last 5 * 10^6 are the test split
    lines     one sentence per line (One Billion Word)

None of these has read a real file: `docs/evalsets.md` says where each form is known from. So each
refuses what differs from it.
"""

import re
from collections.abc import Callable

from model.tasks.forms import Example, blocks, n_words
from model.tasks.registry import Form

BLANK = "XXXXX"
N_SENTENCES = 20
N_CANDIDATES = 10
N_TEST = 5_000_000  # of enwik8's bytes and text8's characters

_NUMBERED = re.compile(r"(\d+) (.*)")
_NOT_TEXT8 = re.compile(r"[^a-z ]")


def _cbt(content: str) -> tuple[list[Example], int]:
    blocks = [block for block in content.split("\n\n") if block.strip()]
    examples = [_question(i, block.strip("\n").split("\n")) for i, block in enumerate(blocks)]
    return examples, len(examples)


def _question(index: int, lines: list[str]) -> Example:
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    numbers = [int(match[1]) if match else 0 for match in numbered]
    if numbers != list(range(1, N_SENTENCES + 2)):
        raise ValueError(f"question {index}: lines numbered {numbers}; expected 1 to 21")
    texts = [match[2].strip() for match in numbered if match]
    query, answer, empty, names = texts[-1].split("\t")
    candidates = names.split("|")
    if query.split().count(BLANK) != 1 or empty or len(candidates) != N_CANDIDATES:
        raise ValueError(f"question {index}: expected one {BLANK} and {N_CANDIDATES} candidates")
    right = candidates.index(answer)
    fields = {"context": texts[:-1], "query": query, "candidates": candidates, "answer": right}
    text = "\n".join([*texts[:-1], query.replace(BLANK, answer)])
    return Example(example_id=f"{index:05d}", text=text, fields=fields)


def _enwik8(content: str) -> tuple[list[Example], int]:
    """A split that begins inside of a character begins with the whole of it."""
    if not content.startswith("<mediawiki"):
        raise ValueError("expected a dump that begins with <mediawiki")
    data = content.encode()
    start = max(0, len(data) - N_TEST)
    n_bytes = len(data) - start
    n_before = 0
    while start - n_before and data[start - n_before] & 0xC0 == 0x80:
        n_before += 1
    pieces = blocks(data[start - n_before :].decode(), "\n")
    sizes = [len(piece.encode()) for piece in pieces]
    sizes[0] -= n_before
    return [
        Example(example_id=f"{i:04d}", text=piece, fields={"n_bytes": size})
        for i, (piece, size) in enumerate(zip(pieces, sizes, strict=True))
    ], n_bytes


def _text8(content: str) -> tuple[list[Example], int]:
    wrong = _NOT_TEXT8.search(content)
    if wrong:
        raise ValueError(f"{wrong[0]!r} at character {wrong.start()}; expected a-z and blanks")
    text = content[-N_TEST:]
    return [
        Example(example_id=f"{i:04d}", text=piece, fields={})
        for i, piece in enumerate(blocks(text, "(?= )"))
    ], len(text)


def _lines(content: str) -> tuple[list[Example], int]:
    """One example per sentence; the line's end belongs to it."""
    lines = content.splitlines(keepends=True)
    if any(not line.strip() or not line.endswith("\n") for line in lines):
        raise ValueError("expected a sentence and its end on each line")
    examples = [
        Example(example_id=f"{i:05d}", text=line, fields={}) for i, line in enumerate(lines)
    ]
    return examples, n_words(content)


READERS: dict[Form, Callable[..., tuple[list[Example], int]]] = {
    "cbt": _cbt,
    "enwik8": _enwik8,
    "text8": _text8,
    "lines": _lines,
}
"""By form: the examples of a file's content, and what `EvalSet.n_units` counts."""

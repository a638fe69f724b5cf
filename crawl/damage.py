"""What happens to texts on their way through the web: new words, broken encodings, blanks."""

import re
from collections.abc import Callable, Iterator, Sequence

from crawl.docstrings import Block

_SYNONYMS = {
    " the given ": " a given ",
    " returns ": " gives ",
    " must be ": " has to be ",
    " used to ": " used in order to ",
    " values ": " numbers ",
}
_TYPOGRAPHY = ((". ", ".\u00a0"), ("'", "’"), (" - ", " — "), (" -- ", " – "), ("...", "…"))
_WINDOWS_1252 = {b: bytes([b]).decode("cp1252", "ignore") or chr(b) for b in range(128, 160)}


def changed(blocks: Sequence[Block], change: Callable[[str], str]) -> tuple[Block, ...]:
    """Returns blocks with every line changed, code left as it is."""
    return tuple(
        block if block.kind == "code" else block._replace(lines=tuple(map(change, block.lines)))
        for block in blocks
    )


def edited(blocks: Sequence[Block]) -> Iterator[Block]:
    """Yields blocks with a few words changed, at most one change per kind of word."""
    waiting = dict(_SYNONYMS)
    for block in blocks:
        lines = list(block.lines)
        for old in [old for old in waiting if block.kind == "paragraph" and old in lines[0]]:
            lines[0] = lines[0].replace(old, waiting.pop(old), 1)
        yield block._replace(lines=tuple(lines))


def typographic(text: str) -> str:
    """Returns text as a word processor writes it.

    >>> typographic("it's so...")
    'it’s so…'
    """
    for old, new in _TYPOGRAPHY:
        text = text.replace(old, new)
    return text


def misread(text: str) -> str:
    """Returns text whose UTF-8 was read as windows-1252.

    >>> misread("it’s")
    'itâ€™s'
    """
    return text.encode().decode("latin-1").translate(_WINDOWS_1252)


def treebank(text: str) -> str:
    r"""Returns text as the Penn Treebank writes it.

    >>> treebank('He said "it can\'t be (yet)."')
    "He said `` it ca n't be -LRB- yet -RRB- . ''"
    """
    text = re.sub(r'(^|[\s(])"', r"\1`` ", text.replace("`", ""))
    text = text.replace('"', " '' ")
    text = re.sub(r"(\w)n't\b", r"\1 n't", text)
    text = re.sub(r"(\w)('s|'re|'ve|'ll|'d|'m)\b", r"\1 \2", text)
    text = re.sub(r"([,;:?!%])(?=\s|$)", r" \1 ", text)
    text = re.sub(r"\.(?=\s*(?:$|'' |[)\]]|[\s][A-Z]))", " . ", text)
    for bracket, token in (("(", "-LRB-"), (")", "-RRB-")):
        text = text.replace(bracket, f" {token} ")
    return " ".join(text.split())

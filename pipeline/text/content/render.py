"""A body of text elements to plain text: one line per paragraph, head, list item and table row.

What trafilatura's own function gives without formatting. Paragraphs, heads and flat lists, nearly
all there is, are written here directly; anything nested is left to that function.
"""

from html import unescape

from lxml.etree import _Element
from trafilatura.xml import NEWLINE_ELEMS, SEPARATORS, process_element

_LEAVES = NEWLINE_ELEMS - {"list", "table", "row", "graphic", "lb"}
_ROOTS = ("body", "div")
_DELETED = "\u2424"  # what trafilatura writes where nothing shall be


def render(body: _Element) -> str:
    """Returns a body's text."""
    pieces: list[str] = []
    if body.tag not in _ROOTS or body.text:
        process_element(body, pieces, False)  # not one of our bodies: readability's
        return _cleaned("".join(pieces))
    for part in body:
        if part.tag in _LEAVES and part.text and len(part) == 0:
            _write_leaf(part, part.text, pieces)
        elif part.tag == "list" and _is_flat(part):
            _write_list(part, pieces)
        else:
            process_element(part, pieces, False)
    return _cleaned("".join(pieces))


def _write_leaf(part: _Element, text: str, pieces: list[str]) -> None:
    _begin_line(pieces)
    pieces += (text, "\n")
    if tail := part.tail:
        pieces.append(tail.lstrip())


def _begin_line(pieces: list[str]) -> None:
    if pieces and pieces[-1][-1:] not in SEPARATORS:
        pieces.append("\n")


def _is_flat(part: _Element) -> bool:
    """Returns whether a list consists of items with text and nothing else."""
    return not (part.text or part.tail) and all(
        item.tag == "item"
        and len(item) == 0
        and (text := item.text)
        and not text.isspace()
        and not item.tail
        for item in part
    )


def _write_list(part: _Element, pieces: list[str]) -> None:
    _begin_line(pieces)
    for item in part:
        pieces += ("- ", item.text or "", "\n")
    pieces.append("\n")


def _cleaned(text: str) -> str:
    """Returns a text without empty lines, control characters and entities written out."""
    lines = (_printable(line) for line in text.splitlines() if line)
    text = "\n".join(filter(None, lines))
    return unescape(text.replace(_DELETED, "")) if "&" in text or _DELETED in text else text


def _printable(line: str) -> str:
    if "&" in line:
        line = line.replace("&#13;", "\r").replace("&#10;", "\n").replace("&nbsp;", "\xa0")
    if line.isprintable():
        return line
    return "".join(char for char in line if char.isprintable() or char.isspace())

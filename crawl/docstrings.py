"""Docstrings as blocks of readable text.

Python's documentation is written in three markups: reStructuredText, numpy sections, Google
sections. This module reads them as far as they carry prose and gives headings, paragraphs, lists
and code back; tables, link lists, displayed formulas and figures carry none and are left out.

Inside a block's text, backticks mark code (`x`); nothing else is marked up.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Literal, NamedTuple

from crawl.inline import inline, unmarked

Kind = Literal["heading", "subheading", "paragraph", "items", "code"]


class Block(NamedTuple):
    """A part of a text: one line for a heading or paragraph, one per item, one per code line."""

    kind: Kind
    lines: tuple[str, ...]


# Sections whose body is a list of names with definitions, and sections without prose.
_FIELDS = {
    "parameters", "other parameters", "keyword-only parameters", "arguments", "keyword arguments",
    "args", "keyword args", "attributes", "properties", "options", "methods", "inputs", "outputs",
    "returns", "return", "yields", "yield", "receives", "raises", "warns",
}  # fmt: skip
_PROSE = {"note", "notes", "example", "examples", "warning", "warnings", "shape", "details"}
_SKIPPED = {"see also", "index", "routines", "todo"}

_UNDERLINE = re.compile(r"([=\-~^\"'*+#.`_])\1{2,}\s*")
_TABLE = re.compile(r"\s*(=+(\s+=+)+|[+|].*[+|]|-+(\s+-+)+|\|.*\|)\s*")
_GOOGLE = re.compile(r"([A-Z][a-z]+(?: [A-Za-z]+)?):\s*")
_DIRECTIVE = re.compile(r"\.\.\s+([\w:-]+?)::\s*(.*)")
_CITATION = re.compile(r"\.\.\s+\[#?\w+\]\s+(.*)")
_BULLET = re.compile(r"(?:[-*+•]|\(?(?:\d{1,2}|[a-z])[.)])\s+(?=\S)")
_FIELD = re.compile(
    r":(param|parameter|arg|keyword|raises?|returns?|type|rtype|\w+)([^:]*):\s*(.*)"
)
_FENCE = re.compile(r"(```|~~~)")
_ADMONITION = re.compile(r"!!! (\w+)(?: \"(.*)\")?")
_OPTION = re.compile(r"\s*:[\w-]+:.*")
_NAME = re.compile(
    r"([*\w][\w.*, /|]{0,60}?)\s*(?:\(([^()]*(?:\([^()]*\)[^()]*)*)\))?\s*:(?:\s+|$)(.*)"
)

_SIGNATURE = re.compile(r"[\w.]+\(.*\)(\s*->.*)?[.:]?(\s--)?")
_NOT_LETTERS = re.compile(r"(?:(?![ ,.'])[\W\d_])+")
_WORD = re.compile(r"(?<![\w.])[A-Za-z]{2,}(?![\w(=])")

_VERSION = {
    "versionadded": "Added in version {}",
    "versionchanged": "Changed in version {}",
    "deprecated": "Deprecated since version {}",
}
_ADMONITIONS = {
    "note", "warning", "tip", "important", "caution", "hint", "attention", "danger",
}  # fmt: skip


def parse(doc: str) -> list[Block]:
    r"""Returns a docstring's blocks.

    >>> parse("Add two numbers.\n\nParameters\n----------\nx : int\n    The first.\n")
    ... # doctest: +NORMALIZE_WHITESPACE
    [Block(kind='paragraph', lines=('Add two numbers.',)),
     Block(kind='heading', lines=('Parameters',)),
     Block(kind='items', lines=('`x` (int): The first.',))]
    """
    return list(_blocks(inspect.cleandoc(doc).split("\n")))


def is_prose(text: str) -> bool:
    """Returns whether a text reads as sentences and not as code, a formula or a drawing.

    >>> is_prose("The input must be sorted."), is_prose("y[i] = x[i] ** 2 + b"), is_prose("+--+")
    (True, False, False)
    """
    others = sum(map(len, _NOT_LETTERS.findall(text)))
    return others <= 0.2 * len(text) and len(_WORD.findall(text)) >= 2


def _blocks(lines: list[str]) -> Iterator[Block]:
    """Yields the blocks of lines whose smallest indent is 0."""
    at, literal = 0, False
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
            continue
        end, found = _next(lines, at, literal=literal)
        literal = line[:1] != " " and lines[end - 1].rstrip().endswith("::")
        yield from found
        at = end


def _next(lines: list[str], at: int, *, literal: bool) -> tuple[int, list[Block]]:
    """Reads what begins at a line that is not blank; returns where it ends, and its blocks."""
    line = lines[at]
    if line[0] == " ":
        return _indented(lines, at, literal=literal)
    if _is_heading(lines, at):
        return _section(lines, at)
    if (google := _GOOGLE.fullmatch(line)) and google[1].lower() in _FIELDS | _PROSE:
        end = _block_end(lines, at + 1)
        return end, _titled(google[1], _dedented(lines[at + 1 : end]))
    if line.startswith((".. ", "!!! ")) or line == "..":
        return _directive(lines, at)
    if _TABLE.fullmatch(line) or _UNDERLINE.fullmatch(line):
        return _paragraph_end(lines, at), []
    if line.startswith((">>>", "$ ", "In [")):
        end = _paragraph_end(lines, at)
        return end, [Block("code", tuple(lines[at:end]))]
    if _FENCE.match(line):
        end = next((i for i in range(at + 1, len(lines)) if _FENCE.match(lines[i])), len(lines) - 1)
        return end + 1, [Block("code", tuple(lines[at + 1 : end]))]
    if _BULLET.match(line):
        return _bullets(lines, at)
    if _FIELD.match(line):
        return _field_list(lines, at)
    return _paragraph(lines, at)


def _is_heading(lines: list[str], at: int) -> bool:
    """Returns whether a title with a rule under it (or over and under it) begins here."""
    if _UNDERLINE.fullmatch(lines[at]):
        return at + 2 < len(lines) and lines[at + 2].strip() == lines[at].strip()
    under = lines[at + 1] if at + 1 < len(lines) else ""
    return bool(_UNDERLINE.fullmatch(under)) and len(under.strip()) >= min(len(lines[at]), 4)


def _section(lines: list[str], at: int) -> tuple[int, list[Block]]:
    overlined = bool(_UNDERLINE.fullmatch(lines[at]))
    title = lines[at + overlined].strip()
    start = at + 2 + overlined
    end = start
    while end < len(lines) and not (lines[end][:1].strip() and _is_heading(lines, end)):
        end += 1
    return end, _titled(title, lines[start:end])


def _titled(title: str, body: list[str]) -> list[Block]:
    name = title.lower().rstrip(":")
    if name in _SKIPPED:
        return []
    found = _fields(_dedented(body)) if name in _FIELDS else list(_blocks(body))
    return [Block("heading", (inline(title.rstrip(":")),)), *found] if found else []


def _fields(body: list[str]) -> list[Block]:
    """Reads names with definitions, in numpy's or Google's form; other bodies as they are."""
    heads = [i for i, line in enumerate(body) if line[:1].strip()]
    if not heads or _BULLET.match(body[heads[0]]):
        return list(_blocks(body))
    ends = [*heads[1:], len(body)]
    parts = [(body[i], body[i + 1 : end]) for i, end in zip(heads, ends, strict=True)]
    if not any(_NAME.fullmatch(head) or rest for head, rest in parts):
        return list(_blocks(body))
    items = [_definition(head, rest) for head, rest in parts]
    return [Block("items", tuple(item for item in items if item))]


def _definition(head: str, rest: list[str]) -> str:
    """Returns one definition as a line: "`name` (type): what it is"; empty if nothing is said."""
    head = unmarked(inline(head)).lstrip("[")
    named = _NAME.fullmatch(head)
    name, kind, begun = (named[1], named[2], named[3]) if named else (head, "", "")
    if " : " in head and not kind:  # numpy: what follows the colon is a type
        kind, begun = begun, ""
    about = " ".join([inline(begun), *_sentences(_dedented(rest))]).strip()
    if not about:
        return ""
    name = name.strip().rstrip(":")
    if len(name.split()) > 2 and is_prose(name):
        return f"{name}: {about}"
    return f"`{name}`{f' ({kind})' if kind else ''}: {about}"


def _sentences(lines: list[str]) -> Iterator[str]:
    for block in _blocks(lines):
        if block.kind in ("paragraph", "items"):
            yield from block.lines


def _directive(lines: list[str], at: int) -> tuple[int, list[Block]]:
    end = _block_end(lines, at + 1)
    body = [line for line in _dedented(lines[at + 1 : end]) if not _OPTION.fullmatch(line)]
    if cited := _CITATION.match(lines[at]):
        return end, [Block("items", (inline(" ".join([cited[1], *map(str.strip, body)])),))]
    found = _DIRECTIVE.match(lines[at]) or _ADMONITION.match(lines[at])
    name, argument = (found[1], found[2] or "") if found else ("", "")
    if name in _ADMONITIONS:
        return end, list(_blocks([argument, *body]))
    if name in _VERSION:
        version, _, begun = argument.partition(" ")
        text = " ".join([begun, *_sentences(body)]).strip()
        told = _VERSION[name].format(version)
        return end, [Block("paragraph", (inline(f"{told}: {text}" if text else f"{told}."),))]
    if name == "rubric":
        return end, _titled(argument, body)
    if name in ("code-block", "code", "sourcecode", "testcode"):
        return end, [Block("code", tuple(_trimmed(body)))]
    return end, []


def _indented(lines: list[str], at: int, *, literal: bool) -> tuple[int, list[Block]]:
    end = _block_end(lines, at)
    body = _dedented(lines[at:end])
    text = " ".join(body)
    if literal or "::=" in text or not is_prose(text):
        return end, [Block("code", tuple(_trimmed(body)))]
    return end, list(_blocks(body))


def _bullets(lines: list[str], at: int) -> tuple[int, list[Block]]:
    items: list[list[str]] = []
    while at < len(lines):
        line = lines[at]
        mark = _BULLET.match(line)
        if mark:
            items.append([line[mark.end() :]])
        elif not line.strip():
            if not (
                at + 1 < len(lines) and (_BULLET.match(lines[at + 1]) or lines[at + 1][:1] == " ")
            ):
                break
        elif line[0] == " ":
            items[-1].append(line.strip())
        else:
            break
        at += 1
    texts = (inline(" ".join(item)) for item in items)
    return at, [Block("items", tuple(t for t in texts if is_prose(t)))]


def _field_list(lines: list[str], at: int) -> tuple[int, list[Block]]:
    items: list[str] = []
    while at < len(lines) and (found := _FIELD.match(lines[at])):
        end = _block_end(lines, at + 1)
        text = inline(" ".join([found[3], *(line.strip() for line in lines[at + 1 : end])]).strip())
        name = found[2].split()[-1] if found[2].split() else ""
        if text and found[1] in ("param", "parameter", "arg", "keyword"):
            items.append(f"`{name}`: {text}")
        elif text and found[1].startswith(("return", "raise")):
            items.append(
                f"{found[1].capitalize()} `{name}`: {text}" if name else f"Returns: {text}"
            )
        at = end
    return at, [Block("items", tuple(items))] if items else []


def _paragraph(lines: list[str], at: int) -> tuple[int, list[Block]]:
    end = _paragraph_end(lines, at)
    raw = " ".join(line.strip() for line in lines[at:end])
    if _SIGNATURE.fullmatch(raw):
        return end, []
    if end > at + 1 and lines[at + 1][0] == " ":  # a term and its definition, or code under a line
        rest = lines[at + 1 : max(end, _block_end(lines, at + 1))]
        if not is_prose(" ".join(rest)):
            return at + 1, _sentence(lines[at])
        if len(lines[at].split()) <= 4 or lines[at].endswith(":"):
            found = _definition(lines[at], rest)
            return at + 1 + len(rest), [Block("items", (found,))] if found else []
    return end, _sentence(raw)


def _sentence(raw: str) -> list[Block]:
    """Returns one paragraph as a block; code when it does not read as prose; or nothing."""
    text = re.sub(r"\s*::$", ":", raw)
    if "::=" in raw or (len(text) > 30 and not is_prose(text)):
        return [Block("code", (raw.replace("``", ""),))]
    text = inline(text)
    if text.startswith("<") or not any(c.isalpha() for c in text):
        return []
    return [Block("paragraph", (text,))]


def _paragraph_end(lines: list[str], at: int) -> int:
    """Returns the index after the lines that belong together: no blank line, no new construct."""
    end = at + 1
    while end < len(lines) and lines[end].strip():
        line = lines[end]
        if line.startswith((".. ", ">>>")) or _FENCE.match(line):
            break
        if line.startswith((":param", ":return", ":raise", "- ", "* ")) or _is_heading(lines, end):
            break
        end += 1
    return end


def _block_end(lines: list[str], at: int) -> int:
    """Returns the index after the indented lines from `at` on, blank ones between included."""
    end = at
    for index in range(at, len(lines)):
        if lines[index].strip():
            if lines[index][0] != " ":
                break
            end = index + 1
    return end


def _dedented(lines: list[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).split("\n") if lines else []


def _trimmed(lines: list[str]) -> list[str]:
    return "\n".join(lines).strip("\n").split("\n")

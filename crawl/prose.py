"""Articles of real prose, made from the documentation that is already on the machine.

Decisions:
- Source files are parsed, never imported: importing runs foreign code and takes seconds.
- Where a package keeps its documentation differs. Read are docstrings of modules, classes and
  functions, texts that `add_docstr(...)` and `add_newdoc(...)` attach to compiled functions
  (torch, numpy), and the language reference inside `pydoc_data.topics`.
- Files are read lazily, those with the most documentation per byte first, until there are enough
  articles: parsing is a third of the demo's time, and this order halves it for the large packages.
- An article is a few sections of 2 to 8 kB together, not one docstring: a web page has a page's
  length. A text that the package said before is left out; code is kept where it is short.
"""

import ast
import re
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from crawl import docstrings
from crawl.docstrings import Block

STANDARD_LIBRARY = "python"  # how a package list names it

_LEFT_OUT = {  # tests, code of others, code that was written by a program
    "test", "tests", "testing", "_test", "idlelib", "lib2to3", "turtledemo", "encodings",
    "ensurepip", "pydoc_data", "site-packages", "dist-packages", "_vendor", "vendor", "vendored",
    "third_party", "thirdparty_files", "generated", "_generated", "onnx", "__pycache__",
}  # fmt: skip
_STRINGS = re.compile(rb'"""(.*?)"""', re.DOTALL)

_MIN_SECTION_CHARS = 200
_MIN_ARTICLE_CHARS = 1_200
_FULL_ARTICLE_CHARS = 1_800  # from here on a new class begins a new article
_MAX_ARTICLE_CHARS = 3_400
_MAX_CODE_LINES = 12
_MAX_CODE_FRAC = 0.15
_LINE_CHARS = 60  # shorter lines ("Returns: self") count for nothing
_REPEAT_WORDS = 5
# Of pages of 5,000 characters, 2 % then share more than 30 8-grams with another page; with 0.6 it
# is 5 %. Comparing whole lines leaves 21 % of them to Gopher's repetition rules, 0.6 leaves 1 %.
_MIN_NEW_FRAC = 0.8


class Section(NamedTuple):
    """The documentation of one object."""

    name: str
    heading: str
    room: int  # begins a new article when the current one has as many characters
    blocks: tuple[Block, ...]


class Article(NamedTuple):
    """What one page of a site says."""

    package: str
    name: str
    title: str
    blocks: tuple[Block, ...]


def find(package: str) -> Path | None:
    """Returns the folder of an installed package without importing it; None if it is absent."""
    if package == STANDARD_LIBRARY:
        return Path(sysconfig.get_path("stdlib"))
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


def articles(package: str, root: Path, n_articles: int) -> list[Article]:
    """Returns at most `n_articles` articles of one package; fewer when it says less.

    Args:
        package: Its import name.
        root: Its folder.
        n_articles: How many are wanted.
    """
    read = (_sections(path, _module(package, root, path)) for path in _densest_first(root))
    return list(islice(_pack(package, _unrepeated(chain.from_iterable(read))), n_articles))


def plain_text(blocks: Iterable[Block]) -> str:
    r"""Returns what a reader sees, one line per paragraph, item and line of code.

    >>> plain_text([Block("heading", ("On `x`",)), Block("items", ("one", "two"))])
    'On x\none\ntwo'
    """
    return "\n".join(
        line if block.kind == "code" else line.replace("`", "")
        for block in blocks
        for line in block.lines
    )


def n_chars(blocks: Iterable[Block]) -> int:
    """Returns how much prose there is: characters of sentences, code and stubs not counted."""
    return sum(
        len(line)
        for b in blocks
        if b.kind != "code"
        for line in b.lines
        if len(line) >= _LINE_CHARS
    )


# ------------------------------------------------------------------------------------- the files


def _densest_first(root: Path) -> list[Path]:
    """Returns the source files that are documented, those that hold little else first."""
    shares = []
    for path in _files(root):
        content = path.read_bytes()
        n_bytes = _n_documented(path.name, content)
        if n_bytes >= _MIN_ARTICLE_CHARS:
            shares.append((n_bytes / len(content), path))
    return [path for _, path in sorted(shares, key=lambda share: (-share[0], share[1]))]


def _files(root: Path) -> list[Path]:
    found = [path for path in root.rglob("*.py") if not path.name.startswith(("test_", "conftest"))]
    return sorted(p for p in found if not _LEFT_OUT.intersection(p.relative_to(root).parts[:-1]))


def _n_documented(name: str, content: bytes) -> int:
    if name == "topics.py":
        return len(content)
    texts = _STRINGS.findall(content)
    return sum(len(text) for text in texts if len(text) >= _MIN_SECTION_CHARS)


def _module(package: str, root: Path, path: Path) -> str:
    """Returns a module's dotted name as users write it: without private parts."""
    parts = path.relative_to(root).with_suffix("").parts
    shown = [part for part in parts if not part.startswith("_")]
    prefix = [] if package == STANDARD_LIBRARY else [package]
    return ".".join([*prefix, *shown]) or package


# ---------------------------------------------------------------------------------- the sections


def _sections(path: Path, module: str) -> Iterator[Section]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # templates and files for other Python versions
        return
    yield from _made(module, module, ast.get_docstring(tree, clean=False), _MIN_ARTICLE_CHARS)
    for name, text in _attached(tree):
        yield from _made(f"{module}.{name}", name, text, _FULL_ARTICLE_CHARS)
    yield from _members(tree.body, module, "")


def _members(body: Iterable[ast.stmt], module: str, owner: str) -> Iterator[Section]:
    """Yields the documented classes, methods and functions of a module or class."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            text = ast.get_docstring(node, clean=False)
            yield from _made(f"{module}.{node.name}", node.name, text, _FULL_ARTICLE_CHARS)
            yield from _members(node.body, module, f"{node.name}.")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _is_public(node.name):
            text = ast.get_docstring(node, clean=False)
            name = owner + node.name
            shown = f"{name}({', '.join(_arguments(node))})"
            yield from _made(f"{module}.{name}", shown, text, _MAX_ARTICLE_CHARS)
        elif isinstance(node, (ast.If, ast.Try)):
            yield from _members(node.body, module, owner)


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name.endswith("__")


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    told = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [a.arg for a in told if a.arg not in ("self", "cls")][:6]


def _made(name: str, heading: str, text: str | None, room: int) -> Iterator[Section]:
    if text is None or len(text) < _MIN_SECTION_CHARS:
        return
    blocks = docstrings.parse(text)
    if blocks and blocks[0].kind == "heading" and room < _MAX_ARTICLE_CHARS:
        heading = blocks.pop(0).lines[0]  # the text brings a title of its own
    yield Section(name, heading, room, tuple(blocks))


def _attached(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yields (name, text) of documentation that a module attaches to other objects."""
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _added(node.value)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                if isinstance(key, ast.Constant) and (text := _text(value)):
                    yield str(key.value), text


def _added(call: ast.Call) -> Iterator[tuple[str, str]]:
    if ast.unparse(call.func).startswith(("add_docstr", "add_newdoc")) and len(call.args) >= 2:
        last = call.args[-1]
        parts = last.elts if isinstance(last, ast.Tuple) else [last]
        name = ast.unparse(call.args[-2] if len(call.args) > 2 else call.args[0]).strip("'\"")
        if text := _text(parts[-1]):
            yield name.rpartition(".")[2], text


def _text(node: ast.expr) -> str:
    """Returns a literal text, also of `"...".format(...)`, the places to fill left out."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        inner = _text(node.func.value)
        return re.sub(r"\{\w*\}", "", inner).replace("{{", "{").replace("}}", "}")
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


# ---------------------------------------------------------------------------------- the articles


def _unrepeated(sections: Iterable[Section]) -> Iterator[Section]:
    """Drops lines that were said before, dangling lead-ins, and sections left without prose."""
    seen: set[str] = set()
    for section in sections:
        fresh = _tidied([kept for b in section.blocks if (kept := _fresh(b, seen)).lines])
        if n_chars(fresh) >= _MIN_SECTION_CHARS:
            yield section._replace(blocks=tuple(fresh))


def _fresh(block: Block, seen: set[str]) -> Block:
    if block.kind in ("heading", "subheading", "code"):
        return block
    return block._replace(lines=tuple(line for line in block.lines if _is_new(line, seen)))


def _is_new(line: str, seen: set[str]) -> bool:
    """Returns whether most word n-grams of a line were not in any line before it, and notes them.

    Documentation of many functions is the same text with another name in it.

    >>> seen: set[str] = set()
    >>> [_is_new(f"The name of the {x} to be read from", seen) for x in ("file", "file", "key")]
    [True, False, True]
    """
    words = line.split()
    starts = range(max(1, len(words) - _REPEAT_WORDS + 1))
    ngrams = [" ".join(words[start : start + _REPEAT_WORDS]) for start in starts]
    n_new = sum(ngram not in seen for ngram in ngrams)
    seen.update(ngrams)
    return n_new >= _MIN_NEW_FRAC * len(ngrams)


def _tidied(blocks: list[Block]) -> list[Block]:
    """Joins neighbours of one kind, keeps code short, and drops what introduces nothing."""
    joined: list[Block] = []
    for block in blocks:
        if joined and block.kind == joined[-1].kind and block.kind in ("code", "items"):
            joined[-1] = block._replace(lines=joined[-1].lines + block.lines)
        else:
            joined.append(block)
    budget = max(300, _MAX_CODE_FRAC * n_chars(joined))
    kept: list[Block] = []
    for block in joined:
        if block.kind == "code":
            size = sum(map(len, block.lines))
            if len(block.lines) > _MAX_CODE_LINES or size > budget:
                continue
            budget -= size
        kept.append(block)
    return _without_lead_ins(kept)


def _without_lead_ins(blocks: list[Block]) -> list[Block]:
    """Drops headings over nothing, and "... as follows:" where what follows is gone."""
    kept: list[Block] = []
    for block in reversed(blocks):
        follower = kept[-1].kind if kept else "heading"
        if block.kind == "heading" and follower == "heading":
            continue
        leads = block.kind == "paragraph" and block.lines[0].endswith((":", "use"))
        if leads and follower == "heading":
            continue
        if leads and follower == "paragraph" and len(block.lines[0]) < _LINE_CHARS:
            continue
        kept.append(block)
    return kept[::-1]


def _pack(package: str, sections: Iterable[Section]) -> Iterator[Article]:
    """Yields articles: neighbouring sections together until they make a page."""
    waiting: list[Section] = []
    size = 0
    for section in sections:
        added = n_chars(section.blocks)
        full = size >= section.room or size + added > _MAX_ARTICLE_CHARS
        if full and size >= _MIN_ARTICLE_CHARS:
            yield _article(package, waiting)
            waiting, size = [], 0
        waiting.append(section)
        size += added
    if size >= _MIN_ARTICLE_CHARS:
        yield _article(package, waiting)


def _article(package: str, sections: list[Section]) -> Article:
    first = sections[0]
    blocks: list[Block] = []
    for section in sections:
        if section is not first:
            blocks.append(Block("heading", (section.heading,)))
        blocks.extend(
            b._replace(kind="subheading") if b.kind == "heading" else b for b in section.blocks
        )
    return Article(package, first.name, _title(first), tuple(blocks))


def _title(section: Section) -> str:
    """Returns a page title: the object's name and the first sentence about it, if that is short."""
    name = section.name.split(".")[-1]
    if section.heading not in (name, section.name) and not section.heading.startswith(name):
        return section.heading
    summary = next((b.lines[0] for b in section.blocks if b.kind == "paragraph"), "")
    sentence = re.split(r"(?<=\w)[.:](?:\s|$)", summary.replace("`", ""))[0].strip()
    return f"{name}: {sentence}" if 10 <= len(sentence) <= 100 else section.name

"""Docstrings to blocks, packages to articles."""

import ast
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawl import docstrings, prose
from crawl.docstrings import Block, parse
from crawl.inline import inline

PARAGRAPH = (
    "This paragraph number {} explains how the {} is opened, what happens to the rows that it "
    "holds, and why the order of its columns stays what it was when the {} had been written by "
    "somebody else for the first time."
)


def kinds(blocks: list[Block]) -> list[str]:
    return [block.kind for block in blocks]


# ------------------------------------------------------------------------------------ docstrings


def test_parse_numpy_sections_become_headings_and_definitions() -> None:
    blocks = parse("""
        Return the sum of two things.

        Parameters
        ----------
        x, y : array_like
            The things to be added. They must have
            the same shape.
        out : ndarray, optional
            Where to write.

        See Also
        --------
        other : Does something else.

        Examples
        --------
        >>> add(1, 2)
        3
        """)
    assert kinds(blocks) == ["paragraph", "heading", "items", "heading", "code"]
    assert blocks[2].lines == (
        "`x, y` (array_like): The things to be added. They must have the same shape.",
        "`out` (ndarray, optional): Where to write.",
    )
    assert blocks[4].lines == (">>> add(1, 2)", "3")


def test_parse_google_sections_become_headings_and_definitions() -> None:
    blocks = parse("""Opens a file.

    Args:
        path (str): Where it is.
            It must exist.
        mode: How it is opened.

    Returns:
        The open file, to be closed by the caller.

    Raises:
        OSError: If there is no such file.
    """)
    assert blocks[1:3] == [
        Block("heading", ("Args",)),
        Block("items", ("`path` (str): Where it is. It must exist.", "`mode`: How it is opened.")),
    ]
    assert blocks[4] == Block("paragraph", ("The open file, to be closed by the caller.",))
    assert blocks[6] == Block("items", ("`OSError`: If there is no such file.",))


def test_parse_rst_directives_keep_prose_and_drop_figures() -> None:
    blocks = parse("""Draws a line.

    .. versionadded:: 1.2
    .. note:: The line is never longer than the page on which it is drawn.

    .. math:: y = a x + b

    .. figure:: line.png
       :width: 300

       A line, as it was drawn by the first version.

    Call it as follows::

        line(1, 2)

    :param int x: Where the line begins on the page.
    :type x: int
    :returns: The line that was drawn.
    """)
    assert [line for block in blocks for line in block.lines] == [
        "Draws a line.",
        "Added in version 1.2.",
        "The line is never longer than the page on which it is drawn.",
        "Call it as follows:",
        "line(1, 2)",
        "`x`: Where the line begins on the page.",
        "Returns: The line that was drawn.",
    ]


def test_parse_tables_and_drawings_leave_no_paragraph() -> None:
    blocks = parse("""Compares two modes.

    ====  =====
    mode  means
    ====  =====
    r     read
    ====  =====

    +---+---+
    | a | b |
    +---+---+

       o--->o
       |    |
       o<---o
    """)
    assert kinds(blocks) in (["paragraph"], ["paragraph", "code"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing to do here", "nothing to do here"),
        ("see :class:`.Figure`, :func:`~a.b.c` and `~.d.e`", "see `Figure`, `c` and `e`"),
        ("by :pep:`484`, :ref:`the rules <rules>`", "by PEP 484, the rules"),
        ("an unpaired ` mark", "an unpaired  mark"),
        ("*args and **kwargs, 2 * 3 * 4", "*args and **kwargs, 2 * 3 * 4"),
        (r"of shape :math:`(N, \text{in}) \leq 3`", "of shape (N, in) ≤ 3"),
    ],
)
def test_inline_markup_becomes_text(text: str, expected: str) -> None:
    assert inline(text) == expected


@given(st.text(alphabet="ab :`*_.-=>\n\t|+[](){}\\~1#", max_size=300))
def test_parse_any_text_ends_and_yields_clean_lines(text: str) -> None:
    for block in parse(text):
        for line in block.lines:
            assert "\n" not in line
            assert block.kind == "code" or line.count("`") % 2 == 0


@given(
    st.lists(
        st.sampled_from(["", "x : int", "    and more of it.", "Args:", "- one item", "-----"])
    )
)
def test_parse_any_order_of_lines_ends(lines: list[str]) -> None:
    assert isinstance(parse("\n".join(lines)), list)


# -------------------------------------------------------------------------------------- packages


def write(folder: Path, name: str, content: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def documented(name: str, n_paragraphs: int, kind: str = "def") -> str:
    text = "\n\n    ".join(PARAGRAPH.format(i, name, name + "s") for i in range(n_paragraphs))
    head = f"def {name}(path, mode):" if kind == "def" else f"class {name}:"
    return f'{head}\n    """Opens the {name}.\n\n    {text}\n    """\n\n'


SYLLABLES = "ba co du fe gi ho ku la me ni po ra se ti vo".split()


def sentences(n: int, seed: int = 1) -> str:
    """Returns n sentences of invented words; no two share five words in a row."""
    draw = random.Random(seed)
    word = lambda: "".join(draw.choices(SYLLABLES, k=draw.randint(1, 3)))  # noqa: E731
    return " ".join(f"The {' '.join(word() for _ in range(9))} was found." for _ in range(n))


def test_articles_source_is_parsed_and_never_run(tmp_path: Path) -> None:
    distinct = "\n\n".join(sentences(4, seed) for seed in range(12))
    write(tmp_path, "__init__.py", f'"""{distinct}"""\nraise SystemExit("was imported")\n')
    write(tmp_path, "broken.py", '"""' + distinct + '"""\ndef (:\n')
    write(tmp_path, "tests/test_it.py", '"""' + distinct + '"""\n')
    found = prose.articles("thing", tmp_path, 9)
    assert [article.name for article in found] == ["thing"]
    assert found[0].title.startswith("thing: The ")


def test_articles_text_said_before_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a.py", documented("archive", 12))
    write(tmp_path, "b.py", documented("archive", 12).replace("archive", "bottle"))
    text = "\n".join(prose.plain_text(a.blocks) for a in prose.articles("thing", tmp_path, 9))
    assert text.count("explains how the") <= 2  # twelve paragraphs that differ in a number, twice


def test_articles_attached_documentation_is_found(tmp_path: Path) -> None:
    text = sentences(40)
    write(
        tmp_path,
        "docs.py",
        f'add_docstr(torch.stack, r"""stack(x) -> y\n\n{text}\n{{out}}""".format(**k))',
    )
    (article,) = prose.articles("thing", tmp_path, 9)
    assert article.name == "thing.docs.stack"
    assert "{" not in prose.plain_text(article.blocks)
    assert "stack(x)" not in prose.plain_text(article.blocks)


def test_articles_private_parts_of_names_are_hidden(tmp_path: Path) -> None:
    text = sentences(40)
    write(tmp_path, "core/_impl.py", f'class Purse:\n    """{text}"""\n')
    assert [a.name for a in prose.articles("thing", tmp_path, 9)] == ["thing.core.Purse"]


def test_articles_long_code_is_left_out_with_its_introduction(tmp_path: Path) -> None:
    text = sentences(40)
    code = "\n".join(f"    >>> purse.put({i})" for i in range(40))
    notes = "    Notes\n    -----\n    That is all there is to say."
    doc = f"{text}\n\n    Use it like this:\n\n{code}\n\n{notes}"
    write(tmp_path, "a.py", f'class Purse:\n    """{doc}\n    """\n')
    (article,) = prose.articles("thing", tmp_path, 9)
    assert [b.kind for b in article.blocks] == ["paragraph", "subheading", "paragraph"]
    assert "like this" not in prose.plain_text(article.blocks)


def test_articles_absent_package_has_no_folder() -> None:
    assert prose.find("no_such_package_anywhere") is None


def test_articles_of_a_real_package_are_its_own_words() -> None:
    root = prose.find("jinja2")
    assert root is not None
    source = " ".join(
        ast.get_docstring(node) or ""
        for path in sorted(root.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    )
    known = set(re.findall(r"\w{4,}", source)) | {"Added", "Changed", "Deprecated", "Returns"}
    found = prose.articles("jinja2", root, 100)
    assert len(found) >= 5
    for article in found:
        said = [line for b in article.blocks if b.kind == "paragraph" for line in b.lines]
        assert set(re.findall(r"\w{4,}", " ".join(said))) - known <= {"version", "since"}
        assert prose.n_chars(article.blocks) >= 1_200


def test_articles_fewer_wanted_are_a_beginning_of_more() -> None:
    root = prose.find("click")
    assert root is not None
    more = prose.articles("click", root, 8)
    assert prose.articles("click", root, 3) == more[:3]


def test_is_prose_tells_sentences_from_code() -> None:
    assert docstrings.is_prose("If the file does not exist, it is created.")
    assert not docstrings.is_prose("for x in range(10): y[x] = f(x) + 1")

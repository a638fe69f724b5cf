"""Lines that recur across a host: which are found, and which are left alone."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.tasks import Engine
from pipeline.store.shards import Shard, ShardDraft
from pipeline.text import boilerplate as b
from tests.pipeline.text.configs import BOILERPLATE

BANNER = "Sign in to read more"  # five words: a line for the edges only
COOKIES = "This site uses cookies to give you the best experience on all our pages"


def texts_of(folder: Path, *parts: list[tuple[str, str]]) -> tuple[Shard, ...]:
    made = []
    for index, rows in enumerate(parts):
        draft = ShardDraft("clean-texts", folder)
        columns = {"host": [host for host, _ in rows], "text": [text for _, text in rows]}
        draft.write_table("part.parquet", pa.table(columns))
        made.append(draft.commit(f"{folder.name}-{index}", ()))
    return tuple(made)


def prune(
    folder: Path, engine: Engine, *parts: list[tuple[str, str]], **changes: Any
) -> list[list[str]]:
    """Returns for each shard its texts without the boilerplate found in all of them."""
    config = replace(BOILERPLATE, **changes)
    found = b.find(texts_of(folder, *parts), "part.parquet", config, engine)
    pruned = []
    for rows, paths in zip(parts, found.lists, strict=True):
        known = b.load(paths)
        gone = [b.removed(text, host, known, config.candidates) for host, text in rows]
        pruned.append(
            [
                "\n".join(line for i, line in enumerate(text.split("\n")) if i not in lost)
                for (_, text), lost in zip(rows, gone, strict=True)
            ]
        )
    return pruned


def test_line_at_the_edges_of_most_documents_is_removed(workspace: Path, inline: Engine) -> None:
    texts = [f"{BANNER}\nstory {c} has its own line\n{COOKIES}" for c in "abcd"]
    (left,) = prune(workspace / "t", inline, [("x.test", text) for text in texts])
    assert left == [f"story {c} has its own line" for c in "abcd"]


def test_short_line_inside_a_text_stays_and_a_sentence_goes(
    workspace: Path, inline: Engine
) -> None:
    texts = [f"one {c} is here\n{BANNER}\n{COOKIES}\ntwo {c} is there" for c in "abcd"]
    (left,) = prune(workspace / "t", inline, [("x.test", text) for text in texts])
    assert left[0] == f"one a is here\n{BANNER}\ntwo a is there"


def test_run_at_the_edge_ends_at_the_first_line_of_its_own(workspace: Path, inline: Engine) -> None:
    texts = [f"{BANNER}\n\nAll our own stories\nnumber {c} it is\n{BANNER}\nend {c}" for c in "abc"]
    (left,) = prune(workspace / "t", inline, [("x.test", text) for text in texts])
    assert left[1] == f"\nnumber b it is\n{BANNER}\nend b"


@pytest.mark.parametrize(
    "line",
    [
        "Parameters",
        "Other Parameters",
        ">>> import numpy as np",
        "import matplotlib.pyplot as plt",
        "from sympy import symbols and more",
        "- axis (int, optional)",
        "x = np.arange(10) # ten numbers in a row",
        "| a | b | c | d | e | f | g | h |",
        "plt.show() and this is the end of it all",
    ],
)
def test_headings_code_and_lists_that_recur_everywhere_stay(
    workspace: Path, inline: Engine, line: str
) -> None:
    texts = [f"{line}\nabout {c} we say this\n{line}" for c in "abcdef"]
    (left,) = prune(workspace / "t", inline, [("x.test", text) for text in texts])
    assert left == texts


@pytest.mark.parametrize(("n_with", "is_removed"), [(2, False), (3, True)])
def test_line_below_either_limit_stays(
    workspace: Path, inline: Engine, n_with: int, is_removed: bool
) -> None:
    rows = [("x.test", f"{COOKIES}\nstory {c}") for c in "abc"[:n_with]]
    rows += [("x.test", f"story {c} alone") for c in "def"]  # 3 of 6 are the least allowed share
    (left,) = prune(workspace / "t", inline, rows)
    assert (COOKIES not in left[0]) == is_removed


def test_other_host_with_the_same_line_once_keeps_it(workspace: Path, inline: Engine) -> None:
    rows = [("x.test", f"{COOKIES}\nstory {c}") for c in "abc"]
    rows += [("y.test", f"{COOKIES}\nstory y"), ("y.test", "other"), ("y.test", "third")]
    (left,) = prune(workspace / "t", inline, rows)
    assert [COOKIES in text for text in left] == [False] * 3 + [True, False, False]


def test_equal_documents_count_once_wherever_they_lie(workspace: Path, inline: Engine) -> None:
    page = f"{COOKIES}\nand this is one page under many addresses"
    one, two = [("x.test", page)] * 3, [("x.test", page)] * 3
    left = prune(workspace / "t", inline, one, two)
    assert left == [[page] * 3, [page] * 3]


def test_numbers_and_case_make_no_difference(workspace: Path, inline: Engine) -> None:
    rows = [("x.test", f"story {c}\nPage {i} OF 9 in all") for i, c in enumerate("abc")]
    (left,) = prune(workspace / "t", inline, rows)
    assert left == ["story a", "story b", "story c"]


def test_turned_off_finds_nothing(workspace: Path, inline: Engine) -> None:
    rows = [("x.test", f"{COOKIES}\nstory {c}") for c in "abc"]
    (left,) = prune(workspace / "t", inline, rows, min_documents=0)
    assert left == [text for _, text in rows]


@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_any_sharding_and_partitions_find_the_same(
    workspace: Path, inline: Engine, partitions: int
) -> None:
    rows = [
        (host, f"{COOKIES}\nstory {c} of {host}\n{BANNER}")
        for host in ("a.test", "b.test", "c.test")
        for c in "abcd"
    ]
    (whole,) = prune(workspace / "t", inline, rows)
    spread = prune(
        workspace / "u", inline, rows[::3], [], rows[1::3], rows[2::3], partitions=partitions
    )
    assert sorted(text for texts in spread for text in texts) == sorted(whole)
    assert whole[0] == "story a of a.test"


def test_no_shard_at_all_finds_nothing(workspace: Path, inline: Engine) -> None:
    assert prune(workspace / "t", inline, []) == [[]]


@given(st.text(max_size=80))
def test_is_candidate_any_line_answers(line: str) -> None:
    candidates = BOILERPLATE.candidates
    if b.is_candidate(line, candidates):
        assert len(line.split()) >= candidates.min_words
        assert set(b.keyed_lines(line.replace("\n", " "), "x.test", candidates)) <= {0}


def test_is_candidate_long_line_costs_linear_time() -> None:
    candidates = replace(BOILERPLATE.candidates, max_chars=10_000_000)
    assert b.is_candidate("word " * 400_000, candidates)


_DRAWN = st.text("aZ09 _-()[]{}<>=:;`\\|#*.$Σσςİß٣", max_size=40)
ANY = b.Candidates(min_chars=1, max_chars=300, min_words=1, sentence_words=8)


@given(_DRAWN)
def test_is_candidate_of_a_long_enough_line_is_whatever_is_not_code(line: str) -> None:
    """By the pattern in one piece, which is easier to read and takes ten times as long."""
    code = re.compile(
        r"(?:>>>|\.\.\.|[$#@/*+|•-]|import \w|from \S+ import )|"
        r".*?(?:[{}=\\`\[\]]|;$|<\w|\w\(|\w_\w|::|->)"
    )
    line = line.strip()
    assert b.is_candidate(line, ANY) == (bool(line) and not code.match(line))


@given(st.lists(_DRAWN, max_size=6).map("\n".join))
def test_keys_of_a_text_are_those_of_its_lines_each_by_itself(text: str) -> None:
    expected = {
        index: b.number("host.test", " ".join(re.sub(r"\d+", "0", line.lower()).split()))
        for index, line in enumerate(text.split("\n"))
        if b.is_candidate(line, ANY)
    }
    assert b.keyed_lines(text, "host.test", ANY) == expected

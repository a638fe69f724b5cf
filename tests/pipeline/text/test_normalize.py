"""Normal form of texts."""

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.text import normalize as n
from pipeline.text.normalize import normalize
from tests.pipeline.text.configs import NORMALIZE


@pytest.mark.parametrize(
    ("raw", "regular"),
    [
        ("a\r\nb\rc\x0bd\u2028e", "a\nb\nc\nd\ne"),
        ("no\u00a0break and\u3000wide", "no break and wide"),
        ("zero\u200bwidth soft\u00adhyphen \ufeffmark", "zerowidth softhyphen mark"),
        ("bell\x07 and escape\x1b[0m", "bell and escape[0m"),
        ("cafe\u0301", "café"),
        ("end   \t\n  indented code stays", "end\n  indented code stays"),
        ("\n\na\n\n\n\n\nb\n\n", "a\n\nb"),
        ("👩\u200d🔬 and a\u200db", "👩\u200d🔬 and ab"),
        ("half \ud83d pair", "half  pair"),
        ("It’s “quoted” – café", "It’s “quoted” – café"),
    ],
)
def test_normalize_irregular_text_is_made_regular(raw: str, regular: str) -> None:
    assert normalize(raw, NORMALIZE) == regular


@pytest.mark.parametrize("codec", ["cp1252", "latin-1"])
def test_normalize_mojibake_is_mended_line_by_line(codec: str) -> None:
    text = "Füße in größter Nähe; naïve café – “quoted” it’s…"
    wrong = "".join(
        c.encode().decode(codec)
        if all(b not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) for b in c.encode()) or codec == "latin-1"
        else c
        for c in text
    )
    raw = f"plain line\n{wrong}\nПривет, 世界"
    assert normalize(raw, NORMALIZE) == f"plain line\n{text}\nПривет, 世界"
    assert "Ã" in normalize(raw, replace(NORMALIZE, mend_encoding=False))


@pytest.mark.parametrize(
    "right", ["À propos: «Ça va» — São Paulo, Łódź, ½ °C", "§ 5 Abs. 2 – £ 10"]
)
def test_normalize_right_text_beyond_ascii_is_left_alone(right: str) -> None:
    assert normalize(right, NORMALIZE) == right


def test_normalize_tokenized_page_reads_as_written() -> None:
    raw = "He said , `` it is n't so . ''\n" * 8
    assert normalize(raw, NORMALIZE) == "\n".join(['He said, "it isn\'t so."'] * 8)


_ODD = st.text(
    alphabet=st.one_of(
        st.sampled_from("aé \n\t.,'`’Ã©â€™ÂÐ\u200b\u200c\u200d\u0301\u00a0\u00ad\ufeff\x85\x1b\r"),
        st.characters(),
    ),
    max_size=80,
)


@settings(deadline=None)
@given(_ODD)
@example("Ã\u200b©")
@example("a , b .\n" * 8)
def test_normalize_any_text_twice_is_once(text: str) -> None:
    once = normalize(text, NORMALIZE)
    assert normalize(once, NORMALIZE) == once


@settings(deadline=None)
@given(_ODD)
def test_normalize_any_text_has_no_control_characters(text: str) -> None:
    text = normalize(text, NORMALIZE)
    assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    text.encode()  # no halves of surrogate pairs
    assert not text.endswith((" ", "\n"))


@pytest.mark.parametrize("n", [20_000, 40_000])
def test_normalize_long_runs_cost_linear_time(n: int) -> None:
    # quadratic patterns would take minutes here
    assert normalize(f"a{' ' * n}b{chr(9) * n}\n{chr(0x200D) * n}x", NORMALIZE).startswith("a ")
    assert normalize("\n" * n + "é " * n, NORMALIZE).startswith("é")


@settings(deadline=None)
@given(_ODD, st.sets(st.integers(0, 20)))
def test_without_lines_of_any_text_leaves_it_regular(text: str, indexes: set[int]) -> None:
    text = n.regular(text)
    left = n.without(text, indexes)
    assert n.regular(left) == left
    kept = [line for i, line in enumerate(text.split("\n")) if i not in indexes]
    assert [line for line in left.split("\n") if line] == [line for line in kept if line]


@pytest.mark.parametrize(
    "path", ["tinyshakespeare/input.txt", "us_presidents.txt", "gutenberg.txt"]
)
def test_normalize_real_prose_keeps_every_visible_character(real_data: Path, path: str) -> None:
    text = (real_data / "text" / path).read_text(encoding="utf-8-sig")
    assert normalize(text, NORMALIZE).split() == text.replace("\x1a", "").split()  # end of file

"""GPT-1's words: equal to spaCy's own on the text that OpenAI's rules leave."""

import re
from pathlib import Path

import ftfy
import pytest
import spacy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spacy.language import Language

from pipeline.tokens import words

REAL = (
    "text/gutenberg.txt",
    "text/us_presidents.txt",
    "eval/wikitext-2/wiki.test.tokens",
    "eval/lambada/lambada_test.jsonl",
    "eval/wmt14/newstest2014-fren-ref.fr.sgm",
)


@pytest.fixture(scope="session")
def english() -> Language:
    return spacy.blank("en")


def reference(text: str, english: Language) -> list[str]:
    """Says again what the released encoder does before the merges, with spaCy itself."""
    text = ftfy.fix_text(text)
    for dash in "\u2014\u2013\u2015":
        text = text.replace(dash, "-")
    text = text.replace("\u2026", "...").replace("\u00b4", "'")
    marks = "|".join(re.escape(mark) + "+" for mark in '-~!";?+,)(\\/*[]}{|_')
    text = re.sub(f"({marks})", r" \1 ", text)
    text = re.sub(r"\s*\n\s*", " \n ", text)
    text = re.sub(r"[^\S\n]+", " ", text).strip()
    tokens = [token.text.lower() for token in english(text)]
    return [words.NEWLINE if token.strip() == "" else token for token in tokens]


@pytest.mark.parametrize("name", REAL)
def test_real_text_has_the_words_of_spacy(name: str, real_data: Path, english: Language) -> None:
    text = (real_data / name).read_text()[:240_000]
    for start in range(0, len(text), 4_000):
        part = text[start : start + 4_000]
        assert words.words(part) == reference(part, english)


def test_prose_has_the_words_of_spacy(prose: list[str], english: Language) -> None:
    for text in prose:
        assert words.words(text) == reference(text, english)


def test_every_exception_of_spacy_is_known(english: Language) -> None:
    known = english.tokenizer.rules
    assert len(known) > 1_000
    wrong = [e for e in known if words.words(e) != reference(e, english)]
    assert not wrong
    quoted = [f"'{e}.'" for e in known]
    assert [e for e in quoted if words.words(e) != reference(e, english)] == []


MARKS = st.sampled_from(
    [*"aAbB1.':$%&<>=^@#\n ?-\u00e9\u00b0", "...", "'s", "km", "US$", "n't", "I'm"]
)


# Always the same examples: 1 of 10,000 meets a deviation that the module's docstring names.
@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(MARKS, max_size=12).map("".join))
@example("we'd've u2019t. 3m. C++ ..a..B.. $5.30's +1 ++ 5%. U.S.A.'s")
@example("me@host.org:80 www.Host.com a.b.Cd:ef 10.0.0.1:x e.g.I.E. °C. ''")
def test_any_text_has_the_words_of_spacy(english: Language, text: str) -> None:
    assert words.words(text) == reference(text, english)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n \n", []),
        ("a\r\n\t\nb", ["a", "\n", "b"]),
        ("Don\u2019t", ["do", "n't"]),  # ftfy straightens the quote
        ("<|endoftext|>", ["<", "|", "endoftext", "|", ">"]),
        ("I\x00\u00a0am", ["i", "am"]),  # ftfy drops control characters
    ],
)
def test_words_of_worked_examples(text: str, expected: list[str]) -> None:
    assert words.words(text) == expected


@pytest.mark.parametrize("piece", ["a", "'", ".", "a.A", "x@", "5km", "$", "n't", "♥"])
def test_stretch_of_any_length_is_cut_into_what_it_consists_of(piece: str) -> None:
    stretch = piece * (20_000 // len(piece))
    assert "".join(words.cut(stretch)) == stretch

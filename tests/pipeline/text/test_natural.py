"""What the GPT-2 paper noticed: questions, summaries, translations, other languages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import natural
from pipeline.text.figures import Statistics
from tests.pipeline.text.configs import PROSE

FRENCH = "Les enfants jouaient dans la rue, et leur mère les appelait pour le dîner du soir."
GERMAN = "Die Kinder spielten auf der Straße, und ihre Mutter rief sie nicht zum Abendessen."


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("Q: Who?\nA: Me.\n\nQ: Why?\nA: For fun.", 2),
        ("Question 1: Who?\n\nAnswer: He did.", 1),
        ("Q. Who wrote\nall of this?\nA. Somebody.", 1),
        ("Q: asked twice\nQ: and answered once\nA: so", 1),
        ("A: answers\nA: alone", 0),
        ("Q: no answer", 0),
        ("Q: far\n" + "text " * 300 + "\nA: away", 0),
        ("In sample A: this. In Q: that.", 0),
    ],
)
def test_question_answers_marked_pairs_are_counted(text: str, n: int) -> None:
    assert len(list(natural.question_answers(text))) == n


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("TL;DR: use the other one", True),
        ("so, tl; dr it rains", True),
        ("TLDR nothing new", True),
        ("the htldrx module", False),
    ],
)
def test_tldr_lines_summaries_are_found(line: str, is_one: bool) -> None:
    text = f"before\n  {line}\nafter"
    assert list(natural.tldr_lines(text, text.lower())) == ([line] if is_one else [])


@pytest.mark.parametrize(
    "line",
    [
        "The sign said in German: “Betreten der Baustelle verboten” [entering is forbidden].",
        '"Je ne regrette rien de ma vie", which means "I regret nothing of my life".',
        "He quoted the Spanish proverb “más vale tarde que nunca” (better late than never).",
    ],
)
def test_translations_phrase_beside_its_english_is_found(line: str) -> None:
    assert len(list(natural.translations(f"{PROSE}{line}\n"))) == 1


@pytest.mark.parametrize(
    "line",
    [
        'Both "the first name" and "the second name" are literally English words.',
        "The French team (from the north of the country) won [in the second half].",
        "Translated strings: `gettext(message)` [see the locale module] (or ngettext).",
        "It means “nothing at all”, in French or otherwise.",
    ],
)
def test_translations_english_beside_english_is_none(line: str) -> None:
    assert list(natural.translations(line)) == []


def test_foreign_bytes_lines_in_other_languages_are_counted_by_language() -> None:
    text = f"{PROSE}\n{FRENCH}\n{GERMAN}\n{FRENCH}"
    expected = {"de": len(GERMAN.encode()), "fr": 2 * len(FRENCH.encode())}
    assert natural.foreign_bytes(text, "en") == expected


def test_foreign_bytes_own_language_does_not_count() -> None:
    assert natural.foreign_bytes(f"{FRENCH}\n{GERMAN}", "fr") == {"de": len(GERMAN.encode())}


@pytest.mark.parametrize("path", ["tinyshakespeare/input.txt", "us_presidents.txt"])
def test_foreign_bytes_english_texts_have_next_to_none(real_data: object, path: str) -> None:
    text = (real_data / "text" / path).read_text()[:500_000]  # type: ignore[operator]
    assert sum(natural.foreign_bytes(text, "en").values()) < 0.002 * len(text)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_notice_any_text_answers(text: str) -> None:
    noticed = natural.notice(Statistics(text), "en")
    assert set(noticed.examples) == {kind for kind, n in noticed.counts.items() if n}

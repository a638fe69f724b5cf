"""Which language a text is in."""

import pytest

from pipeline.text.language import identify, sample

_TEXTS = {
    "en": "It was a bright cold day in spring, and the clocks of the town were striking.",
    "de": "Es war ein heller kalter Tag im Frühling, und die Uhren der Stadt schlugen gerade.",
    "fr": "C'était une belle journée froide de printemps et les horloges de la ville sonnaient.",
    "ru": "Был холодный ясный весенний день, и часы в городе пробили тринадцать раз.",
}


@pytest.mark.parametrize("code", _TEXTS)
def test_identify_sentence_language_is_found(code: str) -> None:
    found = identify(_TEXTS[code], 1000)
    assert found.code == code
    assert found.score > 0.9


def test_identify_no_letters_is_unlikely_anything() -> None:
    assert identify("1 2 3 4 5", 1000).score < 0.5


def test_identify_english_frame_around_other_language_is_not_english() -> None:
    text = _TEXTS["en"] + "\n" + _TEXTS["ru"] * 40 + "\n" + _TEXTS["ru"]
    assert identify(text, 600).code == "ru"


def test_sample_long_text_holds_beginning_middle_and_end() -> None:
    text = "a" * 500 + "b" * 500 + "c" * 500
    assert sample(text, 30) == "a" * 10 + " " + "b" * 10 + " " + "c" * 10

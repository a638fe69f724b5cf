"""Which language a text is in."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from py3langid.langid import MODEL_FILE, LanguageIdentifier, visit_counts

from pipeline.text import language
from pipeline.text.language import identify, identify_among, sample

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


@pytest.fixture(scope="module")
def reference() -> LanguageIdentifier:
    """The library's own, which reads one byte after the other."""
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def test_no_feature_is_longer_than_the_bytes_that_are_read_again(
    reference: LanguageIdentifier,
) -> None:
    """Each state is reached from the first one by at most so many bytes, so it stands for them."""
    steps = np.array(reference.tk_nextmove).reshape(-1, 256)[np.array(reference.tk_row)]
    seen, latest, n_bytes = {0}, {0}, 0
    while latest := set(np.unique(steps[list(latest)]).tolist()) - seen:
        seen |= latest
        n_bytes += 1
    assert n_bytes == language._MAX_FEATURE_BYTES
    assert len(seen) == len(steps)


@given(st.one_of(st.text(max_size=300), st.sampled_from(list(_TEXTS.values())), st.just("")))
def test_any_text_gets_the_library_s_own_answer_to_the_bit(
    reference: LanguageIdentifier, text: str
) -> None:
    assert language._identifier().classify(text) == reference.classify(text)


@given(st.binary(max_size=200), st.sampled_from(sorted(_TEXTS)))
def test_any_bytes_give_the_library_s_own_features(
    reference: LanguageIdentifier, some: bytes, code: str
) -> None:
    mixed = some + _TEXTS[code].encode() + some
    expected = visit_counts(reference.tk_nextmove, reference._rowbase, reference.tk_output, mixed)
    assert Counter(language._identifier().features(mixed).tolist()) == (expected or Counter())


def test_identify_among_few_leaves_all_others_to_identify() -> None:
    assert identify_among(_TEXTS["fr"], ("en", "fr")).code == "fr"
    assert identify_among(_TEXTS["ru"], ("en", "fr")).code in ("en", "fr")
    assert identify(_TEXTS["ru"], 1000).code == "ru"

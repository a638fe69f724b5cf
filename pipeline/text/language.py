"""Which language a text is in."""

from functools import cache
from typing import NamedTuple

from py3langid.langid import MODEL_FILE, LanguageIdentifier

_SLICES = 3


class Language(NamedTuple):
    """An ISO 639-1 code and how likely it is, 0 to 1."""

    code: str
    score: float


def identify(text: str, n_chars: int) -> Language:
    """Returns the language of a text.

    The score is rounded so that the last bits of a matrix product, which differ between processors,
    decide nothing.

    Args:
        text: Any text.
        n_chars: Characters that are looked at: beginning, middle and end in equal parts.

    >>> identify("The cat sat on the mat, and that was all it wanted to do.", 1000).code
    'en'
    """
    code, score = _identifier().classify(sample(text, n_chars))
    return Language(code, round(float(score), 3))


def identify_among(text: str, codes: tuple[str, ...]) -> Language:
    """Returns which of a few languages a text is in; they let a phrase of few words suffice.

    >>> identify_among("la vie est belle", ("en", "fr", "de")).code
    'fr'
    """
    code, score = _identifier(codes).classify(text)
    return Language(code, round(float(score), 3))


def sample(text: str, n_chars: int) -> str:
    """Returns the beginning, the middle and the end of a long text.

    >>> sample("aaaabbbbcccc", 6), sample("short", 6)
    ('aa bb cc', 'short')
    """
    if len(text) <= n_chars:
        return text
    size = n_chars // _SLICES
    starts = (0, (len(text) - size) // 2, len(text) - size)
    return " ".join(text[start : start + size] for start in starts)


@cache
def _identifier(codes: tuple[str, ...] = ()) -> LanguageIdentifier:
    """Loads the model that the package brings (about a CPU second), once per process and choice."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    if codes:
        identifier.set_languages(list(codes))
    return identifier

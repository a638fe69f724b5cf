"""Which language a text is in."""

from copy import copy
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from py3langid.langid import MODEL_FILE, LanguageIdentifier

_SLICES = 3
_MAX_FEATURE_BYTES = 6  # of the model


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


class _Identifier(LanguageIdentifier):  # type: ignore[misc]  # untyped
    """py3langid's, which looks at all bytes of a text at once: the same sums in half the time.

    Its automaton's state is the longest end of what was read that a feature begins with. So it
    depends on no more bytes than the longest feature has, and can be found from the first state.
    """

    def __init__(self, nb_ptc: npt.NDArray[Any], *args: Any, **more: Any) -> None:
        super().__init__(nb_ptc.astype(np.float32), *args, **more)  # float16, at each use converted
        self._next = np.frombuffer(self.tk_nextmove, np.uint32)
        self._rows = np.array(self.tk_row, np.uint32) << 8
        self._features = np.array(self.tk_output, np.int64)

    def _raw_score(self, text: bytes) -> npt.NDArray[np.float32]:
        """Returns the score of each class."""
        found, first, counts = np.unique(self.features(text), return_index=True, return_counts=True)
        order = np.argsort(first)  # in which py3langid adds
        visits = dict(zip(found[order].tolist(), counts[order].tolist(), strict=True))
        scores: npt.NDArray[np.float32]
        scores = self._sparse_score(visits, self.nb_ptc) if visits else super()._raw_score(text)
        return scores

    def features(self, text: bytes) -> npt.NDArray[np.int64]:
        """Returns the number of the feature that ends at each byte, where one does."""
        codes = np.frombuffer(text, np.uint8)
        states = np.zeros(len(codes), np.uint32)
        for back in reversed(range(min(_MAX_FEATURE_BYTES, len(codes)))):
            read = codes[: len(codes) - back]
            states[back:] = self._next[self._rows[states[back:]] + read]
        found = self._features[states]
        return found[found >= 0]


@cache
def _identifier(codes: tuple[str, ...] = ()) -> LanguageIdentifier:
    """Loads the model that the package brings (half a CPU second), once per process."""
    if not codes:
        return _Identifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier = copy(_identifier())  # with the same tables
    identifier.set_languages(list(codes))
    return identifier

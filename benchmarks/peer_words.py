"""Words for datatrove at the least cost, as a user can pass them in; for `.venv-bench`."""

import re

from datatrove.utils.word_tokenizers import WordTokenizer

_SENTENCE = re.compile(r"\S.*?(?:[.?!]+(?=\s)|\Z)", re.DOTALL)


class Split(WordTokenizer):
    """Words by white space, sentences up to their mark."""

    def word_tokenize(self, text: str) -> list[str]:
        """Returns the words."""
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        """Returns the sentences."""
        return [text[begin:end] for begin, end in self.span_tokenize(text)]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Returns where sentences begin and end."""
        return [found.span() for found in _SENTENCE.finditer(text)]

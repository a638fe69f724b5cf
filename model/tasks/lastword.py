"""Last-word passages in LAMBADA's form, made from documents without people.

    context    several sentences, >= min_words words, which hold the target word
    sentence   the last sentence up to its last word, without its punctuation
    target     that word

Paper: Paperno et al., The LAMBADA dataset (2016), section 3: passages of 4.6 sentences of context
on average, whose last word people guess with the context and not from the last sentence alone.
Deviation: nobody guesses here. A passage is taken when its last word is a content word of at least
`MIN_LETTERS` letters that occurs in the context and nowhere else in the last sentence, so that the
context helps and the sentence does not give the word away. (In LAMBADA, 81 % of the targets occur
in their context; here all do, so accuracies cannot be compared with the paper's.)
"""

import re
from dataclasses import dataclass

import xxhash

from model.tasks.stopwords import STOPWORDS

MIN_LETTERS = 4
MIN_SENTENCE_WORDS = 6  # of the last sentence, the target included
MIN_SENTENCES = 3  # of the context
MAX_WORDS_FACTOR = 3  # a context has at most so many times `min_words` words

# A sentence begins at the text's start, after a line break, or after a period and a blank.
_START = re.compile(r"(?:\A|\n+|[.!?][\"')\]]*[ ]+)(?=[\"'(\[]?[A-Z])")
# The target: letters only, after a blank, before the sentence's end.
_TARGET = re.compile(r"(?<= )([A-Za-z]+)[.!?](?=\s|\Z)")
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A passage that ends with its target word; `start` is its place in the document."""

    start: int
    text: str
    target: str


def passages(doc_id: str, text: str, min_words: int) -> list[Passage]:
    """Returns the passages of a document, none overlapping, in an order that its id decides.

    Args:
        doc_id: Decides which of overlapping candidates are taken.
        text: The document.
        min_words: Words of a passage before its last sentence, at least.
    """
    starts = sorted({match.end() for match in _START.finditer(text)})
    found = [
        passage
        for match in _TARGET.finditer(text)
        if (passage := _passage(text, starts, match, min_words)) is not None
    ]
    found.sort(key=lambda each: _rank(doc_id, each))
    taken: list[Passage] = []
    for each in found:
        if not any(_overlap(each, other) for other in taken):
            taken.append(each)
    return taken


def _passage(text: str, starts: list[int], match: re.Match[str], min_words: int) -> Passage | None:
    """Returns the shortest passage that ends with a target; None if the target does not fit."""
    target = match[1]
    before = [start for start in starts if start < match.start()]
    if len(target) < MIN_LETTERS or target.lower() in STOPWORDS or not before:
        return None
    sentence = _words(text[before[-1] : match.start()])
    if len(sentence) + 1 < MIN_SENTENCE_WORDS or target.lower() in sentence:
        return None
    for start in reversed(before[:-MIN_SENTENCES]):
        context = _words(text[start : before[-1]])
        if len(context) > MAX_WORDS_FACTOR * min_words:
            return None
        if len(context) >= min_words and target.lower() in context:
            return Passage(start=start, text=text[start : match.end(1)], target=target)
    return None


def _words(text: str) -> list[str]:
    """Returns the words of a text, lower-cased."""
    return [word.lower() for word in _WORD.findall(text)]


def _rank(doc_id: str, passage: Passage) -> int:
    return xxhash.xxh3_64_intdigest(f"{doc_id}:{passage.start}:{len(passage.text)}".encode())


def _overlap(a: Passage, b: Passage) -> bool:
    return a.start < b.start + len(b.text) and b.start < a.start + len(a.text)

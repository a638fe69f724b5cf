"""What tasks occur naturally in a text: what the GPT-2 paper noticed in WebText.

- Questions and their answers, `TL;DR:` lines, translations given in a sentence ("as they say in
  French: ... [...]"): each counted, with one example per document.
- Bytes in other languages than the document's: lines that a model reads as another language.

Decisions: the model looks only at lines where a cheap test sees another language (letters beyond
    ASCII, or frequent small words of other languages), and only long ones: on lines under 30
    characters it called every eighth one of English novels something else.

Paper: GPT-2 (Radford et al. 2019), table 1 (translations), section 3.6 (`TL;DR:`), section 3.7
    (10 MB of French in WebText's 40 GB), section 3.8 (questions).
Deviation: the paper counted bytes by a language detector; here by line, see above. Of the six
    passages of its table 1, four have two quoted or bracketed phrases and are found.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import NamedTuple

from pipeline.text.figures import Statistics
from pipeline.text.language import identify, identify_among

KINDS = ("question_answers", "tldr_lines", "translations")

_EXAMPLE_CHARS = 300
_MIN_LINE_CHARS, _MIN_LINE_SCORE = 30, 0.95
_MIN_FOREIGN_WORDS = 3
_MIN_SPAN_WORDS, _MIN_SPAN_SCORE = 2, 0.7
_MAX_ANSWER_CHARS = 1000  # from question to answer
_MAX_GAP_CHARS = 80  # from one half of a translation to the other

_QUESTION_OR_ANSWER = re.compile(
    r"^[ \t]*(?:(Q|Question)|A|Answer) ?\d{0,3} ?[:.][ \t]", re.MULTILINE
)
_TLDR = re.compile(r"(?<!\w)tl ?; ?dr(?!\w)|(?<!\w)tldr(?!\w)", re.IGNORECASE)
_LANGUAGES = dict(
    pair.split(":")
    for pair in "French:fr German:de Spanish:es Italian:it Portuguese:pt Dutch:nl Latin:la "
    "Greek:el Russian:ru Polish:pl Swedish:sv Turkish:tr Chinese:zh Mandarin:zh Japanese:ja "
    "Korean:ko Arabic:ar Hebrew:he Hindi:hi".split()
)
_CODES = ("en", *dict.fromkeys(_LANGUAGES.values()))
_LETTERS = re.compile(r"[^\W\x00-\x7f]")  # beyond ASCII
_CUES = (*_LANGUAGES, "translat", "which means", "meaning", "literally")
# Quoted or bracketed, or what follows a colon up to the next of these.
_SPAN = re.compile(
    r"[\"“«](?P<quoted>[^\"“”«»\n]{8,300})[\"”»]|[\[(](?P<bracketed>[^\[\]()\n]{8,300})[\])]|"
    r": (?P<after>[^\[\]()\"“”«»:\n]{8,300})(?=[\[(\"“«])"
)
# Frequent small words of French, German, Spanish, Italian, Portuguese and Dutch.
_SMALL_WORDS = frozenset(
    "le la les du un une au et est dans qui sur avec pas ce cette nous vous ils elle sont leur ses "
    "der das und ist nicht ein eine zu im von den mit auf für sich dem auch wird el los las por "
    "para una del que se como más pero il che di della non sono uno nel gli um uma não com mais "
    "het een niet op aan voor zijn maar ook de en".split()
)


class Noticed(NamedTuple):
    """Counts by kind, one example of each kind that occurs, bytes by other language."""

    counts: dict[str, int]
    examples: dict[str, str]
    foreign_bytes: dict[str, int]


def notice(statistics: Statistics, language: str) -> Noticed:
    r"""Returns what of the paper's observations a text shows.

    Args:
        statistics: Of the text; its words and its lower case serve the cheap tests.
        language: The document's.

    >>> text = "Q: What is a cat?\nA: An animal.\n\nTL;DR: cats are animals"
    >>> notice(Statistics(text), "en").counts
    {'question_answers': 1, 'tldr_lines': 1, 'translations': 0}
    """
    text = statistics.text
    found = {
        "question_answers": list(question_answers(text)),
        "tldr_lines": list(tldr_lines(text, statistics.lowered)),
        "translations": list(translations(text)),
    }
    may_be = _may_be_foreign(text, statistics.vocabulary)
    return Noticed(
        {kind: len(found[kind]) for kind in KINDS},
        {kind: shown[0][:_EXAMPLE_CHARS] for kind, shown in found.items() if shown},
        foreign_bytes(text, language) if may_be else {},
    )


def question_answers(text: str) -> Iterator[str]:
    """Yields each question that is followed by its answer, both marked as such."""
    if "Q" not in text or "A" not in text:
        return
    for this, following in pairwise(_QUESTION_OR_ANSWER.finditer(text)):
        near = following.start() - this.start() <= _MAX_ANSWER_CHARS
        if this[1] and not following[1] and near:
            end = text.find("\n", following.end())
            yield text[this.start() : end if end >= 0 else None].strip()


def tldr_lines(text: str, lowered: str) -> Iterator[str]:
    r"""Yields each line that announces a summary.

    >>> list(tldr_lines("Long story\nTL;DR: it works", "long story\ntl;dr: it works"))
    ['TL;DR: it works']
    """
    if "tl;dr" in lowered or "tldr" in lowered or "tl; dr" in lowered:
        yield from (line.strip() for line in text.split("\n") if _TLDR.search(line))


def translations(text: str) -> Iterator[str]:
    """Yields each passage with a phrase in another language beside its English.

    >>> list(translations('say "la vie est belle" (in French, "life is beautiful").'))
    ['"la vie est belle" (in French, "life is beautiful")']
    """
    cues = [cue for cue in _CUES if cue in text]
    for line in text.split("\n") if cues else ():
        if any(cue in line for cue in cues):
            yield from _pairs(line)


def _pairs(line: str) -> Iterator[str]:
    end = 0
    for one, other in pairwise(_SPAN.finditer(line)):
        apart = other.start() - one.end() > _MAX_GAP_CHARS
        if one.start() < end or apart:
            continue
        around = line[max(0, one.start() - _MAX_GAP_CHARS) : other.end()]
        if any(cue in around for cue in _CUES) and _is_pair(_content(one), _content(other)):
            end = other.end()
            yield line[one.start() : end].strip()


def _content(span: re.Match[str]) -> str:
    return (span["quoted"] or span["bracketed"] or span["after"]).strip()


def _is_pair(one: str, other: str) -> bool:
    """Returns whether exactly one of two phrases is English."""
    if min(len(one.split()), len(other.split())) < _MIN_SPAN_WORDS:
        return False
    found = [identify_among(phrase, _CODES) for phrase in (one, other)]
    if min(language.score for language in found) < _MIN_SPAN_SCORE:
        return False
    return (found[0].code == "en") != (found[1].code == "en")


def foreign_bytes(text: str, language: str) -> dict[str, int]:
    r"""Returns the UTF-8 bytes of lines in other languages than the document's, by language.

    >>> text = "He wrote a letter.\nIl a écrit une lettre à sa mère, qui ne l'a jamais lue."
    >>> foreign_bytes(text, "en")
    {'fr': 58}
    """
    counted: Counter[str] = Counter()
    for line in text.split("\n"):
        if len(line) >= _MIN_LINE_CHARS and _may_be_foreign(line, line.lower().split()):
            found = identify(line, len(line))
            if found.code != language and found.score >= _MIN_LINE_SCORE:
                counted[found.code] += len(line.encode())
    return dict(sorted(counted.items()))


def _may_be_foreign(text: str, words: Collection[str]) -> bool:
    """Returns whether letters or small words of a text suggest another language than English."""
    if len(_SMALL_WORDS.intersection(words)) >= _MIN_FOREIGN_WORDS:
        return True
    return not text.isascii() and len(_LETTERS.findall(text)) >= _MIN_FOREIGN_WORDS

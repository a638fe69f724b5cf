"""Line rules: lines that hold no prose, whatever host they are on.

Paper: C4 (Raffel et al. 2020), section 2.2: lines end in a terminal mark, have a least number of
    words, name no Javascript and no policy, and have no word of more than 1,000 characters (the
    last in its code). RefinedWeb (Penedo et al. 2023), appendix G: lines mainly in capitals, of
    numbers only, counters ("3 likes"), single words.
Deviation: C4's citation marks (`[1]`, `[edit]`) stay. RefinedWeb's single-word rule is
    `min_words: 2`; its short "sign in" and "read more" lines are left to the lines that recur
    across a host (`pipeline.text.boilerplate`).
"""

import re
from dataclasses import dataclass, fields

from pipeline.store.config import require
from pipeline.text.figures import is_policy

_TERMINALS = (".", "!", "?", '"', "”")
_MAX_WORD_CHARS = 1000
_COUNTER = re.compile(
    r"[\d.,]+\s?[km]?\+?\s+(?:likes?|shares?|comments?|repl(?:y|ies)|retweets?|views?|votes?|"
    r"points?|followers?|reposts?|reviews?|ratings?|downloads?)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Which lines are removed; empty lines never are.

    Attributes:
        terminal: Lines that do not end in one of `. ! ? " ”`.
        min_words: Lines with fewer words; 0 and 1 remove none.
        policy: Lines about scripts, cookies, privacy and terms of use.
        long_words: Lines with a word of more than 1,000 characters.
        max_upper_frac: Lines with a larger share of capitals among their letters.
        counters: Lines that are a number, or a number of likes, shares, comments.
    """

    terminal: bool
    min_words: int
    policy: bool
    long_words: bool
    max_upper_frac: float
    counters: bool

    def __post_init__(self) -> None:
        require("min_words", self.min_words, self.min_words >= 0, "x >= 0")
        upper = self.max_upper_frac
        require("max_upper_frac", upper, 0 < upper <= 1, "0 < x <= 1")

    def is_off(self) -> bool:
        """Returns whether no line can be removed."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        limits = named.pop("min_words") <= 1 and named.pop("max_upper_frac") == 1
        return limits and not any(named.values())


def is_removed(line: str, config: Config) -> bool:
    """Returns whether a line holds no prose by these rules.

    Args:
        line: Without blanks around it; an empty one stays.
        config: The rules.

    >>> rules = dict(terminal=False, policy=False, long_words=False, max_upper_frac=1.0)
    >>> counters = Config(min_words=2, counters=True, **rules)
    >>> [is_removed(line, counters) for line in ("1,024", "3 likes", "Three people liked it")]
    [True, True, False]
    """
    if not line:
        return False
    words = line.split()
    return (
        len(words) < config.min_words
        or (config.terminal and not line.endswith(_TERMINALS))
        or (config.policy and is_policy(line.lower()))
        or (config.long_words and max(map(len, words)) > _MAX_WORD_CHARS)
        or (config.counters and _is_counter(line))
        or (config.max_upper_frac < 1 and _upper_frac(line) > config.max_upper_frac)
    )


def _is_counter(line: str) -> bool:
    """Returns whether a line is a count of something or holds nothing but digits and marks."""
    if not any(map(str.isalpha, line)):
        return any(map(str.isdigit, line))
    return bool(_COUNTER.fullmatch(line))


def _upper_frac(line: str) -> float:
    letters = [c for c in line if c.isalpha()]
    return sum(map(str.isupper, letters)) / len(letters) if letters else 0.0

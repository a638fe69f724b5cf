"""Strings that end a generated text.

    new ids ──> bytes of the last of them ──> does one of the strings stand in there? ──> end
    all ids ──> text, cut before the first string that stands in it

Decisions
- They are looked for in the text, not in the ids: a string may begin or end inside of a token.
- What follows the string inside its last token is cut off with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.store.config import require
from pipeline.tokens.codec import Codec


@dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """What ends a text.

    Attributes:
        strings: None is empty.
        coder: The vocabulary of the ids.
    """

    strings: tuple[str, ...]
    coder: Codec

    def __post_init__(self) -> None:
        require("stop", self.strings, all(self.strings), "strings of a character or more")

    def __call__(self, ids: Sequence[int]) -> bool:
        """Tells whether the last of the new ids completes one of the strings."""
        if not self.strings:
            return False
        sought = [string.encode() for string in self.strings]
        longest = max(len(string) for string in sought)  # a token has a byte or more
        tail = self.coder.decode_bytes(ids[-longest:])
        return any(string in tail for string in sought)

    def text(self, ids: Sequence[int]) -> str:
        """Returns the text of the new ids, without the string that has ended it."""
        text = self.coder.decode(ids)
        places = [text.find(string) for string in self.strings]
        return text[: min((place for place in places if place >= 0), default=len(text))]

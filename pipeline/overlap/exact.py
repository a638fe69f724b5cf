"""Exact duplicates: the same text, white space left aside.

So a page wrapped at another width is the same text, also in scripts that put no space between
words. Texts that differ in letter case or punctuation only have equal words; they are left to
MinHash, which finds them at Jaccard 1.
"""

import re
from typing import NamedTuple

import xxhash

_HALF = 1 << 64
_ASCII_BLANKS = bytes(c for c in range(128) if chr(c).isspace())
# U+0085, 00A0, 1680, 2000-200A, 2028, 2029, 202F, 205F and 3000 in UTF-8.
_OTHER_BLANKS = re.compile(
    rb"\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2(?:\x80[\x80-\x8a\xa8\xa9\xaf]|\x81\x9f)|\xe3\x80\x80"
)


class Content(NamedTuple):
    """A 128-bit digest of a text in two halves.

    `key` names the text everywhere in dedup; `check` lets the clustering notice two texts with one
    key, which one of the first 10^7 texts meets with a probability of 3e-6.
    """

    key: int
    check: int


def content(text: str, seed: int) -> Content:
    r"""Returns the digest of a text without its white space.

    >>> content("a  b\n", 1) == content("a b", 1), content("A b", 1) == content("a b", 1)
    (True, False)
    """
    high, low = divmod(xxhash.xxh3_128_intdigest(_solid(text), seed), _HALF)
    return Content(low, high)


def _solid(text: str) -> bytes:
    """Returns `"".join(text.split())` in UTF-8, at 6 times its speed."""
    data = text.encode("utf-8", "surrogatepass").translate(None, _ASCII_BLANKS)
    return data if text.isascii() else _OTHER_BLANKS.sub(b"", data)

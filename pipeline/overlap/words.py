r"""Words and n-grams of words as 64-bit hashes, shared by dedup and decontamination.

A word is a maximal run of letters and digits (`str.isalnum`) of the lower-cased text; everything
else, the underscore included, separates. Scripts without spaces give one word per clause, and
combining marks separate; both do so in every document alike.
Paper: GPT-2, section 4: "lower-cased alphanumeric words with a single space as a delimiter".

    "It's 1."  ──lower, UTF-8──>  i t ' s _ 1 .  ──separators──>  i t _ s _ 1 _
                                                                  ├─┘   │   │     8 bytes at a time,
                                                                 hash  hash hash  zeros behind them

Many texts are hashed at once and no word ever becomes a Python object. A word of at most eight
bytes is its own hash but for a bijection; longer ones chain their eights, very long ones take xxh3.
The hash of an n-gram is a mixed polynomial of its words' hashes.

Measured here on 5 MB of English prose, per CPU-second: 85 MB for the word hashes; one xxh3 call per
word gave 23, and the regular expression `[^\W_]+` alone 8.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

Hashes = npt.NDArray[np.uint64]
Ends = npt.NDArray[np.int64]

_STEP = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it loses nothing mod 2^64
_SPACE = 0x20
_EIGHT = 8
_LONG = 64  # bytes; a longer word is rare, and may be the whole text
_HEADS = np.array([2 ** (8 * n) - 1 for n in range(_EIGHT + 1)], np.uint64)  # the first n bytes
_UNKNOWN = 2


class _Separators(dict[int, int]):
    """Maps a code point to itself where it belongs to a word, else to a space; fills itself."""

    def __missing__(self, code: int) -> int:
        kept = self[code] = code if chr(code).isalnum() else _SPACE
        return kept


_SEPARATORS = _Separators()
_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
_ASCII = bytes(c if c >= 0x80 or chr(c).isalnum() else _SPACE for c in range(256))
_IN_WORD = np.full(0x110000, _UNKNOWN, np.uint8)  # by code point, filled where it is met


class HashedWords(NamedTuple):
    """The words of several texts, one text after the other.

    Attributes:
        hashes: (n_words,) uint64.
        ends: (n_texts,) int64, how many words there are up to the end of each text.
    """

    hashes: Hashes
    ends: Ends


def split(text: str) -> list[bytes]:
    r"""Returns the lower-cased words of a text, in order, as UTF-8.

    >>> split("Don't PANIC: it's 42_000 naïve cafés!")
    [b'don', b't', b'panic', b'it', b's', b'42', b'000', b'na\xc3\xafve', b'caf\xc3\xa9s']
    """
    lower = text.lower()
    if not lower.isascii():
        lower = _NON_ASCII.sub(lambda run: run.group().translate(_SEPARATORS), lower)
    return lower.encode().translate(_ASCII).split()


def hash_words(words: Sequence[bytes]) -> Hashes:
    """Returns (n_words,) uint64, the hash of each of the words that `split` gave."""
    return _hash_runs(np.frombuffer(b" ".join(words) + b" " * _EIGHT, np.uint8))[0]


def hash_texts(texts: Sequence[str]) -> HashedWords:
    """Returns the hashes of the words of texts: `hash_words(split(text))` of each, but faster.

    >>> hash_texts(["To be", "...", "to"]).ends.tolist()
    [2, 2, 3]
    """
    encoded = [text.lower().encode("utf-8", "surrogatepass") for text in texts]
    joined = b" ".join(encoded).translate(_ASCII) + b" " * _EIGHT
    data = np.frombuffer(bytearray(joined), np.uint8)
    _blank_separators(data)
    hashes, starts = _hash_runs(data)
    text_ends = np.cumsum([len(text) + 1 for text in encoded])
    return HashedWords(hashes, np.searchsorted(starts, text_ends))


def _blank_separators(data: npt.NDArray[np.uint8]) -> None:
    """Overwrites characters beyond ASCII that belong to no word with spaces, in UTF-8."""
    heads = np.flatnonzero(data >= 0xC0)
    if not len(heads):
        return
    sizes = 2 + (data[heads] >= 0xE0) + (data[heads] >= 0xF0).astype(np.int64)
    codes = (data[heads] & (0x7F >> sizes)).astype(np.int64)
    for offset in range(1, 4):
        more = sizes > offset
        codes[more] = codes[more] << 6 | data[heads[more] + offset] & 0x3F
    for code in set(codes[_IN_WORD[codes] == _UNKNOWN].tolist()):
        _IN_WORD[code] = chr(code).isalnum()
    apart = _IN_WORD[codes] == 0
    heads, sizes = heads[apart], sizes[apart]
    for offset in range(4):
        data[heads[sizes > offset] + offset] = _SPACE


def _hash_runs(data: npt.NDArray[np.uint8]) -> tuple[Hashes, Ends]:
    """Returns the hash of each maximal run of bytes other than a space, and where it starts.

    Args:
        data: Bytes that end in eight spaces.
    """
    inside = np.empty(len(data) + 1, np.bool_)
    inside[0] = False
    np.not_equal(data, _SPACE, out=inside[1:])
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, left = edges[::2], edges[1::2] - edges[::2]
    eights = np.lib.stride_tricks.as_strided(
        data[:_EIGHT].view("<u8"), (len(data) - _EIGHT + 1,), (1,), writeable=False
    )
    hashes = mix(eights[starts] & _HEADS[np.minimum(left, _EIGHT)])
    longer = np.flatnonzero(left > _EIGHT)
    for done in range(_EIGHT, _LONG, _EIGHT):
        longer = longer[left[longer] > done]
        heads = _HEADS[np.minimum(left[longer] - done, _EIGHT)]
        hashes[longer] = mix(hashes[longer] ^ eights[starts[longer] + done] & heads)
    for i in np.flatnonzero(left > _LONG).tolist():
        hashes[i] = xxhash.xxh3_64_intdigest(data[starts[i] : starts[i] + left[i]].tobytes())
    return hashes, starts


def mix(values: Hashes) -> Hashes:
    """Returns each value with its bits spread over all others (MurmurHash3's 64-bit finalizer).

    A bijection: different values stay different.
    """
    mixed = values ^ (values >> np.uint64(33))
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xC4CEB9FE1A85EC53)
    mixed ^= mixed >> np.uint64(33)
    return mixed


def distinct(hashes: Hashes) -> Hashes:
    """Returns the different values in ascending order.

    `np.unique` gives the same; its hash table took 60 times as long on 10^6 hashes.

    >>> distinct(np.uint64([3, 1, 3])).tolist()
    [1, 3]
    """
    ordered = np.sort(hashes)
    return ordered[is_new(ordered)]


def is_new(ordered: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Returns (n,) bool, where a value differs from the one before it; true for the first.

    >>> is_new(np.array([4, 4, 7])).tolist()
    [True, False, True]
    """
    new = np.ones(len(ordered), np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    return new


def sequence(seed: int, n: int) -> Hashes:
    """Returns (n,) uint64 that look random: SplitMix64 from a seed, the same on every machine."""
    start = np.uint64(seed % 2**64)
    return mix(start + _STEP * np.arange(1, n + 1, dtype=np.uint64))


def ngrams(words: Hashes, n: int) -> Hashes:
    """Returns (n_words - n + 1,) uint64, the hash of each n-gram in order; empty if there is none.

    Args:
        words: (n_words,) uint64 from `hash_words`.
        n: Words per n-gram.

    >>> a, b = hash_words(split("to be or not to be")), hash_words(split("TO BE, or"))
    >>> len(ngrams(a, 3)), bool(ngrams(a, 3)[0] == ngrams(b, 3)[0])
    (4, True)
    """
    length = len(words) - n + 1
    if length <= 0:
        return np.empty(0, np.uint64)
    sums = words[:length].copy()
    for offset in range(1, n):
        sums *= _STEP
        sums += words[offset : offset + length]
    return mix(sums)

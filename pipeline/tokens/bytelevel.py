"""GPT-2's byte-level BPE: from text to ids and back.

Decisions:
- A vocabulary is its list of merges and nothing else. Ids follow GPT-2's layout: the 256 bytes in
  GPT-2's order, one entry per merge in the order of the merges, `<|endoftext|>` last. So
  `n_vocab = 256 + number of merges + 1`, and the order of ids is the order in which merges apply.
- tiktoken says what the ids of a text are. gigatoken encodes the corpus: the same ids, 20 to 30
  times as many bytes per CPU-second (docs/log.md). It knows letters of a newer Unicode than
  tiktoken; a document that holds one of those is encoded by tiktoken.
- `<|endoftext|>` inside a document is text. Only `encode` of the corpus puts the real one, after
  each document; a page that writes the marker cannot end its own document.
- Every text round-trips: all 256 bytes are entries, so nothing is ever unknown.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from itertools import groupby, pairwise
from typing import Any

import gigatoken
import numpy as np
import numpy.typing as npt
import tiktoken

from pipeline.tokens.arrow import END_OF_TEXT, Ended, Vocabulary, ended

Merge = tuple[str, str]

# How GPT-2 cuts text into pieces that merges never cross (openai/gpt-2, src/encoder.py). Ours is
# `\s++\z`; it changes no cut and takes the blanks that end a text without one state for each.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s++\z|\s+(?!\S)|\s+"

# The expression gives up on a run of about a million blanks before a word. Cutting such a text
# before the run's last blank changes nothing: that is where the pattern cuts, too.
_BLANK = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_MAX_BLANKS = 100_000
_LONG_RUN = re.compile(f"{_BLANK}{{{_MAX_BLANKS},}}")

_END = END_OF_TEXT.encode()

# Letters and numbers of Unicode 17, which gigatoken 0.10 knows and tiktoken 0.14 does not.
_NEWER = re.compile(
    "[\u088f\u0c5c\u0cdc\ua7ce\ua7cf\ua7d2\ua7d4\ua7f1\U00010940-\U00010959\U00010ec5-\U00010ec7"
    "\U00011db0-\U00011ddb\U00011de0-\U00011de9\U00016ea0-\U00016eb8\U00016ebb-\U00016ed3"
    "\U00016ff2-\U00016ff6\U000187f8-\U000187ff\U00018d09-\U00018d1e\U00018d80-\U00018df2"
    "\U0001e6c0-\U0001e6ff\U0002b73a-\U0002b73f\U0002cea2-\U0002cead\U000323b0-\U00033479]"
)


@cache
def byte_symbols() -> dict[int, str]:
    """Returns the printable character that stands for each byte in files, in the order of ids.

    Printable Latin-1 characters stand for themselves and come first; the other 68 bytes are
    shifted to U+0100 and up. Paper: GPT-2, released code (src/encoder.py).

    >>> symbols = byte_symbols()
    >>> symbols[ord("a")], symbols[ord(" ")], list(symbols).index(ord(" "))
    ('a', 'Ġ', 220)
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + n) for n, byte in enumerate(others)
    }


def entries(merges: Iterable[Merge]) -> dict[str, int]:
    """Returns the vocabulary of a list of merges: symbols to ids.

    >>> found = entries([("t", "h"), ("th", "e")])
    >>> len(found), found["th"], found["the"], found["<|endoftext|>"]
    (259, 256, 257, 258)
    """
    symbols = [*byte_symbols().values(), *(a + b for a, b in merges), END_OF_TEXT]
    return {symbol: index for index, symbol in enumerate(symbols)}


def parse_merges(content: str, where: str) -> list[Merge]:
    """Returns the merges of a published file: a line for the version, then two symbols per line.

    Raises:
        ValueError: If a line is no merge.
    """
    lines = [line for line in content.split("\n") if line and not line.startswith("#version")]
    return [merge(line, where) for line in lines]


def merge(line: str, where: str) -> Merge:
    """Returns a merge that is written as two symbols with a blank between them.

    >>> merge("Ġ the", "merges.txt")
    ('Ġ', 'the')
    """
    left, blank, right = line.partition(" ")
    if not (left and blank and right) or " " in right:
        raise ValueError(f"{where}: `{line}` is no merge; expected two symbols")
    return left, right


def check(merges: Sequence[Merge], where: str) -> None:
    """Refuses a list of merges that is not in GPT-2's form.

    Raises:
        ValueError: If a merge joins what no earlier line made, or makes what exists.
    """
    known = set(byte_symbols().values())
    for rank, (left, right) in enumerate(merges):
        if left not in known or right not in known or left + right in known:
            reason = "was made before" if left + right in known else "joins an unknown symbol"
            raise ValueError(
                f"{where}: merge {rank} `{left} {right}` {reason}; expected GPT-2's form"
            )
        known.add(left + right)


def description(merges: Sequence[Merge]) -> dict[str, Any]:
    """Returns what tokenizer.json says of a vocabulary, special tokens left out."""
    form = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", **form},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", **form},
        "model": {"type": "BPE", "vocab": entries(merges), "merges": list(merges)},
    }


class ByteLevelCodec:
    """One vocabulary, ready to encode and decode.

    Attributes:
        vocabulary: Digest, size and end-of-text id, as token shards carry them.
    """

    def __init__(self, merges: Sequence[Merge], tokenizer_sha256: str) -> None:
        """Keeps the merges; tables are built when they are first needed.

        Args:
            merges: The merges in order, symbols as in `vocab.bpe`.
            tokenizer_sha256: Digest of the file or files they come from.
        """
        self._merges = merges
        n_vocab = len(byte_symbols()) + len(merges) + 1
        self.vocabulary = Vocabulary(tokenizer_sha256, n_vocab, n_vocab - 1)

    @cached_property
    def _tables(self) -> tiktoken.Encoding:
        byte_of = {symbol: byte for byte, symbol in byte_symbols().items()}
        symbols = entries(self._merges)
        del symbols[END_OF_TEXT]
        return tiktoken.Encoding(
            name=f"outbound-{self.vocabulary.tokenizer_sha256[:12]}",
            pat_str=PATTERN,
            mergeable_ranks={bytes(byte_of[c] for c in s): rank for s, rank in symbols.items()},
            special_tokens={END_OF_TEXT: self.vocabulary.eot_id},
        )

    @cached_property
    def _n_bytes(self) -> npt.NDArray[np.int64]:
        """(n_vocab,) how many bytes each id stands for: a character of its symbol is a byte."""
        return np.array([len(symbol) for symbol in entries(self._merges)], np.int64)

    @cached_property
    def _fast(self) -> gigatoken.Tokenizer:
        return gigatoken.Tokenizer.from_json(json.dumps(description(self._merges)))

    @cached_property
    def _ending(self) -> gigatoken.Tokenizer:
        """Cuts a text at each `<|endoftext|>`, as if its parts were texts of their own."""
        end = {"id": self.vocabulary.eot_id, "content": END_OF_TEXT, "special": True}
        kept = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        told = {**description(self._merges), "added_tokens": [end | kept]}
        return gigatoken.Tokenizer.from_json(json.dumps(told))

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """Returns the ids of a text; `<|endoftext|>` in it is encoded as the text it is."""
        if len(text) < _MAX_BLANKS:
            return self._tables.encode_to_numpy(text, disallowed_special=())
        ends = [run.end() for run in _LONG_RUN.finditer(text)]
        cuts = [0, *(end - 1 for end in ends if end < len(text)), len(text)]
        pieces = (text[start:stop] for start, stop in pairwise(cuts))
        return np.concatenate(
            [self._tables.encode_to_numpy(piece, disallowed_special=()) for piece in pieces]
        )

    def encode_all(self, texts: Iterable[bytes]) -> Iterator[npt.NDArray[np.uint32]]:
        """Yields the ids of each text, given in UTF-8: what `encode` returns, faster."""
        fast = self._fast.encode
        for text in texts:
            yield self.encode(text.decode()) if _has_newer(text) else fast(text)

    def encode_ended(self, texts: Sequence[bytes]) -> Ended:
        """Returns the ids of texts in UTF-8, all in a row, `<|endoftext|>` after each.

        One call of the library for all between two that name the marker or have a newer letter.
        """
        parts = [np.empty(0, np.uint32)]
        for is_alone, run in groupby(texts, _is_alone):
            if is_alone:
                parts.append(ended(self.encode_all(run), self.vocabulary))
            else:
                parts.append(self._ending.encode(_END.join([*run, b""])))
        ids = parts[1] if len(parts) == 2 else np.concatenate(parts)
        return Ended(ids, np.flatnonzero(ids == self.vocabulary.eot_id) + 1)

    def encode_parts(self, texts: Sequence[str]) -> list[npt.NDArray[np.uint32]]:
        """Returns the ids of the texts joined, in parts; a token belongs where it begins.

        >>> coder = ByteLevelCodec([("a", "b")], "00")
        >>> [part.tolist() for part in coder.encode_parts(["xa", "bx", ""])]
        [[87, 256], [87], []]
        """
        ids = self.encode("".join(texts))
        ends = np.cumsum(self._n_bytes[ids])
        cuts = np.cumsum([len(text.encode()) for text in texts])[:-1]
        return np.split(ids, np.searchsorted(ends - self._n_bytes[ids], cuts))

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Returns the bytes that ids stand for; `<|endoftext|>` becomes its own name."""
        return self._tables.decode_bytes([int(i) for i in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of ids; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")


def _is_alone(text: bytes) -> bool:
    """Tells whether a text is none of those that are encoded by one call."""
    # A byte is found ten times as fast as the marker, and few texts have this one.
    return (b"|" in text and _END in text) or _has_newer(text)


def _has_newer(text: bytes) -> bool:
    """Tells whether the two libraries may cut a text differently; memory speed for most texts."""
    if text.isascii():
        return False
    # The first bytes of these characters in UTF-8. Spelt out: a loop takes four times as long.
    rare = b"\xf0" in text or b"\xea" in text or b"\xe0" in text
    return rare and _NEWER.search(text.decode()) is not None

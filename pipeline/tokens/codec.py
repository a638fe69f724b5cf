"""Byte-level BPE: from text to ids and back.

Decisions:
- A vocabulary is its list of merges and nothing else. Ids follow GPT-2's layout: the 256 bytes in
  GPT-2's order, one entry per merge in the order of the merges, `<|endoftext|>` last. So
  `n_vocab = 256 + number of merges + 1`, and the order of ids is the order in which merges apply.
- Encoding is tiktoken's: with the published GPT-2 vocabulary it took 0.11-0.15 CPU-seconds per MB
  where `tokenizers` took 0.8 (8.8 MB of books, one thread, equal ids).
- `<|endoftext|>` inside a document is text. Only `encode` of the corpus puts the real one, after
  each document; a page that writes the marker cannot end its own document.
- Every text round-trips: all 256 bytes are entries, so nothing is ever unknown.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tiktoken

from pipeline.store.shards import sha256_file
from pipeline.tokens.arrow import Vocabulary

Merge = tuple[str, str]

END_OF_TEXT = "<|endoftext|>"

# How GPT-2 cuts text into pieces that merges never cross (openai/gpt-2, src/encoder.py). Ours is
# `\s++\z`; it changes no cut and takes the blanks that end a text without one state for each.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s++\z|\s+(?!\S)|\s+"

# The expression gives up on a run of about a million blanks before a word. Cutting such a text
# before the run's last blank changes nothing: that is where the pattern cuts, too.
_BLANK = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_MAX_BLANKS = 100_000
_LONG_RUN = re.compile(f"{_BLANK}{{{_MAX_BLANKS},}}")


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


class Codec:
    """One vocabulary, ready to encode and decode.

    Attributes:
        vocabulary: Digest, size and end-of-text id, as token shards carry them.
    """

    def __init__(self, merges: Sequence[Merge], tokenizer_sha256: str) -> None:
        """Builds the tables.

        Args:
            merges: The merges in order, symbols as in `vocab.bpe`.
            tokenizer_sha256: Digest of the tokenizer.json they come from.
        """
        symbol_ids = entries(merges)
        self.vocabulary = Vocabulary(tokenizer_sha256, len(symbol_ids), symbol_ids.pop(END_OF_TEXT))
        byte_of = {symbol: byte for byte, symbol in byte_symbols().items()}
        ranks = {bytes(byte_of[c] for c in symbol): rank for symbol, rank in symbol_ids.items()}
        self._tables = tiktoken.Encoding(
            name=f"outbound-{tokenizer_sha256[:12]}",
            pat_str=PATTERN,
            mergeable_ranks=ranks,
            special_tokens={END_OF_TEXT: self.vocabulary.eot_id},
        )

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

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Returns the bytes that ids stand for; `<|endoftext|>` becomes its own name."""
        return self._tables.decode_bytes([int(i) for i in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of ids; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")


def load(path: Path) -> Codec:
    """Reads a `tokenizer.json` made by the `bpe` stage.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it is no byte-level BPE in GPT-2's layout: encoding it would give other ids
            than its own library does.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; make it with: dvc repro bpe")
    try:
        content = json.loads(path.read_bytes())
        merges = [(left, right) for left, right in content["model"]["merges"]]
        fits = _is_byte_level(content) and content["model"]["vocab"] == _without_end(
            merges, content
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no tokenizer.json of a BPE: {error!r}") from error
    if not fits:
        raise ValueError(
            f"{path} is no byte-level BPE in GPT-2's layout; make it with: dvc repro bpe"
        )
    check(merges, str(path))
    return Codec(merges, sha256_file(path))


def _is_byte_level(content: dict[str, Any]) -> bool:
    split = content["pre_tokenizer"]
    plain = content["normalizer"] is None and split["type"] == "ByteLevel"
    return plain and not split["add_prefix_space"] and split["use_regex"]


def _without_end(merges: Sequence[Merge], content: dict[str, Any]) -> dict[str, int]:
    """Returns the entries; `<|endoftext|>` may stand among the added tokens alone."""
    expected = entries(merges)
    end = expected[END_OF_TEXT]
    if [(token["content"], token["id"]) for token in content["added_tokens"]] != [
        (END_OF_TEXT, end)
    ]:
        raise ValueError(f"added_tokens are not exactly {END_OF_TEXT} with id {end}")
    if END_OF_TEXT not in content["model"]["vocab"]:
        del expected[END_OF_TEXT]
    return expected

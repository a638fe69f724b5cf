"""Any vocabulary, read from its tokenizer.json: from text to ids and back.

A folder without tokenizer.json may have GPT-2's two published files instead, under either of their
pairs of names (`FILES`).

What a file holds decides which codec reads it; there is no second place that names the form.

    pre_tokenizer ByteLevel            GPT-2            `pipeline.tokens.bytelevel`
    pre_tokenizer CharDelimiterSplit   GPT-1, OpenAI's  `pipeline.tokens.gpt1`
    pre_tokenizer BertPreTokenizer     GPT-1, transformers'

Merges are pairs, or strings with a blank in the middle: so they stand in the file that is published
with GPT-2's weights, and in all that `tokenizers` wrote before version 0.20.

A file that one of them does not describe to the letter is refused: encoding it would give other
ids than its own library does.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.tokens import bytelevel, gpt1
from pipeline.tokens.arrow import END_OF_TEXT, Ended, Vocabulary
from pipeline.tokens.bytelevel import ByteLevelCodec
from pipeline.tokens.gpt1 import WordCodec

# Merges and entries of a byte-level vocabulary, as `transformers` and as OpenAI name them.
FILES = (("merges.txt", "vocab.json"), ("vocab.bpe", "encoder.json"))

# What else tokenizer.json may say of its model; other values give other ids.
_PLAIN_MODEL: dict[str, tuple[object, ...]] = {
    "type": ("BPE",),
    "dropout": (None, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "ignore_merges": (False,),
    "byte_fallback": (False,),
}


class Codec(Protocol):
    """One vocabulary, ready to encode and decode."""

    vocabulary: Vocabulary

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """Returns the ids of a text; `<|endoftext|>` in it is encoded as the text it is."""

    def encode_all(self, texts: Iterable[bytes]) -> Iterator[npt.NDArray[np.uint32]]:
        """Yields the ids of each text, given in UTF-8: what `encode` returns, faster."""

    def encode_ended(self, texts: Sequence[bytes]) -> Ended:
        """Returns the ids of texts in UTF-8, all in a row, `<|endoftext|>` after each."""

    def encode_parts(self, texts: Sequence[str]) -> list[npt.NDArray[np.uint32]]:
        """Returns the ids of one text that is given in parts, those that begin in each part."""

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Returns the bytes that ids stand for; `<|endoftext|>` becomes its own name."""

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of ids; bytes that are no UTF-8 become U+FFFD."""


def load(path: Path) -> Codec:
    """Reads a `tokenizer.json`, or the published files beside its place where there is none.

    Raises:
        FileNotFoundError: If all are missing.
        ValueError: If they are in none of the forms above.
    """
    pairs = [(path.parent / merges, path.parent / entries) for merges, entries in FILES]
    pair = next((each for each in pairs if all(file.is_file() for file in each)), None)
    if not path.is_file() and pair is not None:
        return _made_of_files(*(file.read_bytes() for file in pair), str(pair[0]))
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; make it with: dvc repro bpe")
    try:
        made = _made(path.read_bytes())
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no tokenizer.json of a BPE: {error!r}; make it with: dvc repro bpe"
        ) from error
    if made is None:
        raise ValueError(
            f"{path} is no byte-level BPE in GPT-2's layout, and in none of GPT-1's two forms; "
            "make it with: dvc repro bpe"
        )
    return made


@lru_cache(maxsize=1)
def _made_of_files(merges_file: bytes, entries_file: bytes, where: str) -> Codec:
    merges = bytelevel.parse_merges(merges_file.decode(), where)
    bytelevel.check(merges, where)
    if json.loads(entries_file) != bytelevel.entries(merges):
        raise ValueError(
            f"{where} and the entries beside it do not fit each other; bring both from one place"
        )
    return ByteLevelCodec(merges, hashlib.sha256(merges_file + entries_file).hexdigest())


@lru_cache(maxsize=1)  # a worker encodes many shards with one vocabulary; tables cost half a second
def _made(data: bytes) -> Codec | None:
    content, digest = json.loads(data), hashlib.sha256(data).hexdigest()
    merges = [_merge(each) for each in content["model"]["merges"]]
    form = gpt1.form_of(content)
    if form is not None:
        entries = content["model"]["vocab"]
        tokenizer = gpt1.tokenizer(form, entries, merges)
        fits = json.loads(tokenizer.to_str()) == content
        gpt1.check(entries, merges, "tokenizer.json")
        return WordCodec(form, tokenizer, digest) if fits else None
    if not _is_byte_level(content) or content["model"]["vocab"] != _without_end(merges, content):
        return None
    bytelevel.check(merges, "tokenizer.json")
    return ByteLevelCodec(merges, digest)


def _merge(written: str | list[str]) -> bytelevel.Merge:
    if isinstance(written, str):
        return bytelevel.merge(written, "tokenizer.json")
    left, right = written
    return left, right


def _is_byte_level(content: dict[str, Any]) -> bool:
    """Tells whether a file describes GPT-2's procedure; what it leaves out has its usual value."""
    split, model, after = content["pre_tokenizer"], content["model"], content["post_processor"]
    return (
        content["normalizer"] is None
        and split["type"] == "ByteLevel"
        and not split["add_prefix_space"]
        and split.get("use_regex", True)
        and (after is None or after["type"] == "ByteLevel")
        and all(model.get(key, values[0]) in values for key, values in _PLAIN_MODEL.items())
    )


def _without_end(merges: list[bytelevel.Merge], content: dict[str, Any]) -> dict[str, int]:
    """Returns the entries; `<|endoftext|>` may stand among the added tokens alone."""
    expected = bytelevel.entries(merges)
    end = expected[END_OF_TEXT]
    if [(token["content"], token["id"]) for token in content["added_tokens"]] != [
        (END_OF_TEXT, end)
    ]:
        raise ValueError(f"added_tokens: expected {END_OF_TEXT} with id {end} and no other")
    if END_OF_TEXT not in content["model"]["vocab"]:
        del expected[END_OF_TEXT]
    return expected

"""Clean, step 1 (map over shards): text made regular.

Decisions:
- Mojibake is mended only in lines where a cheap test sees it, since ftfy on every line would cost
  more than all the rest. Then NFC, control and invisible characters out, blanks regular, tokenized
  text written as people write.
- The whole is repeated until nothing changes, so cleaning a clean text changes nothing.
- Lines keep their indentation: pages show code.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ftfy
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import records
from pipeline.store.config import require
from pipeline.store.shards import ShardDraft
from pipeline.text import removal
from pipeline.text.detokenize import detokenize_if_tokenized

PART = "part.parquet"
LIBRARIES = ("ftfy",)

_SCHEMA = pa.schema(
    [
        *(records.CLEAN.field(name) for name in ("doc_id", "url", "host", "domain")),
        *(records.CLEAN.field(name) for name in ("created_utc", "title", "text")),
    ]
)
_MAX_ROUNDS = 5

# UTF-8 read as a one-byte charset shows as a lead byte's letter followed by what a continuation
# byte looks like in windows-1252, or as one of the usual pairs of windows-1251 and Mac Roman.
_MOJIBAKE = re.compile(
    "[\x80-\x9f]|[\xc2-\xf4][\x80-\xbf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc"
    "\u2013-\u2022\u2026\u2030\u2039\u203a\u20ac\u2122]|[ÂÃ] |вЂ|‚Ä|√[°-¿]"
)
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_BLANKS = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# Controls but tab and line feed, soft hyphens, zero-width and direction marks, noncharacters,
# halves of surrogate pairs.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufdd0-\ufdef"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
# Joiners beside ASCII or nothing; emoji and many scripts need them between other characters.
_IDLE_JOINERS = re.compile(
    "(?:(?<=[\x00-\x7f])|\\A)[\u200c\u200d]+|[\u200c\u200d]+(?:(?=[\x00-\x7f])|\\Z)"
)
_EMPTY_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Detokenize:
    """When a text counts as tokenized.

    Attributes:
        min_marks: Commas and periods between blanks; fewer prove nothing, 0 turns the step off.
        min_frac: Their share among all commas and periods at the end of a word.
    """

    min_marks: int
    min_frac: float

    def __post_init__(self) -> None:
        require("min_marks", self.min_marks, self.min_marks >= 0, "x >= 0")
        require("min_frac", self.min_frac, 0 < self.min_frac <= 1, "0 < x <= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What decides the bytes of this step.

    Attributes:
        mend_encoding: Mend mojibake.
        detokenize: When a text counts as tokenized.
    """

    mend_encoding: bool
    detokenize: Detokenize


def write(inputs: tuple[Path, ...], draft: ShardDraft, config: Config) -> None:
    """Writes the documents of one shard of pages in regular form; rows keep their order.

    Args:
        inputs: The pages, then the hits of `removal` if there are any: documents that are left out.
        draft: The shard to fill.
        config: What is made regular.
    """
    gone = removal.of_shard(inputs[1:])
    table = pq.read_table(inputs[0], columns=_SCHEMA.names, partitioning=None)
    pages = [page for page in table.to_pylist() if page["doc_id"] not in gone]
    rows = [_row(page, config) for page in pages]
    changed = sum(row["text"] != page["text"] for row, page in zip(rows, pages, strict=True))
    draft.tally("changed", changed)
    draft.write_table(PART, pa.Table.from_pylist(rows, _SCHEMA))


def _row(page: Mapping[str, Any], config: Config) -> dict[str, Any]:
    title = page["title"] and " ".join(normalize(page["title"], config).split())
    return {**page, "title": title or None, "text": normalize(page["text"], config)}


def normalize(text: str, config: Config) -> str:
    r"""Returns a text in regular form; doing it twice is doing it once.

    >>> mend = Config(mend_encoding=True, detokenize=Detokenize(min_marks=0, min_frac=1.0))
    >>> normalize("It\u00e2\u20ac\u2122s  \r\n\u200bcafe\u0301\x00\n\n\n\nend ", mend)
    'It’s\ncafé\n\nend'
    """
    for _ in range(_MAX_ROUNDS):
        before = text
        if config.mend_encoding and not text.isascii() and _MOJIBAKE.search(text):
            text = _mend(text)
        text = regular(text)
        if config.detokenize.min_marks:
            text = detokenize_if_tokenized(text, **asdict(config.detokenize))
        if text == before:
            break
    return text


def regular(text: str) -> str:
    """Returns a text in NFC with plain blanks, plain line ends and nothing invisible."""
    text = _LINE_ENDS.sub("\n", text)
    if not text.isascii():
        text = _BLANKS.sub(" ", unicodedata.normalize("NFC", text))
        if "\u200c" in text or "\u200d" in text:
            text = _IDLE_JOINERS.sub("", text)
    text = _INVISIBLE.sub("", text)
    text = "\n".join(line.rstrip(" \t") for line in text.split("\n"))
    return _EMPTY_LINES.sub("\n\n", text).strip("\n")


def without(text: str, indexes: Collection[int]) -> str:
    r"""Returns a regular text without some of its lines.

    >>> without("a\n\nb\n\nc\nd", [2, 5])
    'a\n\nc'
    """
    if not indexes:
        return text
    kept = [line for index, line in enumerate(text.split("\n")) if index not in indexes]
    return _EMPTY_LINES.sub("\n\n", "\n".join(kept)).strip("\n")


def _mend(text: str) -> str:
    """Undoes wrong decoding in the lines that look like it."""
    lines = (ftfy.fix_encoding(s) if _MOJIBAKE.search(s) else s for s in text.split("\n"))
    return "\n".join(lines)

"""Schemas, document ids and drops: what every step agrees on. Columns: docs/data_format.md."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import xxhash

from pipeline.store import arrow  # noqa: F401  before the first array

VALID_FRAC = 0.05  # of the documents left after dedup; design §4 "Split and order"
EXCERPT_CHARS = 400  # of a dropped text that is kept for the report's gallery

_SPLIT_BUCKETS = 10_000

Partitions = np.ndarray[tuple[int], np.dtype[np.int64]]


class Drop(NamedTuple):
    """Why a document goes no further: a reason to count, and what a reader wants to know."""

    reason: str
    detail: str = ""


def doc_id(key: str) -> str:
    """Returns the 64-bit id of a canonical URL key (or of any other identity) as 16 hex digits.

    >>> doc_id("example.org/a")
    '985401edf5ec6791'
    """
    return xxhash.xxh3_64_hexdigest(key.encode("utf-8", "surrogatepass"))


def line_id(data: bytes) -> str:
    """Returns the id of a line that names no URL: the same wherever it stands.

    >>> line_id(b"{") != doc_id("{")
    True
    """
    return xxhash.xxh3_64_hexdigest(data, seed=1)  # else a line could have the id of a link


def partitions(names: Sequence[str], n_partitions: int) -> Partitions:
    """Returns the partition that owns each of many registered domains, as int64 of shape (n,).

    Stable across runs and machines.

    >>> partitions(["bbc.co.uk", "example.org"], 8).tolist()
    [4, 5]
    """
    found = map(xxhash.xxh3_64_intdigest, map(str.encode, names))
    digests = np.fromiter(found, np.uint64, len(names))
    return (digests % np.uint64(n_partitions)).astype(np.int64)


def is_validation(document: str) -> bool:
    """Returns whether a document id belongs to the validation split (5 % by hash)."""
    bucket = xxhash.xxh3_64_intdigest(b"split:" + document.encode()) % _SPLIT_BUCKETS
    return bucket < VALID_FRAC * _SPLIT_BUCKETS


def excerpt(text: str) -> str:
    """Returns the beginning of a text, short enough to be kept beside a decision."""
    return text[:EXCERPT_CHARS]


def _schema(*fields: tuple[str, pa.DataType] | tuple[str, pa.DataType, str]) -> pa.Schema:
    """Builds a schema; a third element "?" makes the column nullable."""
    return pa.schema([pa.field(f[0], f[1], nullable=len(f) == 3) for f in fields])  # type: ignore[misc]


_STR, _I16, _I32, _I64 = pa.string(), pa.int16(), pa.int32(), pa.int64()

WEB = _schema(
    ("host", _STR),
    ("path", _STR),
    ("status", _I16),
    ("headers", pa.list_(pa.struct([("name", _STR), ("value", _STR)]))),
    ("body", pa.binary()),
    ("behaviour", _STR),
)
TRUTH = _schema(
    ("url", _STR),
    ("doc_id", _STR),
    ("case", _STR),
    ("group", _STR),
    ("expect_stage", _STR),
    ("expect_reason", _STR),
)
LINKS = _schema(
    ("doc_id", _STR),
    ("url", _STR),
    ("key", _STR),
    ("host", _STR),
    ("domain", _STR),
    ("created_utc", _I64),
    ("max_score", _I32),
    (
        "submissions",
        pa.list_(
            pa.struct(
                [
                    ("submission_id", _STR),
                    ("subreddit", _STR),
                    ("score", _I32),
                    ("created_utc", _I64),
                ]
            )
        ),
    ),
)
FETCHES = _schema(
    ("doc_id", _STR),
    ("url", _STR),
    ("host", _STR),
    ("outcome", _STR),
    ("http_status", _I16, "?"),
    ("final_url", _STR, "?"),
    ("n_redirects", _I16),
    ("content_type", _STR, "?"),
    ("wire_bytes", _I64),
    ("truncated", _STR, "?"),
    ("opt_outs", pa.list_(_STR)),
    ("attempts", _I16),
    ("address", _STR, "?"),
    ("detail", _STR),
)
PAGES = _schema(
    ("doc_id", _STR),
    ("url", _STR),
    ("host", _STR),
    ("domain", _STR),
    ("created_utc", _I64, "?"),
    ("captured_on", _STR),
    ("title", _STR, "?"),
    ("author", _STR, "?"),
    ("published_on", _STR, "?"),
    ("language_hint", _STR, "?"),
    ("charset", _STR),
    ("charset_source", _STR),
    ("html_bytes", _I64),
    ("extractor", _STR),
    ("text", _STR),
)
CLEAN = _schema(
    ("doc_id", _STR),
    ("url", _STR),
    ("host", _STR),
    ("domain", _STR),
    ("created_utc", _I64, "?"),
    ("title", _STR, "?"),
    ("language", _STR),
    ("language_score", pa.float32(), "?"),
    ("text", _STR),
    ("n_chars", _I64),
    ("n_words", _I64),
)
UNIQUE = pa.schema(
    [*CLEAN, pa.field("cluster_id", _STR, False), pa.field("cluster_size", _I32, False)]
)
CORPUS = pa.schema([*UNIQUE, pa.field("overlap_frac", pa.float32(), False)])
EVAL = _schema(
    ("set", _STR), ("split", _STR), ("example_id", _STR), ("text", _STR), ("fields", _STR)
)
SPANS = _schema(
    ("doc_id", _STR),
    ("start_char", _I64),
    ("end_char", _I64),
    ("n_words", _I64),
    ("set", _STR),
    ("example_id", _STR),
    ("example_word", _I64),
    ("n_shared", _I64),
    ("is_cut", pa.bool_()),
    ("text", _STR),
)
EXAMPLES = _schema(
    ("set", _STR),
    ("example_id", _STR),
    ("n_8grams", _I64),
    ("n_found", _I64),
    ("n_left", _I64),
    ("doc_id", _STR, "?"),
    ("doc_word", _I64, "?"),
    ("example_word", _I64, "?"),
    ("n_words", _I64),
    ("text", _STR),
)
PREDICTIONS = _schema(
    ("example_id", _STR),
    ("split", _STR),
    ("label", pa.float64()),
    ("predicted", pa.float64()),
    ("scores", pa.list_(pa.float64())),
)
DECISIONS = _schema(
    ("doc_id", _STR), ("stage", _STR), ("reason", _STR), ("detail", _STR), ("excerpt", _STR)
)

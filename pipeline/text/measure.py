"""Clean, step 4 (map over shards): what is known of each document, before any limit is applied.

Writes `scores.parquet`, one row per document in the order of the texts: which lines go, the
language, every figure that a rule may limit, what the GPT-2 paper would have noticed. No limit
decides here, so another limit measures nothing again; and every document is measured, dropped ones
too, so that a limit can be chosen by looking.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.config import require
from pipeline.store.shards import ShardDraft
from pipeline.text import boilerplate, lines, natural
from pipeline.text.figures import FIGURES, Statistics, measured
from pipeline.text.language import identify
from pipeline.text.normalize import without

SCORES = "scores.parquet"
REMOVED = "boilerplate.parquet"
LIBRARIES = ("py3langid", "numpy", "xxhash")

_BYTES = pa.struct([("language", pa.string()), ("n_bytes", pa.int64())])
_EXAMPLE = pa.struct([("kind", pa.string()), ("text", pa.string())])
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in [
            ("doc_id", pa.string()),
            ("language", pa.string()),
            ("language_score", pa.float64()),
            ("n_chars", pa.int64()),
            ("boilerplate_chars", pa.int64()),
            ("ruled_chars", pa.int64()),
            ("removed_words_frac", pa.float64()),
            *((name, pa.float64()) for name in FIGURES),
            *((name, pa.int64()) for name in natural.KINDS),
            ("foreign_bytes", pa.list_(_BYTES)),
            ("removed", pa.list_(pa.int32())),
            ("examples", pa.list_(_EXAMPLE)),
        ]
    ]
)
_REMOVED = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in [
            ("host", pa.string()),
            ("key", pa.uint64()),
            ("line", pa.string()),
            ("n", pa.int64()),
        ]
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What decides the bytes of this step.

    Attributes:
        language_chars: Characters of a text that the language is judged by.
        boilerplate: Which lines may be boilerplate.
        lines: Which lines are removed on any host.
    """

    language_chars: int
    boilerplate: boilerplate.Candidates
    lines: lines.Config

    def __post_init__(self) -> None:
        require("language_chars", self.language_chars, self.language_chars >= 100, "x >= 100")


class Pruned(NamedTuple):
    """A text without the lines that go.

    Attributes:
        text: What is left.
        boilerplate: Lines that recur on the host: index to key.
        ruled: Indexes of lines that a line rule removes.
    """

    text: str
    boilerplate: dict[int, int]
    ruled: frozenset[int]


def write(inputs: tuple[Path, ...], draft: ShardDraft, config: Config) -> None:
    """Writes the scores of one shard of texts, and the boilerplate lines it loses.

    Args:
        inputs: The texts, then the files that list their boilerplate.
        draft: The shard to fill.
        config: How to measure.
    """
    known = boilerplate.load(inputs[1:])
    rows: list[dict[str, Any]] = []
    lost: Counter[tuple[str, int, str]] = Counter()
    columns = ["doc_id", "host", "text"]
    for document in pq.read_table(inputs[0], columns=columns, partitioning=None).to_pylist():
        pruned = prune(document["text"], document["host"], known, config)
        rows.append(score(document, pruned, config))
        full = document["text"].split("\n")
        for index, key in pruned.boilerplate.items():
            lost[document["host"], key, full[index].strip()] += 1
    removed = [(*line, n) for line, n in sorted(lost.items())]
    table = [dict(zip(_REMOVED.names, line, strict=True)) for line in removed]
    draft.write_table(REMOVED, pa.Table.from_pylist(table, _REMOVED))
    draft.write_table(SCORES, pa.Table.from_pylist(rows, SCHEMA))


def prune(text: str, host: str, known: frozenset[int], config: Config) -> Pruned:
    """Returns a text without boilerplate and without lines that hold no prose.

    Args:
        text: Regular.
        host: Where it comes from.
        known: Keys of the boilerplate in the text's shard.
        config: Which lines go.
    """
    found = boilerplate.removed(text, host, known, config.boilerplate)
    ruled: frozenset[int] = frozenset()
    if not config.lines.is_off():
        ruled = frozenset(
            index
            for index, line in enumerate(text.split("\n"))
            if index not in found and lines.is_removed(line.strip(), config.lines)
        )
    return Pruned(without(text, found.keys() | ruled), found, ruled)


def score(document: Mapping[str, str], pruned: Pruned, config: Config) -> dict[str, Any]:
    """Returns one row of `SCHEMA`: what is known of a document whose lines are pruned."""
    text, language = pruned.text, identify(pruned.text, config.language_chars)
    statistics = Statistics(text)
    noticed = natural.notice(statistics, language.code)
    full = document["text"].split("\n")
    n_words = len(document["text"].split()) if pruned.ruled else 0
    ruled_words = sum(len(full[index].split()) for index in pruned.ruled)
    return {
        "doc_id": document["doc_id"],
        "language": language.code,
        "language_score": language.score,
        "n_chars": len(text),
        "boilerplate_chars": sum(len(full[index]) for index in pruned.boilerplate),
        "ruled_chars": sum(len(full[index]) for index in pruned.ruled),
        "removed_words_frac": ruled_words / n_words if n_words else 0.0,
        **measured(statistics),
        **noticed.counts,
        "foreign_bytes": [
            {"language": code, "n_bytes": n} for code, n in noticed.foreign_bytes.items()
        ],
        "removed": sorted(pruned.boilerplate.keys() | pruned.ruled),
        "examples": [{"kind": k, "text": shown} for k, shown in noticed.examples.items()],
    }

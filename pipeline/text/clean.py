"""Pages to clean documents: text made regular, then one decision per document.

Decisions:
- Text first: mojibake mended (only in lines where a cheap test sees it, since ftfy on every line
  would cost more than all the rest), NFC, control and invisible characters out, blanks regular,
  tokenized text written as people write. The whole is repeated until nothing changes, so cleaning
  a clean text changes nothing.
- Then the rules in a fixed order, the cheap ones first; the first that fails is the reason,
  whatever else is wrong: empty, wikipedia, too_short, too_long, language, then the groups of
  `pipeline.text.rules`.
- Every document that reaches the rules is measured by all of them, so that the report can show
  where a threshold lies in the distribution of what it limits.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ftfy
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import shard_map
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, shards
from pipeline.store.config import require
from pipeline.store.records import Drop
from pipeline.store.shards import ShardDraft
from pipeline.text import removal, rules
from pipeline.text.detokenize import detokenize_if_tokenized
from pipeline.text.language import Language, identify

_LIBRARIES = ("ftfy", "py3langid", "numpy")
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
    """What a clean document is.

    Attributes:
        mend_encoding: Mend mojibake.
        detokenize: When a text counts as tokenized.
        wikipedia_domains: Registered domains that are left out.
        min_chars: Shortest text.
        max_chars: Longest text.
        languages: ISO 639-1 codes that are kept; an empty list keeps all.
        min_language_score: Least likelihood of the language.
        language_chars: Characters of a text that the language is judged by.
        gopher: Gopher's quality rules.
        repetition: Gopher's repetition rules.
        c4: C4's page rules.
        fineweb: FineWeb's own rules.
    """

    mend_encoding: bool
    detokenize: Detokenize
    wikipedia_domains: tuple[str, ...]
    min_chars: int
    max_chars: int
    languages: tuple[str, ...]
    min_language_score: float
    language_chars: int
    gopher: rules.Gopher
    repetition: rules.Repetition
    c4: rules.C4
    fineweb: rules.Fineweb

    def __post_init__(self) -> None:
        require("min_chars", self.min_chars, self.min_chars >= 1, "x >= 1")
        require("max_chars", self.max_chars, self.max_chars >= self.min_chars, "x >= min_chars")
        score = self.min_language_score
        require("min_language_score", score, 0 <= score <= 1, "0 <= x <= 1")
        require("language_chars", self.language_chars, self.language_chars >= 100, "x >= 100")

    def bounds(self) -> tuple[rules.Bound, ...]:
        """Returns the limits of all rule groups in order."""
        names = ("gopher", "repetition", "c4", "fineweb")
        return rules.bounds({name: getattr(self, name) for name in names})


class Judged(NamedTuple):
    """The decision on one document; `figures` is empty when the rules were not reached."""

    drop: Drop | None
    language: Language
    figures: dict[str, float]


def run(
    inputs: Sequence[Path],
    output: Path,
    config: Config,
    engine: Engine,
    removed: Mapping[Path, tuple[Path, ...]] = removal.NOTHING,
) -> dict[str, Any]:
    """Cleans folders of pages, shard by shard.

    Args:
        inputs: Folders of pages with their manifests; their shards in this order.
        output: Folder of clean documents.
        config: What a clean document is.
        engine: Where tasks run.
        removed: From `removal.find`: for each shard with documents that must go, which.

    Returns:
        The stage's figures, a histogram of each rule's figure with its limits included.
    """
    step = Step(name="clean", code="pipeline.text.clean", config=config, libraries=_LIBRARIES)
    pages = [path for folder in inputs for path in manifest.load(folder, "extract").paths()]
    if not pages:
        raise FileNotFoundError(
            f"{' and '.join(map(str, inputs))} hold no shard; crawl something, or set "
            "extract.inputs or documents.inputs in params.yaml"
        )
    tasks = [(path, *removed.get(path.absolute(), ())) for path in pages]
    made = shard_map(step, tasks, partial(make_shard, config=config), output, engine)
    sums = {key: n for key, n in made.tally.items() if not key.startswith("histogram.")}
    return {
        "counts": shards.counts_json(made.counts),
        **sums,
        "histograms": histograms(made.tally, config.bounds()),
    }


def make_shard(inputs: tuple[Path, ...], draft: ShardDraft, *, config: Config) -> None:
    """Cleans one shard; rows keep their order."""
    path, *hits = inputs
    removed = removal.of_shard(hits)
    limits = config.bounds()
    rows: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    for page in pq.read_table(path, partitioning=None).to_pylist():
        draft.count_in()
        if page["doc_id"] in removed:
            draft.drop(page["doc_id"], Drop(removal.REMOVED, removed[page["doc_id"]]))
            continue
        text = normalize(page["text"], config)
        seen["changed"] += text != page["text"]
        judged = judge(text, page["domain"], config, limits)
        seen.update(_bins(judged.figures))
        if judged.drop:
            draft.drop(page["doc_id"], judged.drop, text)
        else:
            rows.append(_row(page, text, judged, config))
    draft.count_out(len(rows))
    seen["chars"] = sum(row["n_chars"] for row in rows)
    seen["words"] = sum(row["n_words"] for row in rows)
    for key in sorted(seen):
        draft.tally(key, seen[key])
    draft.write_table("part.parquet", pa.Table.from_pylist(rows, records.CLEAN))


def _row(page: Mapping[str, Any], text: str, judged: Judged, config: Config) -> dict[str, Any]:
    title = page["title"] and " ".join(normalize(page["title"], config).split())
    return {
        **{name: page[name] for name in ("doc_id", "url", "host", "domain", "created_utc")},
        "title": title or None,
        "language": judged.language.code,
        "text": text,
        "n_chars": len(text),
        "n_words": len(text.split()),
    }


def judge(text: str, domain: str, config: Config, limits: tuple[rules.Bound, ...]) -> Judged:
    """Decides on one document.

    Args:
        text: Normalized.
        domain: Registered domain of its URL.
        config: What a clean document is.
        limits: `config.bounds()`, computed once.
    """
    language = Language("", 0.0)
    drop = _cheap_drop(text, domain, config)
    if drop is None:
        language = identify(text, config.language_chars)
        drop = _language_drop(language, config)
    if drop:
        return Judged(drop, language, {})
    measured = rules.figures(text)
    return Judged(rules.first_failure(measured, limits), language, measured)


def _cheap_drop(text: str, domain: str, config: Config) -> Drop | None:
    if not text:
        return Drop("empty")
    if domain in config.wikipedia_domains:
        return Drop("wikipedia", domain)
    if len(text) < config.min_chars:
        return Drop("too_short", f"{len(text)} characters")
    if len(text) > config.max_chars:
        return Drop("too_long", f"{len(text)} characters")
    return None


def _language_drop(language: Language, config: Config) -> Drop | None:
    known = not config.languages or language.code in config.languages
    if known and language.score >= config.min_language_score:
        return None
    return Drop("language", f"{language.code} {language.score:.2f}")


def normalize(text: str, config: Config) -> str:
    r"""Returns a text in regular form; doing it twice is doing it once.

    >>> from types import SimpleNamespace as N
    >>> off = N(mend_encoding=True, detokenize=N(min_marks=0, min_frac=1.0))
    >>> normalize("It\u00e2\u20ac\u2122s  \r\n\u200bcafe\u0301\x00\n\n\n\nend ", off)
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


def _mend(text: str) -> str:
    """Undoes wrong decoding in the lines that look like it."""
    lines = (ftfy.fix_encoding(s) if _MOJIBAKE.search(s) else s for s in text.split("\n"))
    return "\n".join(lines)


def _bins(measured: Mapping[str, float]) -> list[str]:
    """Returns a tally key for the histogram bin of each figure."""
    return [
        f"histogram.{name}.{rules.histogram_bin(name, value):02d}"
        for name, value in measured.items()
    ]


def histograms(tally: Mapping[str, int], limits: tuple[rules.Bound, ...]) -> dict[str, Any]:
    """Returns for each limited figure its histogram over the judged documents, and its limits.

    Args:
        tally: Sums under `histogram.<figure>.<bin>`.
        limits: What may pass.
    """
    found: dict[str, Any] = {}
    for bound in limits:
        edges = rules.edges(bound.figure)
        counts = [tally.get(f"histogram.{bound.figure}.{i:02d}", 0) for i in range(len(edges))]
        entry = found.setdefault(bound.figure, {"edges": edges, "counts": counts, "limits": {}})
        entry["limits"][bound.reason] = bound.limit
    return found

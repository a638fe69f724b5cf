"""Pages to clean documents: text made regular, measured, then one decision per document.

    pages ──1 normalize──> texts ──2 send──> lines ──3 decide──> boilerplate of each host
                             │                                        │
                             ├──────4 measure: lines out, scores <────┘
                             │             │
                             └──5 apply limits──> clean, scores, decisions

Decisions:
- Measuring and deciding are two steps: a changed limit re-runs only the last one.
- The rules stand in a fixed order; the first that fails is the reason, whatever else is wrong:
  removed, empty, boilerplate, the excluded hosts, too_short, too_long, language, lines_removed,
  then the groups of `pipeline.text.rules`.
- What a limit would do can be seen before it is set: scores of all documents lie beside the clean
  ones, and the histograms show each limit in the distribution of what it limits.
- The stage stops when one reason removes an implausible share (`pipeline.text.guard`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import intermediate
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, shards
from pipeline.store.config import require
from pipeline.store.records import Drop
from pipeline.store.shards import Shard, ShardDraft
from pipeline.text import (
    boilerplate,
    guard,
    lines,
    measure,
    natural,
    normalize,
    removal,
    rules,
    summary,
)
from pipeline.text.judge import Limits, cheap_drop
from pipeline.text.normalize import Detokenize

_NOTICED = pa.schema([("doc_id", pa.string()), ("kind", pa.string()), ("text", pa.string())])
GROUPS = ("gopher", "repetition", "c4", "fineweb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a clean document is.

    Attributes:
        mend_encoding: Mend mojibake.
        detokenize: When a text counts as tokenized.
        boilerplate: Lines that recur across a host.
        lines: Lines that hold no prose.
        max_removed_words_frac: Share of a document's words that line rules may remove.
        excluded_hosts: Reason to hosts that are left out for it, with all subdomains.
        min_chars: Shortest text.
        max_chars: Longest text.
        languages: ISO 639-1 codes that are kept; an empty list keeps all.
        min_language_score: Least likelihood of the language.
        language_chars: Characters of a text that the language is judged by.
        gopher: Gopher's quality rules.
        repetition: Gopher's repetition rules.
        c4: C4's page rules.
        fineweb: FineWeb's own rules.
        guard: How much one reason may remove.
    """

    mend_encoding: bool
    detokenize: Detokenize
    boilerplate: boilerplate.Config
    lines: lines.Config
    max_removed_words_frac: float
    excluded_hosts: dict[str, tuple[str, ...]]
    min_chars: int
    max_chars: int
    languages: tuple[str, ...]
    min_language_score: float
    language_chars: int
    gopher: rules.Gopher
    repetition: rules.Repetition
    c4: rules.C4
    fineweb: rules.Fineweb
    guard: guard.Config

    def __post_init__(self) -> None:
        require("min_chars", self.min_chars, self.min_chars >= 1, "x >= 1")
        require("max_chars", self.max_chars, self.max_chars >= self.min_chars, "x >= min_chars")
        for name in ("min_language_score", "max_removed_words_frac"):
            value = getattr(self, name)
            require(name, value, 0 <= value <= 1, "0 <= x <= 1")
        require("language_chars", self.language_chars, self.language_chars >= 100, "x >= 100")

    def bounds(self) -> tuple[rules.Bound, ...]:
        """Returns the limits of all rule groups in order."""
        return rules.bounds({name: getattr(self, name) for name in GROUPS})

    def limits(self) -> Limits:
        """Returns what decides on a measured document."""
        return Limits(
            excluded_hosts=self.excluded_hosts,
            min_chars=self.min_chars,
            max_chars=self.max_chars,
            max_removed_words_frac=self.max_removed_words_frac,
            languages=self.languages,
            min_language_score=self.min_language_score,
            bounds=self.bounds(),
        )


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
        The stage's figures.

    Raises:
        FileNotFoundError: If the folders hold no shard.
        ShardError: If one reason removes more documents than `config.guard` allows.
    """
    pages = [path for folder in inputs for path in manifest.load(folder, "extract").paths()]
    if not pages:
        raise FileNotFoundError(
            f"{' and '.join(map(str, inputs))} hold no shard; crawl something, or set "
            "extract.inputs or documents.inputs in params.yaml"
        )
    hits = [removed.get(path.absolute(), ()) for path in pages]
    texts = _regular(pages, hits, config, engine)
    found = boilerplate.find(texts, normalize.PART, config.boilerplate, engine)
    scores = _measured(texts, found, config, engine)
    limits = config.limits()
    step = Step(name="clean", code=__name__, config=limits, libraries=("pyarrow",))
    tasks = [
        [text.path(normalize.PART), score.path(measure.SCORES), score.path(measure.REMOVED), *gone]
        for text, score, gone in zip(texts, scores, hits, strict=True)
    ]
    made = intermediate(step, tasks, partial(write, limits=limits), engine).shards
    _guard(made, output, config.guard)
    cleaned = manifest.link_shards(output, step.name, made)
    sums = {key: n for key, n in cleaned.tally.items() if "." not in key}
    return {
        "counts": shards.counts_json(cleaned.counts),
        "changed": manifest.total(texts)[1].get("changed", 0),
        **sums,
        "boilerplate": summary.recurring(cleaned, found),
        "noticed": summary.noticed(cleaned),
        "histograms": summary.histograms(cleaned.tally, limits.bounds),
    }


def _regular(
    pages: Sequence[Path], hits: Sequence[tuple[Path, ...]], config: Config, engine: Engine
) -> tuple[Shard, ...]:
    """Makes the texts regular, without the documents that must go (step 1)."""
    settings = normalize.Config(mend_encoding=config.mend_encoding, detokenize=config.detokenize)
    step = Step(
        name="clean-texts",
        code=normalize.__name__,
        config=settings,
        libraries=normalize.LIBRARIES,
    )
    work = partial(normalize.write, config=settings)
    tasks = [(path, *gone) for path, gone in zip(pages, hits, strict=True)]
    return intermediate(step, tasks, work, engine).shards


def _measured(
    texts: Sequence[Shard], found: boilerplate.Found, config: Config, engine: Engine
) -> tuple[Shard, ...]:
    """Measures the texts (step 4)."""
    settings = measure.Config(
        language_chars=config.language_chars,
        boilerplate=config.boilerplate.candidates,
        lines=config.lines,
    )
    step = Step(
        name="clean-scores", code=measure.__name__, config=settings, libraries=measure.LIBRARIES
    )
    tasks = [
        (text.path(normalize.PART), *lists) for text, lists in zip(texts, found.lists, strict=True)
    ]
    return intermediate(step, tasks, partial(measure.write, config=settings), engine).shards


def write(inputs: tuple[Path, ...], draft: ShardDraft, limits: Limits) -> None:
    """Decides on the documents of one shard; rows keep their order.

    Args:
        inputs: The texts, their scores, the lines they lose; the hits of `removal`, if any.
        draft: The shard to fill.
        limits: What may pass.
    """
    texts, scores = (pq.read_table(path, partitioning=None) for path in inputs[:2])
    rows: list[dict[str, Any]] = []
    reasons: list[str | None] = []
    seen: Counter[str] = Counter()
    noticed: list[dict[str, str]] = []
    for doc_id, entry in removal.of_shard(inputs[3:]).items():
        draft.count_in()
        draft.drop(doc_id, Drop(removal.REMOVED, entry))
    for document, scored in zip(texts.to_pylist(), scores.to_pylist(), strict=True):
        draft.count_in()
        text = normalize.without(document["text"], frozenset(scored["removed"]))
        drop = _judge(document["host"], scored, limits, seen)
        reasons.append(drop.reason if drop else None)
        if drop:
            draft.drop(document["doc_id"], drop, text)
            continue
        rows.append(_row(document, scored, text))
        seen.update(_kept_sums(scored))
        noticed += [{"doc_id": document["doc_id"], **example} for example in scored["examples"]]
    draft.count_out(len(rows))
    for key in sorted(seen):
        draft.tally(key, seen[key])
    draft.write_table("part.parquet", pa.Table.from_pylist(rows, records.CLEAN))
    shown = scores.drop_columns(["removed", "examples"])
    shown = shown.add_column(1, "reason", pa.array(reasons, pa.string()))
    draft.write_table(measure.SCORES, shown)
    draft.write_table("noticed.parquet", pa.Table.from_pylist(noticed, _NOTICED))
    draft.write_table(measure.REMOVED, pq.read_table(inputs[2], partitioning=None))


def _judge(host: str, scores: Mapping[str, Any], limits: Limits, seen: Counter[str]) -> Drop | None:
    """Decides on one document and tallies the figures of those that reach the quality rules."""
    drop = cheap_drop(host, scores, limits)
    if drop is None:
        seen.update(_bins(scores, limits.bounds))
        drop = rules.first_failure(scores, limits.bounds)
    return drop


def _row(document: Mapping[str, Any], scores: Mapping[str, Any], text: str) -> dict[str, Any]:
    columns = ("doc_id", "url", "host", "domain", "created_utc", "title")
    return {
        **{name: document[name] for name in columns},
        "language": scores["language"],
        "language_score": scores["language_score"],
        "text": text,
        "n_chars": len(text),
        "n_words": int(scores["words"]),
    }


def _kept_sums(scores: Mapping[str, Any]) -> dict[str, int]:
    """Returns what one kept document adds to the stage's sums."""
    return {
        "chars": scores["n_chars"],
        "words": int(scores["words"]),
        "boilerplate_chars": scores["boilerplate_chars"],
        "ruled_chars": scores["ruled_chars"],
        **{f"noticed.{kind}": scores[kind] for kind in natural.KINDS},
        **{f"foreign.{b['language']}": b["n_bytes"] for b in scores["foreign_bytes"]},
    }


def _guard(made: Sequence[Shard], output: Path, config: guard.Config) -> None:
    """Stops when one reason removes too much; leaves the decisions in the unfinished output."""
    counts = manifest.total(made)[0]
    for reason in guard.excessive(counts, config):
        (output / manifest.NAME).unlink(missing_ok=True)
        for index, shard in enumerate(made):
            name = shards.linked_name("decisions.parquet", index)
            shards.link(shard.path("decisions.parquet"), output / name)
        raise guard.refusal("clean", reason, counts, config, output / "decisions")


def _bins(scores: Mapping[str, Any], limits: tuple[rules.Bound, ...]) -> list[str]:
    """Returns a tally key for the histogram bin of each limited figure."""
    names = dict.fromkeys(bound.figure for bound in limits)
    return [f"histogram.{name}.{rules.histogram_bin(name, scores[name]):02d}" for name in names]

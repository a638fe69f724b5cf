"""Writes the report: reads what the stages left, checks it, fills one template.

    metrics/*.json ──> flow ──> river          data/*  ──> ledger ──> planted, galleries
    metrics/train/**.tsv ──> curves            samples ──> generated
           └ beside the run before's  └ spikes ──> what these steps read
                          └──────────> page.html.j2 + page.css ──> index.html

Decisions:
- No script at all, one style sheet allowed by its digest, pictures inside the page: the content
  security policy can forbid everything else, and what strangers wrote cannot run.
- What is missing is said where it would stand. What does not add up is shown first.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.compute as pc

from pipeline.report import (
    capacity,
    figures,
    gallery,
    headline,
    planted,
    previous,
    provenance,
    quality,
    river,
    scores,
    spikes,
    tuned,
)
from pipeline.report.flow import flow
from pipeline.report.planted import Planted
from pipeline.store import ledger, shards
from pipeline.store.config import require
from pipeline.store.ledger import Ledger

MAX_BYTES = 5_000_000

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How much the page shows.

    Attributes:
        n_kept: Kept documents.
        n_dropped: Dropped documents per reason.
        n_pairs: Near-duplicates beside their survivors.
        n_generated: Samples of the model.
        n_bars: Domains and languages before the rest is summed up.
        excerpt_chars: Of each text.
    """

    n_kept: int
    n_dropped: int
    n_pairs: int
    n_generated: int
    n_bars: int
    excerpt_chars: int

    def __post_init__(self) -> None:
        for name in ("n_kept", "n_dropped", "n_pairs", "n_generated", "n_bars"):
            require(name, getattr(self, name), 1 <= getattr(self, name) <= 100, "1 <= x <= 100")
        require(
            "excerpt_chars", self.excerpt_chars, 50 <= self.excerpt_chars <= 2000, "50 <= x <= 2000"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the report reads.

    Attributes:
        data: The folders of shards.
        metrics: One JSON file per stage, `timings/` and the curves below it.
        samples: What `sample` wrote; may be absent.
        params: The parameter file.
        settings: Its content.
        before: Where the curves of the run before are kept; written, too.
        training: Knows what the steps of the run read.
    """

    data: Path
    metrics: Path
    samples: Path
    params: Path
    settings: Mapping[str, Any]
    before: Path
    training: spikes.Training


def run(sources: Sources, output: Path, config: Config) -> dict[str, Any]:
    """Writes `index.html`; returns what it found wrong, and the run's few figures.

    Args:
        sources: What to read.
        output: The folder `report`.
        config: Section `report`.

    Raises:
        ValueError: If the page is larger than `MAX_BYTES`.
    """
    context = collect(sources, config)
    page = render(context).encode("utf-8", "replace")
    if len(page) > MAX_BYTES:
        raise ValueError(
            f"the report has {len(page):,} bytes; allowed {MAX_BYTES:,}: lower report.n_dropped, "
            "report.n_kept or report.excerpt_chars in params.yaml"
        )
    shards.write_atomic(output / "index.html", page)
    previous.keep(sources.before, context["now"])
    found: Planted | None = context["planted"]
    return {
        "n_bytes": len(page),
        "n_flow_problems": len(context["flow"].problems),
        "n_planted": found.n if found else 0,
        "n_planted_caught": found.n_caught if found else 0,
        "n_unaccounted": context["n_unaccounted"],
        **context["summary"],
    }


def render(context: Mapping[str, Any]) -> str:
    """Returns the page; every value that did not come from the template is escaped."""
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(_HERE),
        undefined=jinja2.StrictUndefined,
    )
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = environment.get_template("page.html.j2")
    return template.render(context, style=style, style_digest=digest)


def collect(sources: Sources, config: Config) -> dict[str, Any]:
    """Returns everything the template shows, and what `run` keeps and returns beside it."""
    told = read_metrics(sources.metrics)
    seconds = _seconds(read_metrics(sources.metrics / "timings"), told)
    opened = ledger.load(sources.data)
    n_fates, n_unaccounted = account(opened)
    flowed, found = flow(told), planted.planted(sources.data / "truth", opened)
    now = _run(sources)
    return {
        "title": headline.title(flowed, told),
        "headline": headline.headline(flowed, told, seconds),
        "checks": headline.checks(flowed, found, n_fates, n_unaccounted),
        "n_unaccounted": n_unaccounted,
        "summary": headline.summary(told),
        "now": now,
        "flow": flowed,
        "reaches": river.river(flowed),
        "river_width": river.WIDTH,
        "sea_height": river.SEA_PX,
        "sea": headline.sea(told),
        "planted": found,
        "scores": scores.scores(told),
        "tuned": tuned.tuned(told),
        "measures": quality.measures(told),
        "measure_width": quality.WIDTH,
        "measure_height": quality.HEIGHT_PX,
        "worths": quality.worths(told),
        "overlaps": quality.overlaps(told),
        "echoes": quality.echoes(told),
        "refusals": figures.bars(quality.refusals(told)),
        "origin": provenance.provenance(sources.data, sources.params),
        "seconds": sorted(seconds.items(), key=lambda item: -item[1]),
        "capacity": capacity.capacity(told),
        **_training(sources, now, told.get("train", {}), opened),
        **_corpus(opened, config),
        **_galleries(opened, sources.samples, config),
    }


def read_metrics(folder: Path) -> dict[str, Any]:
    """Returns the content of a folder's JSON files by name without suffix."""
    return {path.stem: json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))}


def _seconds(timings: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, float]:
    """Returns the seconds of each stage that this run has figures of; the report's are older."""
    stages = (timings.keys() & told.keys()) - {"report"}
    return {stage: timings[stage]["seconds"] for stage in sorted(stages)}


def account(opened: Ledger) -> tuple[int, int]:
    """Returns how many documents have a fate, and how many of those are unaccounted for."""
    n, lost = 0, 0
    for fates in opened.fates():
        n += fates.num_rows
        lost += pc.sum(pc.equal(fates["reason"], ledger.UNACCOUNTED)).as_py() or 0
    return n, lost


def _training(
    sources: Sources, now: previous.Run, told: Mapping[str, Any], opened: Ledger
) -> dict[str, Any]:
    before = previous.before(sources.before, now) if now.curves else None
    shown = figures.panels(now.curves, before.curves if before else {})
    return {
        "curves": figures.picture(shown) if shown else (),
        "curves_told": figures.describe(shown),
        "has_before": before is not None,
        "ends": tuple(previous.ends(before, now)) if before else (),
        "changes": previous.changes(before, now) if before else (),
        "lineage": spikes.lineage(now.curves, told, sources.training, opened),
    }


def _run(sources: Sources) -> previous.Run:
    return previous.Run(
        curves=figures.read_curves(sources.metrics / "train" / "plots" / "metrics"),
        facts=previous.facts(sources.settings, sources.data / "tokens"),
    )


def _corpus(opened: Ledger, config: Config) -> dict[str, Any]:
    source = opened.dataset("decontaminate")
    if source is None:
        return {"domains": (), "languages": (), "lengths": (), "years": ()}
    domains, languages = (figures.count_values(source, name) for name in ("domain", "language"))
    return {
        "domains": figures.most_common(domains, config.n_bars),
        "languages": figures.most_common(languages, config.n_bars),
        "years": figures.bars(sorted(figures.count_years(source, "created_utc").items())),
        "lengths": figures.lengths(figures.count_lengths(source, "n_words")),
    }


def _galleries(opened: Ledger, samples: Path, config: Config) -> dict[str, Any]:
    stages = [place.stage for place in opened.places]
    n_chars = config.excerpt_chars
    return {
        "kept": gallery.kept(opened, config.n_kept, n_chars),
        "dropped": [
            (stage, reasons)
            for stage in stages
            if (reasons := gallery.dropped(opened, stage, config.n_dropped, n_chars))
        ],
        "pairs": gallery.pairs(opened, config.n_pairs, n_chars),
        "generated": gallery.generated(samples, config.n_generated, n_chars),
    }

"""A datasheet and a model card in Markdown, in the hubs' forms, from the run's figures.

    metrics, data, params.yaml ──> figures by name ──> model_card.md.j2 ──> model_card.md
                                                  └──> datasheet.md.j2  ──> datasheet.md

Decisions:
- The sections are those of the Hugging Face Hub's two templates, their order included; the block on
  top is what the Hub shows and filters by.
- Nothing is written down that was not measured or configured. What only a person can know (who
  answers, which licence) stands as a sentence that says so, never as a guess.
- Names that strangers chose (domains, reasons) are shown as code, in which Markdown has no effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from pipeline.report import figures, page, provenance, scores
from pipeline.report.flow import flow
from pipeline.store import ledger, shards
from pipeline.store.ledger import Ledger

N_LISTED = 10  # domains, languages and reasons before the rest is summed up
# The Hub's steps, n_documents below each.
SIZES = {
    "n<1K": 10**3,
    "1K<n<10K": 10**4,
    "10K<n<100K": 10**5,
    "100K<n<1M": 10**6,
    "1M<n<10M": 10**7,
    "10M<n<100M": 10**8,
    "100M<n<1B": 10**9,
    "1B<n<10B": 10**10,
    "10B<n<100B": 10**11,
    "100B<n<1T": 10**12,
}
NAMES = ("model_card.md", "datasheet.md")

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Documents of one kind."""

    label: str
    n: int


def run(sources: page.Sources, output: Path) -> None:
    """Writes both cards beside the report.

    Args:
        sources: What to read.
        output: The folder `report`.
    """
    context = collect(sources)
    for name in NAMES:
        shards.write_atomic(output / name, render(f"{name}.j2", context).encode("utf-8", "replace"))


def render(template: str, context: Mapping[str, Any]) -> str:
    """Returns one card."""
    environment = jinja2.Environment(  # noqa: S701  Markdown: what is foreign goes through `code`
        loader=jinja2.FileSystemLoader(_HERE),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = code
    return environment.get_template(template).render(context)


def code(text: object) -> str:
    r"""Returns a text as code in one line, also in a table.

    >>> code("a.test"), code("`<b>`|\n# x")
    ('`a.test`', "`'<b>'/ # x`")
    """
    plain = "".join(c if c.isprintable() else " " for c in str(text))
    return f"`{plain.replace('`', chr(39)).replace('|', '/').strip() or '-'}`"


def collect(sources: page.Sources) -> dict[str, Any]:
    """Returns everything the cards show."""
    told = page.read_metrics(sources.metrics)
    opened = ledger.load(sources.data)
    languages, domains = (_counted(opened, name) for name in ("language", "domain"))
    n = sum(one.n for one in languages)
    return {
        "told": told,
        "settings": sources.settings,
        "flow": flow(told),
        "scores": scores.scores(told),
        "origin": provenance.provenance(sources.data, sources.params),
        "languages": languages,
        "domains": domains,
        "n_domains": _n_values(opened, "domain"),
        "n_documents": n,
        "size": size(n),
    }


def size(n_documents: int) -> str:
    """Returns the Hub's word for a number of documents.

    >>> size(0), size(999), size(1000), size(8_000_000), size(10**12)
    ('n<1K', 'n<1K', '1K<n<10K', '1M<n<10M', 'n>1T')
    """
    return next((word for word, limit in SIZES.items() if n_documents < limit), "n>1T")


def _counted(opened: Ledger, column: str) -> list[Counted]:
    """Returns the most common values of the corpus's documents, the rest summed up."""
    source = opened.dataset("decontaminate")
    if source is None:
        return []
    bars = figures.most_common(figures.count_values(source, column), N_LISTED)
    return [Counted(label=bar.label, n=bar.n) for bar in bars]


def _n_values(opened: Ledger, column: str) -> int:
    source = opened.dataset("decontaminate")
    return 0 if source is None else len(figures.count_values(source, column))

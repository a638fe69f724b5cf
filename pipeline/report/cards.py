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

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from pipeline.report import figures, page, provenance, scores
from pipeline.report.flow import flow
from pipeline.store import ledger, shards

N_LISTED = 10  # domains and languages before the rest is summed up
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
    corpus = ledger.load(sources.data).dataset("decontaminate")
    languages, domains = (
        Counter[str]() if corpus is None else figures.count_values(corpus, name)
        for name in ("language", "domain")
    )
    return {
        "told": told,
        "settings": sources.settings,
        "flow": flow(told),
        "scores": scores.scores(told),
        "origin": provenance.provenance(sources.data, sources.params),
        "languages": figures.most_common(languages, N_LISTED),
        "domains": figures.most_common(domains, N_LISTED),
        "n_domains": len(domains),
        "n_documents": languages.total(),
        "size": size(languages.total()),
    }


def size(n_documents: int) -> str:
    """Returns the Hub's word for a number of documents.

    >>> size(0), size(999), size(1000), size(8_000_000), size(10**12)
    ('n<1K', 'n<1K', '1K<n<10K', '1M<n<10M', 'n>1T')
    """
    return next((word for word, limit in SIZES.items() if n_documents < limit), "n>1T")

"""Pieces of text to look at: kept, dropped, nearly the same, generated.

Which pieces is a pure function of the data: documents with the smallest ids, and ids are hashes, so
the choice is a fair sample. The text was written by strangers: it is shown as text alone, with
characters that act on their surroundings made visible.
"""

import difflib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store.ledger import Ledger
from pipeline.store.records import EXCERPT_CHARS

Row = TypeVar("Row")

LABEL_CHARS = 160  # of a title, URL or detail

# Control characters but tab and newline, surrogates, and what reorders, hides or tags text.
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
_NEAR = re.compile(r"(?P<survivor>[0-9a-f]{16}) jaccard=(?P<jaccard>[0-9.]+)")  # dedup's detail
_LEAD_WORDS = 12  # shown before the first difference
_WORDS = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A kept document."""

    url: str
    title: str
    text: str
    facts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A dropped document: what is known of it and the beginning of its text, if it had any."""

    url: str
    detail: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A reason with some of the documents it dropped."""

    stage: str
    reason: str
    n: int
    examples: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A stretch of text that both sides share, or that only one has."""

    text: str
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A dropped near-duplicate beside the document that survived it."""

    jaccard: str
    kept_url: str
    dropped_url: str
    kept: tuple[Run, ...]
    dropped: tuple[Run, ...]


def visible(text: str) -> str:
    r"""Returns a text in which nothing acts on its surroundings: such characters show their number.

    >>> visible("abc\u202egpj.exe\x00")
    'abc‹U+202E›gpj.exe‹U+0000›'
    """
    return _ACTING.sub(lambda found: f"‹U+{ord(found[0]):04X}›", text)


def shorten(text: str, n_chars: int) -> str:
    """Returns the beginning of a text, safe to show.

    >>> shorten("two words", 5)
    'two w…'
    """
    text = text.strip()
    return visible(text[:n_chars].rstrip() + ("…" if len(text) > n_chars else ""))


def kept(ledger: Ledger, n: int, n_chars: int) -> tuple[Piece, ...]:
    """Returns `n` documents of the corpus, from different domains as far as there are any."""
    source = ledger.dataset("decontaminate")
    if source is None:
        return ()
    columns = ["doc_id", "domain"]
    found = ledger.rows(
        "decontaminate",
        ["doc_id", "url", "title", "text", "language", "n_words"],
        varied(source.to_batches(columns=columns), n),
    )
    return tuple(
        Piece(
            url=shorten(row["url"], LABEL_CHARS),
            title=shorten(row["title"] or "", LABEL_CHARS),
            text=shorten(row["text"], n_chars),
            facts=f"{row['language']} · {row['n_words']:,} words",
        )
        for row in found.sort_by("doc_id").to_pylist()
    )


def varied(batches: Iterable[pa.RecordBatch], n: int) -> list[str]:
    """Returns the `n` smallest ids after at most as many of one domain as it takes to reach `n`."""
    smallest: dict[str, list[str]] = defaultdict(list)
    for batch in batches:
        rows = pa.table(batch).sort_by("doc_id").group_by("domain", use_threads=False)
        for row in rows.aggregate([("doc_id", "list")]).to_pylist():
            smallest[row["domain"]] = sorted(smallest[row["domain"]] + row["doc_id_list"][:n])[:n]
    ranked = sorted((rank, id_) for ids in smallest.values() for rank, id_ in enumerate(ids))
    return [id_ for _, id_ in ranked[:n]]


def dropped(ledger: Ledger, stage: str, n: int, n_chars: int) -> tuple[Reason, ...]:
    """Returns a stage's reasons, the most common first, each with up to `n` documents.

    Args:
        ledger: The run.
        stage: Whose decisions.
        n: Examples per reason; those that had text go first.
        n_chars: Of each text.
    """
    source = ledger.decisions(stage)
    if source is None:
        return ()
    counts, examples = by_reason(source.to_batches(), n)
    urls = urls_of(ledger, [row["doc_id"] for rows in examples.values() for row in rows])
    return tuple(
        Reason(
            stage=stage,
            reason=reason,
            n=counts[reason],
            examples=tuple(_dropped(row, urls, n_chars) for row in examples[reason]),
        )
        for reason in sorted(counts, key=lambda r: (-counts[r], r))
    )


def _dropped(row: Mapping[str, str], urls: Mapping[str, str], n_chars: int) -> Dropped:
    return Dropped(
        url=shorten(urls.get(row["doc_id"], ""), LABEL_CHARS),
        detail=shorten(row["detail"], LABEL_CHARS),
        # An excerpt of full length was cut when it was written; one sign less makes that show.
        text=shorten(row["excerpt"], min(n_chars, EXCERPT_CHARS - 1)),
    )


def by_reason(
    batches: Iterable[pa.RecordBatch], n: int
) -> tuple[dict[str, int], dict[str, list[dict[str, str]]]]:
    """Returns per reason the number of rows and `n` of them, those with an excerpt first."""
    counts: dict[str, int] = defaultdict(int)
    best: dict[str, list[dict[str, str]]] = defaultdict(list)
    for batch in batches:
        for reason in pc.unique(batch["reason"]).to_pylist():
            rows = pa.table(batch).filter(pc.equal(batch["reason"], reason))
            counts[reason] += rows.num_rows
            empty = pc.equal(rows["excerpt"], "")
            order = [("empty", "ascending"), ("doc_id", "ascending"), ("detail", "ascending")]
            first = rows.append_column("empty", empty).sort_by(order).slice(0, n).to_pylist()
            best[reason] = sorted(
                best[reason] + first, key=lambda r: (r["excerpt"] == "", r["doc_id"], r["detail"])
            )[:n]
    return counts, best


def urls_of(ledger: Ledger, doc_ids: Sequence[str]) -> dict[str, str]:
    """Returns URLs by id, from the links, else from the first stage that knows them."""
    found: dict[str, str] = {}
    for stage in ("links", "extract", "clean"):
        for row in ledger.rows(stage, ["doc_id", "url"], doc_ids).to_pylist():
            found.setdefault(row["doc_id"], row["url"])
    return found


def pairs(ledger: Ledger, n: int, n_chars: int) -> tuple[Pair, ...]:
    """Returns `n` near-duplicates beside their survivors, differences marked."""
    source = ledger.decisions("dedup")
    if source is None:
        return ()
    told = source.to_table(filter=pc.field("reason") == "duplicate_near").sort_by("doc_id")
    chosen = _spread(_matched(told.to_pylist()), n)
    ids = [id_ for match in chosen for id_ in (match["doc_id"], match["survivor"])]
    found = ledger.rows("clean", ["doc_id", "url", "text"], ids).to_pylist()
    texts = {row["doc_id"]: row for row in found}
    return tuple(
        _pair(texts[match["survivor"]], texts[match["doc_id"]], match["jaccard"], n_chars)
        for match in chosen
    )


def _matched(rows: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """Returns one decision per survivor, the least similar pair first."""
    found = [(_NEAR.match(row["detail"]), row["doc_id"]) for row in rows]
    named = [{**match.groupdict(), "doc_id": doc_id} for match, doc_id in found if match]
    first = {match["survivor"]: match for match in reversed(named)}
    return sorted(first.values(), key=lambda match: (float(match["jaccard"]), match["doc_id"]))


def _spread(ranked: Sequence[Row], n: int) -> Sequence[Row]:
    """Returns at most `n`, evenly from the first to the last.

    >>> [row["n"] for row in _spread([{"n": c} for c in "abcdefg"], 3)]
    ['a', 'd', 'g']
    """
    if len(ranked) <= n:
        return ranked
    return [ranked[i * (len(ranked) - 1) // max(n - 1, 1)] for i in range(n)]


def _pair(kept: Mapping[str, str], dropped: Mapping[str, str], jaccard: str, n_chars: int) -> Pair:
    left, right = differences(kept["text"], dropped["text"], n_chars)
    return Pair(
        jaccard=jaccard,
        kept_url=shorten(kept["url"], LABEL_CHARS),
        dropped_url=shorten(dropped["url"], LABEL_CHARS),
        kept=left,
        dropped=right,
    )


def differences(left: str, right: str, n_chars: int) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    """Returns the beginnings of two texts, word by word, with what the other lacks marked.

    The stretch shown starts shortly before the first difference, so that there is one to see.

    >>> differences("a b c", "a x c", 99)[1]
    (Run(text='a ', differs=False), Run(text='x ', differs=True), Run(text='c', differs=False))
    """
    words = [_WORDS.findall(text) for text in (left, right)]
    start = max(_first_difference(*words) - _LEAD_WORDS, 0)
    # More than is shown is compared, so that the cut itself does not look like a difference.
    a, b = (_window(side[start:], 2 * n_chars) for side in words)
    codes = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    ours = [Run(text="".join(a[i:j]), differs=tag != "equal") for tag, i, j, _, _ in codes]
    theirs = [Run(text="".join(b[i:j]), differs=tag != "equal") for tag, _, _, i, j in codes]
    return _shown(ours, start, n_chars), _shown(theirs, start, n_chars)


def _first_difference(a: Sequence[str], b: Sequence[str]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)


def _window(words: Sequence[str], n_chars: int) -> list[str]:
    """Returns the first words, about `n_chars` characters of them."""
    ends = accumulate(len(word) for word in words)
    n = sum(1 for _ in takewhile(lambda end: end < n_chars, ends)) + 1
    return [word[:n_chars] for word in words[:n]]


def _shown(runs: Sequence[Run], start: int, n_chars: int) -> tuple[Run, ...]:
    """Returns the first `n_chars` characters of runs, with signs where text was left out."""
    shown = [Run(text="… ", differs=False)] if start else []
    room = n_chars
    for run in runs:
        if run.text and room > 0:
            shown.append(Run(text=visible(run.text[:room]), differs=run.differs))
        room -= len(run.text)
    return (*shown, Run(text="…", differs=False)) if room < 0 else tuple(shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A text of the model: what it was given, what it wrote, how."""

    prompt: str
    text: str
    how: str


def generated(folder: Path, n: int, n_chars: int) -> tuple[Sample, ...]:
    """Returns `n` samples of the model: first one per prompt and method, then further ones.

    Args:
        folder: Holds `samples.json`; may be absent.
        n: How many.
        n_chars: Of each text.
    """
    path = folder / "samples.json"
    if not path.is_file():
        return ()
    listed = sorted(json.loads(path.read_bytes())["samples"], key=lambda sample: sample["index"])
    n_first = sum(sample["index"] == 0 for sample in listed)
    chosen = _spread(listed[:n_first], n) if n_first > n else listed[:n]
    return tuple(_sample(sample, n_chars) for sample in chosen)


def _sample(told: Mapping[str, Any], n_chars: int) -> Sample:
    plain = (("temperature", 1.0),)  # changes nothing, so it tells nothing
    settings = [f"{k} {v}" for k, v in told["settings"].items() if v and (k, v) not in plain]
    return Sample(
        prompt=visible(told["prompt"][:n_chars]),
        text=visible(told["text"][:n_chars]) + (" ∎" if told["ended"] else " …"),
        how=visible(" · ".join([told["method"], *settings]).replace("_", "-")),
    )

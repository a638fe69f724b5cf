"""The zero-shot table: what `evaluate` measured, the paper's figure only beside its own protocol.

`evaluate` decides what is comparable: a protocol carries the paper's figures only where split, unit
and bytes are the paper's. Here they are only put into words.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Metrics = Mapping[str, Mapping[str, Any]]

HELDOUT = "heldout"
LAST_WORD = ("lambada_openai", "heldout_lastword")  # for the headline, the first that is there

_TITLES = {
    "heldout": "Held-out documents",
    "heldout_lastword": "Last words of held-out passages, in LAMBADA’s form",
    "lambada_openai": "LAMBADA, OpenAI’s text",
    "lambada_plain_raw": "LAMBADA as published",
    "lambada_plain_detokenized": "LAMBADA as published, detokenized",
    "winograd": "Winograd schemata",
    "ptb_raw": "Penn Treebank as published",
    "ptb_detokenized": "Penn Treebank, detokenized",
    "wikitext2_raw": "WikiText-2 as published",
    "wikitext2_detokenized": "WikiText-2, detokenized",
}
_MEASURES = {
    "bits_per_byte": "bits per byte",
    "perplexity_word": "perplexity per word",
    "perplexity_token": "perplexity per token",
    "accuracy": "accuracy",
    "accuracy_stopword_filter": "accuracy, stop words filtered",
    "perplexity": "perplexity of the word",
    "accuracy_partial": "accuracy, partial scoring",
    "accuracy_full": "accuracy, full scoring",
    "accuracy_last_token": "accuracy of the last token",
    "perplexity_last_token": "perplexity of the last token",
    "bits_per_character": "bits per character",
    "f1": "F1",
    "exact_match": "exact match",
    "exact_match_top_1pct": "exact match, surest 1 %",
    "bleu_13a": "BLEU",
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "rouge_mean": "ROUGE, mean",
}
_SHARES = ("accuracy", "exact_match", "f1")  # shown in per cent
_OPEN_ENDED = ("bits", "perplexity")  # whose size does not tell how many digits matter


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One figure, ready to be shown; `paper` is empty where nothing is comparable."""

    measure: str
    value: str
    paper: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The figures of one protocol."""

    title: str
    protocol: str
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What was measured, and which sets were absent and why."""

    groups: tuple[Group, ...]
    absent: tuple[tuple[str, str], ...]


def scores(metrics: Metrics) -> Scores:
    """Returns the table from `metrics/evaluate.json` and `metrics/evaluate_protocols.json`."""
    told = metrics.get("evaluate_protocols", {"absent": {}, "protocols": {}})
    measured = metrics.get("evaluate", {})
    groups = (
        _group(name, measured[name], told["protocols"].get(name, {})) for name in in_order(measured)
    )
    return Scores(groups=tuple(groups), absent=tuple(sorted(told["absent"].items())))


def _group(name: str, figures: Mapping[str, float], protocol: Mapping[str, Any]) -> Group:
    paper = protocol.get("paper", {})
    return Group(
        title=title_of(name),
        protocol=" · ".join(_words(name, protocol)),
        scores=tuple(
            Score(
                measure=_MEASURES[measure],
                value=_value(measure, figures),
                paper=_paper(measure, paper.get(measure, {})),
            )
            for measure in _MEASURES
            if measure in figures
        ),
    )


def in_order(names: Iterable[str], titles: Iterable[str] = _TITLES) -> list[str]:
    """Returns sets, protocols or tasks in the order of their titles, those of the user last."""
    there, titled = set(names), list(titles)
    return [*(name for name in titled if name in there), *sorted(there.difference(titled))]


def title_of(name: str) -> str:
    """Returns what people call a set or protocol."""
    return _TITLES.get(name, name)


def measure_of(name: str) -> str:
    """Returns what people call a measure."""
    return _MEASURES.get(name, name)


def is_share(name: str) -> bool:
    """Tells whether a measure is shown in per cent."""
    return name.startswith(_SHARES)


def _words(name: str, protocol: Mapping[str, Any]) -> Iterator[str]:
    """Yields what a reader must know to compare a figure."""
    if "n_units" in protocol:
        share = "" if protocol.get("is_whole", True) else ", a share chosen by hash"
        yield f"{protocol['n_units']:,} {protocol['unit']}{share}"
    if protocol.get("split"):
        yield f"split {protocol['split']}"
    if protocol.get("detokenizer", "none") != "none":
        yield f"detokenized: {protocol['detokenizer']}"
    if "window" in protocol:
        stride = f", stride {protocol['stride']:,}" if "stride" in protocol else ""
        yield f"window {protocol['window']:,}{stride}"
    if not (name.startswith(HELDOUT) or protocol.get("digest_known", True)):
        yield "not the published bytes"


def _value(measure: str, figures: Mapping[str, float]) -> str:
    """Returns a figure with its 95 % interval, if it has one."""
    value, low = figures[measure], figures.get(f"{measure}_low")
    if low is None:
        return number(measure, value)
    ends = (low, figures[f"{measure}_high"])
    scale = 100 if is_share(measure) else 1
    is_plain = measure.startswith(_OPEN_ENDED)
    shown = [number(measure, end) if is_plain else f"{scale * end:.1f}" for end in ends]
    return f"{number(measure, value)} ({'–'.join(shown)})"


def number(measure: str, value: float) -> str:
    r"""Returns a figure in its unit with sensible digits.

    >>> number("accuracy", 0.4599), number("perplexity_word", 29.414), number("perplexity", 12345.6)
    ('46.0\xa0%', '29.41', '12,346')
    >>> number("bits_per_byte", 1.61803), number("rouge_1", 29.341)
    ('1.618', '29.34')
    """
    if is_share(measure):
        return f"{100 * value:.1f}\xa0%"
    if measure.startswith("bits"):
        return f"{value:.3f}"
    return f"{value:,.2f}" if value < 1000 else f"{value:,.0f}" if value < 1e9 else f"{value:.1e}"


def _paper(measure: str, by_size: Mapping[str, float]) -> str:
    """Returns the paper's figure for the smallest model it names."""
    return next((f"{number(measure, value)} ({size})" for size, value in by_size.items()), "")


def headline(metrics: Metrics) -> list[tuple[str, str, str]]:
    """Returns label, value and note of the two scores on the first screen."""
    told = metrics.get("evaluate", {})
    found = []
    if "bits_per_byte" in told.get(HELDOUT, {}):
        value = number("bits_per_byte", told[HELDOUT]["bits_per_byte"])
        found.append(
            ("validation bits per byte", value, f"{told[HELDOUT]['n_bytes']:,} bytes unseen")
        )
    name = next((n for n in LAST_WORD if "accuracy" in told.get(n, {})), None)
    if name is not None:
        value = number("accuracy", told[name]["accuracy"])
        form = "LAMBADA" if name == LAST_WORD[0] else "passages in LAMBADA’s form"
        found.append(("last words guessed, zero-shot", value, f"{told[name]['n']:,} {form}"))
    return found

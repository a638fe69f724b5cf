"""One decision per measured document: the first limit it exceeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.store.records import Drop
from pipeline.text import rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may pass; attributes as in section `clean` of params.yaml."""

    excluded_hosts: dict[str, tuple[str, ...]]
    min_chars: int
    max_chars: int
    max_removed_words_frac: float
    languages: tuple[str, ...]
    min_language_score: float
    bounds: tuple[rules.Bound, ...]


def judge(host: str, scores: Mapping[str, Any], limits: Limits) -> Drop | None:
    """Returns why a document is dropped, None when it is kept.

    Args:
        host: Of its URL.
        scores: Its row of `pipeline.text.measure.SCHEMA`.
        limits: What may pass.
    """
    drop = cheap_drop(host, scores, limits)
    return drop or rules.first_failure(scores, limits.bounds)


def cheap_drop(host: str, scores: Mapping[str, Any], limits: Limits) -> Drop | None:
    """Returns why a document is dropped before the quality rules look at it."""
    n, share = scores["n_chars"], scores["removed_words_frac"]
    if not n:
        return _emptied(scores)
    if reason := excluded(host, limits.excluded_hosts):
        return Drop(reason, host)
    if n < limits.min_chars:
        return Drop("too_short", f"{n} characters")
    if n > limits.max_chars:
        return Drop("too_long", f"{n} characters")
    if share > limits.max_removed_words_frac:
        return Drop("lines_removed", f"removed_words_frac = {share:.4g}")
    return _language_drop(scores["language"], scores["language_score"], limits)


def excluded(host: str, hosts: Mapping[str, tuple[str, ...]]) -> str:
    """Returns the reason for which a host, or a domain that it belongs to, is left out, or "".

    >>> excluded("en.wikipedia.org", {"wikipedia": ("wikipedia.org",)})
    'wikipedia'
    >>> excluded("notwikipedia.org", {"wikipedia": ("wikipedia.org",)})
    ''
    """
    labels = host.split(".")
    names = {".".join(labels[i:]) for i in range(len(labels))}
    return next((reason for reason, named in hosts.items() if names.intersection(named)), "")


def _emptied(scores: Mapping[str, Any]) -> Drop:
    """Returns what emptied a text: nothing of ours, its host's boilerplate, or line rules."""
    if scores["ruled_chars"]:
        return Drop("lines_removed", f"{scores['ruled_chars']} characters in lines without prose")
    if scores["boilerplate_chars"]:
        recurring = scores["boilerplate_chars"]
        return Drop("boilerplate", f"{recurring} characters in lines that recur on the host")
    return Drop("empty")


def _language_drop(code: str, score: float, limits: Limits) -> Drop | None:
    known = not limits.languages or code in limits.languages
    if known and score >= limits.min_language_score:
        return None
    return Drop("language", f"{code} {score:.2f}")

"""Which submissions are links: rules about the post first, then rules about its URL.

Paper: GPT-2, section 2.1 ("Training Dataset"): outbound links of Reddit posts with at least 3
karma; no links created after December 2017; Wikipedia removed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from crawl import dump
from pipeline.store import urls
from pipeline.store.config import require
from pipeline.store.records import Drop
from pipeline.store.urls import Url

_WIKIPEDIA = "wikipedia.org"
_SCORE_PER = ("submission", "url")
_MAX_HOSTS = 65_536  # whose verdict is remembered
_MAX_SCORES = 4_096  # whose drop is remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What counts as a link.

    Attributes:
        inputs: Folder of dumps and URL lists, or the address of one (s3://, https://).
        partitions: Buckets of registered domains; also the number of crawl partitions.
        min_score: Least karma; lists of URLs without scores are not judged by it.
        score_per: Of what: "submission", each by its own; "url", all submissions of a link summed.
        until_utc: Submissions of this second and later are dropped; null keeps all.
        drop_deleted: Whether posts are dropped that their author or a moderator took back.
        drop_over_18: Whether posts marked as adult are dropped.
        drop_wikipedia: Whether links to any Wikipedia are dropped.
        max_url_chars: Longest URL that is kept.
        ports: Ports that a URL may name.
        blocked_domains: Domains, each with all its subdomains, by category.
        blocked_extensions: Endings of the path, without the dot, by category.
    """

    inputs: str
    partitions: int
    min_score: int
    score_per: str
    until_utc: int | None
    drop_deleted: bool
    drop_over_18: bool
    drop_wikipedia: bool
    max_url_chars: int
    ports: tuple[int, ...]
    blocked_domains: dict[str, tuple[str, ...]]
    blocked_extensions: dict[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        require("partitions", self.partitions, 1 <= self.partitions <= 100_000, "1 <= x <= 100000")
        require("score_per", self.score_per, self.score_per in _SCORE_PER, " or ".join(_SCORE_PER))
        require("max_url_chars", self.max_url_chars, self.max_url_chars >= 10, "x >= 10")
        require("ports", self.ports, all(0 < p < 65_536 for p in self.ports), "ports 1 to 65535")
        for name, groups in (
            ("blocked_domains", self.blocked_domains),
            ("blocked_extensions", self.blocked_extensions),
        ):
            for category, values in groups.items():
                ok = all(v == v.lower().strip(".") and v for v in values)
                require(f"{name}.{category}", values, ok, "lower case, no dot at either end")


SELF_POST, _DELETED, _OVER_18 = Drop("self_post"), Drop("deleted"), Drop("over_18")


@lru_cache(_MAX_SCORES)
def _low_score(score: int) -> Drop:
    return Drop("low_score", f"score {score}")


class Rules:
    """A Config in the form in which lines are judged."""

    def __init__(self, config: Config) -> None:
        """Turns the blocklists round.

        Args:
            config: The rules as written.
        """
        self._config = config
        self._domains = _category_of(config.blocked_domains)
        self._extensions = _category_of(config.blocked_extensions)
        self._is_scored_alone = config.score_per == "submission"
        self._host_drop = lru_cache(_MAX_HOSTS)(self._find_host_drop)  # most links share a host

    def judge(self, entry: dump.Submission) -> tuple[Url | None, Drop | None]:
        """Returns a submission's URL, if it has one, and the first rule that speaks against it.

        Rules about the post come before rules about the URL, so that a count per rule does not
        depend on blocklists. A self post (half of Reddit) has no outbound URL to look at.
        """
        if entry.is_self:
            return None, SELF_POST
        url = urls.parse(entry.url) if len(entry.url) <= self._config.max_url_chars else None
        return url, self._post_drop(entry) or self._url_drop(url, entry.url)

    def _post_drop(self, entry: dump.Submission) -> Drop | None:
        config = self._config
        if config.drop_deleted and entry.is_deleted:
            return _DELETED
        if config.until_utc is not None and (entry.created_utc or 0) >= config.until_utc:
            return Drop("too_late", f"created_utc {entry.created_utc}")
        score = entry.score
        if self._is_scored_alone and score is not None and score < config.min_score:
            return _low_score(score)
        return _OVER_18 if config.drop_over_18 and entry.is_over_18 else None

    def _url_drop(self, url: Url | None, raw: str) -> Drop | None:
        if url is None or len(url.href) > self._config.max_url_chars:
            n_chars = max(len(raw), len(url.href) if url else 0)
            is_long = n_chars > self._config.max_url_chars
            return Drop("bad_url", f"{n_chars} characters" if is_long else "no http(s) URL")
        if url.has_userinfo:
            return Drop("bad_url", "names a user")
        if url.port not in self._config.ports:
            return Drop("bad_url", f"port {url.port}")
        if drop := self._host_drop(url.host):
            return drop
        category = self._extensions.get(_extension(url.path))
        return Drop("blocked_extension", category) if category else None

    def _find_host_drop(self, host: str) -> Drop | None:
        parents = _parents(host)
        if self._config.drop_wikipedia and _WIKIPEDIA in parents:
            return Drop("wikipedia")
        found = (self._domains[domain] for domain in parents if domain in self._domains)
        category = next(found, None)
        return Drop("blocked_domain", category) if category else None


def _category_of(groups: Mapping[str, Iterable[str]]) -> dict[str, str]:
    return {value: category for category, values in groups.items() for value in values}


def _parents(host: str) -> list[str]:
    """Returns a host and every domain above it.

    >>> _parents("i.imgur.com")
    ['i.imgur.com', 'imgur.com', 'com']
    """
    labels = host.rstrip(".").split(".")
    return [".".join(labels[i:]) for i in range(len(labels))]


def _extension(path: str) -> str:
    """Returns the lower-case ending of a path's last segment.

    >>> _extension("/a.b/C.JPG"), _extension("/a.b/"), _extension("/.htaccess")
    ('jpg', '', 'htaccess')
    """
    name = path.rpartition("/")[2].lower()
    return name.rpartition(".")[2] if "." in name else ""

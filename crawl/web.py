"""The embedded web in the making: what hosts answer, what was submitted, what must become of it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from crawl import sites
from crawl.docstrings import Block
from crawl.prose import Article, plain_text
from crawl.sites import Answer
from crawl.templates import Page, Site
from pipeline.store import records, urls

KEPT = "kept"


class Link(NamedTuple):
    """A link that somebody submitted; `low`: only with little karma."""

    url: str
    title: str
    low: bool = False


class Truth(NamedTuple):
    """What was planted and where it must end; of a `group` exactly one document is kept."""

    url: str
    case: str
    group: str
    stage: str
    reason: str


class Gold(NamedTuple):
    """The text that a page's author wrote."""

    url: str
    template: str
    text: str


def doc_id(url: str) -> str:
    """Returns the id that the links stage will give a URL.

    >>> doc_id("http://www.a.test/x?utm_source=y") == doc_id("http://a.test/x")
    True
    """
    parsed = urls.parse(url)
    return records.doc_id(urls.canonical_key(parsed) if parsed else url)


class Web:
    """Collects everything; nothing is written here."""

    def __init__(self, seed: int, hosts: Sequence[Site], articles: Iterable[Article]) -> None:
        """Starts with sites that have no page yet.

        Args:
            seed: Of all keyed draws.
            hosts: The ordinary sites, one per package.
            articles: Prose for planted pages, in the order in which it is taken.
        """
        self.seed = seed
        self.hosts = tuple(hosts)
        self.answers: dict[str, dict[str, Answer]] = {}
        self.links: list[Link] = []
        self.truth: list[Truth] = []
        self.gold: list[Gold] = []
        self._articles = iter(articles)
        self._number = 0

    def take(self) -> Article:
        """Returns an article that no page shows yet.

        Raises:
            ValueError: If there is none left.
        """
        article = next(self._articles, None)
        if article is None:
            raise ValueError(
                "demo.packages give too few articles for the planted pages; name more packages"
            )
        return article

    def turn(self) -> tuple[Site, int]:
        """Returns an ordinary site and a page number, another site each time."""
        self._number += 1
        return self.hosts[self._number % len(self.hosts)], 5000 + self._number

    def page(self) -> tuple[Site, Page]:
        """Returns a new page for planting, on the next site."""
        host, number = self.turn()
        return host, sites.page(host, number, self.take(), self.seed)

    def serve(self, answer: Answer) -> str:
        """Adds what a host answers and returns its URL."""
        known = self.answers.setdefault(answer.host, {})
        if answer.path in known:
            raise ValueError(f"{answer.url} is there twice; this is a bug in the generator")
        known[answer.path] = answer
        return answer.url

    def show(self, host: Site, shown: Page) -> str:
        """Adds an ordinary page and returns its URL."""
        return self.serve(sites.answer(host, shown, self.seed))

    def submit(self, url: str, title: str, *, low: bool = False) -> str:
        """Adds a link to the dump and returns its URL."""
        self.links.append(Link(url, title, low))
        return url

    def expect(self, url: str, case: str, stage: str, reason: str, group: str = "") -> None:
        """Notes what must become of a link."""
        self.truth.append(Truth(url, case, group, stage, reason))

    def plant(self, url: str, title: str, case: str, stage: str, reason: str) -> None:
        """Submits a link and notes what must become of it."""
        self.submit(url, title)
        self.expect(url, case, stage, reason)

    def keep(self, url: str, title: str, case: str) -> None:
        """Submits a link that must reach the corpus."""
        self.plant(url, title, case, "decontaminate", KEPT)

    def remember(self, url: str, host: Site, title: str, blocks: Sequence[Block]) -> None:
        """Notes the text that must come out of a page."""
        self.gold.append(Gold(url, host.template, f"{title}\n{plain_text(blocks)}"))

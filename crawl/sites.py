"""Where the articles lie: hosts, addresses, dates, robots.txt, and the bytes that are served.

Everything follows from the seed and names by keyed draws; there is no order to keep.
"""

import gzip
import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from email.utils import format_datetime
from typing import NamedTuple

from crawl.draws import between, draw, pick
from crawl.prose import Article
from crawl.templates import TEMPLATES, Page, Site, author, render

_KINDS = ("manual", "guide", "handbook", "notes", "primer", "journal", "companion", "almanac")
_NAMES = {
    "manual": "The {} Manual",
    "guide": "A Guide to {}",
    "handbook": "The {} Handbook",
    "notes": "{} Notes",
    "primer": "A {} Primer",
    "journal": "The {} Journal",
    "companion": "The {} Companion",
    "almanac": "{} Almanac",
}
_FIRST_DAY, _N_DAYS = date(2012, 1, 9), 2_100  # to October 2017
_ADDRESSES = ("dated", "docs", "query", "articles", "home")

PRIVATE = "/private/"  # what every robots.txt forbids
PREVIEW = "-preview.html"

_ROBOTS = (
    """User-agent: *
Disallow: /private/
Disallow: /*-preview.html$
Crawl-delay: 0.02
""",
    """# robots.txt

User-agent: BadBot
User-agent: SiteSucker
Disallow: /

User-agent: *
Allow: /private/press/
Disallow: /private/
Disallow: /*-preview.html$

Sitemap: http://{host}/sitemap.xml
""",
    """\ufeffUser-agent: *\r
Disallow: /cgi-bin/\r
Disallow: /private/ # not for robots\r
Disallow: /*-preview.html$\r
Crawl-delay: 0.01\r
""",
    """User-agent: ExampleBot
Crawl-delay: 120

user-agent: *
disallow: /private
disallow: /*-preview.html$
allow: /
""",
)


class Answer(NamedTuple):
    """What a host answers to one request: a row of `data/web/`."""

    host: str
    path: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    behaviour: str = ""

    @property
    def url(self) -> str:
        """Returns its address."""
        return f"http://{self.host}{self.path}"


def site(package: str, number: int) -> Site:
    """Returns the invented site of one package.

    >>> site("numpy", 0).host
    'numpy-manual.test'
    """
    kind = _KINDS[number % len(_KINDS)]
    name = _NAMES[kind].format(package.replace("_", " ").title())
    label = package.replace("_", "-").lower()
    return Site(f"{label}-{kind}.test", name, tuple(TEMPLATES)[number % len(TEMPLATES)])


def day(seed: int, *names: str | int) -> date:
    """Returns a fixed day of the years 2012 to 2017."""
    return _FIRST_DAY + timedelta(days=draw(seed, "day", *names) % _N_DAYS)


def slug(title: str) -> str:
    """Returns a title as part of an address.

    >>> slug("eigh: Return the eigenvalues, if any")
    'eigh-return-the-eigenvalues-if-any'
    """
    return "-".join(re.findall(r"[a-z0-9]+", title.lower())[:8]) or "page"


def page(host: Site, number: int, article: Article, seed: int) -> Page:
    """Returns an article as a page of a site, `related` still empty."""
    posted = day(seed, host.host, number)
    name = slug(article.title)
    addresses = {
        "dated": f"/{posted:%Y/%m}/{name}-{number}/",
        "docs": f"/docs/{name}-{number}.html",
        "query": f"/post?id={1000 + number}",
        "articles": f"/articles/{number}-{name}",
        "home": f"/~{pick(('ada', 'mike', 'jo'), seed, host.host)}/{name}{number}.htm",
    }
    return Page(
        path=addresses[pick(_ADDRESSES, seed, "addresses", host.host)],
        title=article.title,
        blocks=article.blocks,
        author=author(seed, host.host, number),
        day=posted.isoformat(),
        related=(),
    )


def with_related(pages: Sequence[Page], seed: int, host: str) -> list[Page]:
    """Returns a site's pages, each with links to a few others."""
    found = []
    for number, one in enumerate(pages):
        count = min(between(3, 6, seed, host, number), len(pages) - 1)
        others = (pages[(number + step) % len(pages)] for step in range(1, count + 1))
        found.append(one._replace(related=tuple((p.path, p.title) for p in others)))
    return found


def robots(host: str, seed: int) -> Answer:
    """Returns a host's robots.txt."""
    text = pick(_ROBOTS, seed, "robots", host).format(host=host)
    return Answer(host, "/robots.txt", 200, (("Content-Type", "text/plain"),), text.encode())


def charset(host: Site) -> str:
    """Returns the encoding that a site writes; old pages are not UTF-8."""
    return "windows-1252" if host.template == "table" else "utf-8"


def answer(host: Site, shown: Page, seed: int) -> Answer:
    """Returns a page as it is served."""
    body = render(host, shown).encode(charset(host), "xmlcharrefreplace")
    return html(host.host, shown.path, body, header_charset(host, seed), shown.day)


def header_charset(host: Site, seed: int) -> str:
    """Returns the encoding that a site's header names; some name none."""
    return "" if draw(seed, "silent", host.host) % 4 == 0 else charset(host)


def html(host: str, path: str, body: bytes, named_charset: str, changed: str = "") -> Answer:
    """Returns an HTML answer; some hosts compress what they send."""
    kind = f"text/html; charset={named_charset}" if named_charset else "text/html"
    headers = [("Content-Type", kind)]
    if changed:
        moment = datetime.fromisoformat(f"{changed}T06:00:00+00:00")
        headers.append(("Last-Modified", format_datetime(moment, usegmt=True)))
    if draw(0, "gzip", host) % 3 == 0:
        headers.append(("Content-Encoding", "gzip"))
        body = gzip.compress(body, 6, mtime=0)
    return Answer(host, path, 200, tuple(headers), body)


def redirect(host: str, path: str, target: str, status: int) -> Answer:
    """Returns a redirect with the short page that servers send along."""
    body = f'<html><body>Moved <a href="{target}">here</a>.</body></html>'.encode()
    headers = (("Location", target), ("Content-Type", "text/html"))
    return Answer(host, path, status, headers, body)


def uncompressed(answer: Answer) -> Answer:
    """Returns an answer as a host sends it that does not compress."""
    headers = tuple(h for h in answer.headers if h[0] != "Content-Encoding")
    is_packed = headers != answer.headers
    return answer._replace(
        headers=headers, body=gzip.decompress(answer.body) if is_packed else answer.body
    )

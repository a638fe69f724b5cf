"""Planted cases: everything that goes wrong on the web, with known truth.

One function plants each case; what must become of it is written down beside it. Cases that a host
would be blamed for (server errors, timeouts) have hosts of their own, so they slow down nobody.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from crawl import sites
from crawl.damage import changed, edited, misread, treebank, typographic
from crawl.docstrings import Block, is_prose
from crawl.draws import draw, shuffled
from crawl.foreign import ARTICLES as FOREIGN
from crawl.prose import Article, plain_text
from crawl.sites import Answer
from crawl.templates import TEMPLATES, Page, Site
from crawl.web import Web, doc_id
from pipeline.store import records

_MIRRORS = (
    Site("docs-mirror.test", "Docs Mirror", "portal"),
    Site("reprint-archive.test", "The Reprint Archive", "magazine"),
)
_MIRROR_LINE = "This text was first published by {} and is reprinted here with kind permission."
_MIN_CHARS = 2_500  # of an article that is planted or mirrored: no rule about texts is to meet it
_MIN_LETTERED_FRAC = 0.85  # of words with a letter, clear of Gopher's limit of .8
_MAX_ODD_LINES_FRAC = 0.05  # with braces or without letters
_MAX_SHARED_ANCHORS = 1  # two are a passage of some 20 words
_QUOTED_CHARS = 700  # about 110 words

_ARTICLES_PER_ROUND = 16  # that one call of each function in _CASES takes

_PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Length 64 >>\nstream\n" + bytes(range(256)) * 24
_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x10\x00\x00\x00\x10\x08\x02" + bytes(4000)

_SHORT = (
    "There are no posts in this category yet. Please come back later.",
    "You need to be logged in to read this page. Registration is free.",
    "This page has moved. Use the search box to find what you are looking for.",
    "Thank you! Your message has been sent and we will answer soon.",
)
_WIKIPEDIA = ("Web_crawler", "Language_model", "Perplexity", "Bloom_filter", "MinHash")
_ADDRESSES = (
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1/server-status",
    "http://[::1]/admin",
    "http://2130706433/console",
    "http://10.1.2.3/intranet",
)
_MEDIA = (
    ("http://i.imgur.com/{}.jpg", "blocked_domain"),
    ("http://www.youtube.com/watch?v={}", "blocked_domain"),
    ("http://{host}/figures/{}.png", "blocked_extension"),
    ("http://{host}/downloads/{}.zip", "blocked_extension"),
)


class Scale(NamedTuple):
    """How much is planted: near-duplicate pairs, rounds of every other case, one page's size."""

    mirrors: int
    per_case: int
    oversized_bytes: int


class Shown(NamedTuple):
    """An ordinary page that is served and submitted."""

    host: Site
    page: Page


def suited(articles: Sequence[Article]) -> list[int]:
    """Returns which articles may be planted: what is planted, and nothing else, decides their fate.

    They are plain prose and share no long passage with any other article: such a passage would make
    a page `contaminated` when the other one happens to be held out.
    """
    anchors = [_anchors(article) for article in articles]
    holders = Counter(anchor for each in anchors for anchor in each)
    return [
        index
        for index, article in enumerate(articles)
        if _is_plain(article)
        and sum(holders[anchor] > 1 for anchor in anchors[index]) <= _MAX_SHARED_ANCHORS
    ]


def _anchors(article: Article) -> set[str]:
    """Returns an article's 8-grams that begin with a long word: about every sixth."""
    words = re.findall(r"\w+", plain_text(article.blocks).lower())
    return {" ".join(words[i : i + 8]) for i, word in enumerate(words[:-7]) if len(word) >= 8}


def _is_plain(article: Article) -> bool:
    lines = plain_text(article.blocks).split("\n")
    odd = sum("{" in line or "}" in line or not is_prose(line) for line in lines if len(line) > 40)
    words = " ".join(lines).split()
    lettered = sum(any(map(str.isalpha, word)) for word in words)
    return (
        sum(map(len, lines)) >= _MIN_CHARS
        and odd <= _MAX_ODD_LINES_FRAC * len(lines)
        and lettered >= _MIN_LETTERED_FRAC * len(words)
    )


def n_articles(scale: Scale) -> int:
    """Returns how many articles the planted pages take."""
    return _ARTICLES_PER_ROUND * scale.per_case + 1


def plant(web: Web, scale: Scale, ordinary: Sequence[Shown]) -> None:
    """Plants every case.

    Args:
        web: Where to; its articles suit.
        scale: How much.
        ordinary: Pages that may be mirrored and copied; their articles suit.
    """
    order = shuffled(ordinary, web.seed, "planted")
    _mirror(web, order[: scale.mirrors])
    _copy(web, order[scale.mirrors : scale.mirrors + scale.per_case])
    for number in range(scale.per_case):
        for case in _CASES:
            case(web, number)
    _oversize(web, scale.oversized_bytes)
    for article in FOREIGN[: max(2, 2 * scale.per_case)]:
        _foreign(web, article.language)


# ------------------------------------------------------------------------- the same thing again


def _mirror(web: Web, originals: Sequence[Shown]) -> None:
    """Another site reprints a page with a line of its own and a few other words."""
    for number, (host, page) in enumerate(originals):
        mirror = _MIRRORS[number % len(_MIRRORS)]
        lead = Block("paragraph", (_MIRROR_LINE.format(host.name),))
        copy = page._replace(
            path=f"/reprints/{number}/{sites.slug(page.title)}",
            blocks=(lead, *edited(page.blocks)),
            related=(),
        )
        url = web.submit(web.show(mirror, copy), page.title)
        original = f"http://{host.host}{page.path}"
        for each in (original, url):
            web.expect(each, "near_duplicate", "dedup", "duplicate_near", f"mirror-{number}")


def _copy(web: Web, originals: Sequence[Shown]) -> None:
    """The same page once more: under another address, and with tracking parameters."""
    for number, (host, page) in enumerate(originals):
        url = f"http://{host.host}{page.path}"
        mark = "&" if "?" in page.path else "?"
        web.submit(
            f"{url}{mark}utm_source=reddit&utm_medium=social&utm_campaign=d{number}", page.title
        )
        web.expect(url, "tracking_twin", "links", "repeat")
        served = sites.answer(host, page, web.seed)
        print_view = web.serve(served._replace(path=f"{page.path}{mark}view=print"))
        web.submit(print_view, page.title)
        for each in (url, print_view):
            web.expect(each, "exact_duplicate", "dedup", "duplicate_exact", f"copy-{number}")


def _quote(web: Web, _: int) -> None:
    """A page quotes the longest paragraphs of one that will be held out for evaluation."""
    host, page = web.page()
    held_out = _with_split(host, page, wanted=True)
    web.keep(web.show(host, held_out), page.title, "quoted_evaluation_page")
    quoted = _longest(page.blocks)
    host, page = web.page()
    quoting = _with_split(host, page, wanted=False)
    middle = len(page.blocks) // 2
    blocks = (*page.blocks[:middle], *quoted, *page.blocks[middle:])
    url = web.show(host, quoting._replace(blocks=blocks))
    web.plant(url, page.title, "evaluation_passage", "decontaminate", "contaminated")


def _longest(blocks: Sequence[Block]) -> list[Block]:
    """Returns the longest lines of a text as paragraphs, as many as make a long quotation."""
    lines = [line for b in blocks if b.kind in ("paragraph", "items") for line in b.lines]
    chosen: list[str] = []
    for line in sorted(lines, key=lambda line: (-len(line), line)):
        if sum(map(len, chosen)) < _QUOTED_CHARS:
            chosen.append(line)
    return [Block("paragraph", (line,)) for line in chosen]


def _with_split(host: Site, page: Page, *, wanted: bool) -> Page:
    """Returns a page under an address that puts it into one part of the split."""
    paths = (f"/essays/{n}-{sites.slug(page.title)}.html" for n in range(10_000))
    is_wanted = (
        p for p in paths if records.is_validation(doc_id(f"http://{host.host}{p}")) == wanted
    )
    return page._replace(path=next(is_wanted))


# ------------------------------------------------------------------------------ what may not be had


def _disallowed(web: Web, number: int) -> None:
    """robots.txt forbids it: by a folder, or by a wildcard."""
    host, page = web.page()
    name = sites.slug(page.title)
    path = f"{sites.PRIVATE}{name}.html" if number % 2 else f"/drafts/{name}{sites.PREVIEW}"
    url = web.show(host, page._replace(path=path))
    web.plant(url, page.title, "robots_disallowed", "crawl", "robots_disallowed")


def _unreachable_robots(web: Web, number: int) -> None:
    """A host whose robots.txt cannot be had: all of it is closed."""
    host = Site("overloaded-server.test", "Overloaded", "docs")
    if number == 0:
        web.serve(_error(host.host, "/robots.txt", 503))
    _, page = web.page()
    url = web.show(host, page._replace(path=f"/docs/{number}.html"))
    web.plant(url, page.title, "robots_unreachable", "crawl", "robots_unreachable")


def _opt_out(web: Web, number: int) -> None:
    """Pages that refuse their use: in a header, in the page, in robots.txt."""
    host, page = web.page()
    refusing = Site("no-training.test", "Not For Training", "blog")
    if number == 0:
        rules = b"User-agent: *\nContent-Signal: search=yes, ai-train=no\nAllow: /\n"
        web.serve(
            Answer(refusing.host, "/robots.txt", 200, (("Content-Type", "text/plain"),), rules)
        )
    served = (
        _with_header(sites.answer(host, page, web.seed), "X-Robots-Tag", "noai, noimageai"),
        sites.answer(host, page._replace(head='<meta name="robots" content="noai">'), web.seed),
        sites.answer(refusing, page, web.seed),
    )[number % 3]
    web.plant(web.serve(served), page.title, "opt_out", "crawl", "opt_out")


def _with_header(answer: Answer, name: str, value: str) -> Answer:
    return answer._replace(headers=(*answer.headers, (name, value)))


def _error(host: str, path: str, status: int) -> Answer:
    body = (
        f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>".encode()
    )
    return Answer(host, path, status, (("Content-Type", "text/html"),), body)


def _missing(web: Web, number: int) -> None:
    """Pages that are gone, and pages whose server fails each time."""
    host, place = web.turn()
    for status in (404, 410):
        url = web.serve(_error(host.host, f"/gone/{place}-{status}.html", status))
        web.plant(url, f"An old page ({status})", f"http_{status}", "crawl", f"http_{status}")
    failing = f"failing-server-{number}.test"
    url = web.serve(_error(failing, "/report.html", 500))
    web.plant(url, "A page that fails", "http_500", "crawl", "http_500")


def _unknown_host(web: Web, number: int) -> None:
    """Names that no longer exist, and addresses that nobody may be sent to."""
    url = f"http://dead-host.test/story/{number}"
    web.plant(url, "A story from a site that is gone", "dead_host", "crawl", "dns")
    address = _ADDRESSES[number % len(_ADDRESSES)]
    if number < len(_ADDRESSES):
        web.plant(
            address, "You will not believe this page", "private_address", "crawl", "address_refused"
        )
    host, place = web.turn()
    url = web.serve(sites.redirect(host.host, f"/out/{place}", "http://10.0.0.1/", 302))
    title = "A link that leads inside"
    web.plant(url, title, "redirect_to_private_address", "crawl", "address_refused")


def _redirects(web: Web, number: int) -> None:
    """A chain to a page, a page that moved to another host, and a loop."""
    host, page = web.page()
    target = web.show(host, page)
    web.serve(sites.redirect(host.host, f"/r/{number}", page.path, 301))
    url = web.serve(sites.redirect(host.host, f"/go/{number}", f"/r/{number}", 302))
    web.keep(url, page.title, "redirect")
    web.remember(url, host, page.title, page.blocks)
    host, page = web.page()
    target = web.show(host, page)
    url = web.serve(sites.redirect("moved-away.test", f"/{number}.html", target, 301))
    web.keep(url, page.title, "redirect_to_other_host")
    host, place = web.turn()
    url = web.serve(sites.redirect(host.host, f"/loop/{place}a", f"/loop/{place}b", 302))
    web.serve(sites.redirect(host.host, f"/loop/{place}b", f"/loop/{place}a", 302))
    web.plant(url, "Round and round", "redirect_loop", "crawl", "too_many_redirects")


def _timing(web: Web, number: int) -> None:
    """Servers that are busy, slow, slower than any patience, or hang up in the middle."""
    for behaviour in ("slow", "too_many_requests_once", "disconnect"):
        host, page = web.page()
        served = sites.uncompressed(sites.answer(host, page, web.seed))
        url = web.serve(served._replace(behaviour=behaviour))
        web.keep(url, page.title, behaviour)
    _, page = web.page()
    dripping = Site(f"dripping-server-{number}.test", "Drip", "docs")
    url = web.serve(sites.answer(dripping, page, web.seed)._replace(behaviour="drip"))
    web.plant(url, page.title, "drip", "crawl", "too_slow")


def _oversize(web: Web, n_bytes: int) -> None:
    """One page that is larger than any page."""
    host, page = web.page()
    body = f"<html><body><h1>{page.title}</h1>".encode()
    line = b"<p>And so it went on, page after page, without an end in sight.</p>\n"
    body += line * (n_bytes // len(line) + 1)
    headers = (("Content-Type", "text/html; charset=utf-8"),)
    url = web.serve(Answer(host.host, f"{page.path}-all", 200, headers, body))
    web.plant(url, page.title, "oversized", "crawl", "too_large")


# ------------------------------------------------------------------------------ what is no page


def _binary(web: Web, number: int) -> None:
    """Files that say they are HTML, and a file that says what it is."""
    host, place = web.turn()
    content = (_PDF, _PNG)[number % 2]
    url = web.serve(sites.html(host.host, f"/files/report-{place}.html", content, "utf-8"))
    web.plant(url, "The yearly report", "binary_as_html", "extract", "not_html")
    answer = Answer(host.host, f"/files/{place}", 200, (("Content-Type", "application/pdf"),), _PDF)
    web.plant(web.serve(answer), "The report to print", "pdf", "crawl", "content_type")


def _short(web: Web, number: int) -> None:
    """Pages that consist of what surrounds a text."""
    host, place = web.turn()
    host = host._replace(template="magazine")  # the one that gives an extractor least to hold on to
    text = _SHORT[number % len(_SHORT)]
    page = Page(
        f"/category/{place}/", "Nothing here", (Block("paragraph", (text,)),), "", "2015-04-02", ()
    )
    web.plant(
        web.show(host, page), "Have a look at this site", "boilerplate_only", "clean", "too_short"
    )


def _foreign(web: Web, language: str) -> None:
    """Good prose in another language."""
    article = next(a for a in FOREIGN if a.language == language)
    host = Site("welt-magazin.test", "Welt", "blog")
    texts = (" ".join(text.split()) for text in article.text.split("\n\n"))
    blocks = tuple(Block("paragraph", (text,)) for text in texts)
    page = Page(
        f"/{language}/{sites.slug(article.title)}.html",
        article.title,
        blocks,
        "M. Arendt",
        "2016-02-03",
        (),
    )
    web.plant(web.show(host, page), article.title, "other_language", "clean", "language")


# ------------------------------------------------------------------------- what has to be mended


def _mojibake(web: Web, _: int) -> None:
    """UTF-8 that somebody took for windows-1252 and stored again."""
    host, page = web.page()
    host = host._replace(template="blog")
    broken = changed(page.blocks, lambda line: misread(typographic(line)))
    web.keep(web.show(host, page._replace(blocks=broken)), page.title, "mojibake")


def _wrong_charset(web: Web, number: int) -> None:
    """A header that names another encoding than the page has."""
    host, page = web.page()
    page = page._replace(blocks=changed(page.blocks, typographic))
    actual, named = (("utf-8", "iso-8859-1"), ("windows-1252", "utf-8"))[number % 2]
    html = TEMPLATES["blog"](host, page)
    html = html.replace('<meta charset="utf-8">', f'<meta charset="{actual}">')
    body = html.encode(actual, "xmlcharrefreplace")
    url = web.serve(sites.html(host.host, page.path, body, named, page.day))
    web.keep(url, page.title, "wrong_charset")


def _tokenized(web: Web, _: int) -> None:
    """Text with blanks between all tokens, as treebanks have it."""
    host, page = web.page()
    tokens = changed(page.blocks, treebank)
    web.keep(web.show(host, page._replace(blocks=tokens)), page.title, "tokenized")


def _attack(web: Web, number: int) -> None:
    """A title and a text that would run in a report which does not escape them."""
    host, page = web.page()
    attack = f"</script><script>alert({number})</script>"
    first = Block(
        "paragraph", (f"The demonstration reads {attack} and nothing else happens here.",)
    )
    shown = page._replace(title=f"{page.title} {attack}", blocks=(first, *page.blocks))
    web.keep(web.show(host, shown), shown.title, "script_in_text")


# --------------------------------------------------------------------- what the list itself says


def _listed(web: Web, number: int) -> None:
    """Links that never get as far as a request."""
    name = _WIKIPEDIA[number % len(_WIKIPEDIA)]
    url = f"http://en.wikipedia.org/wiki/{name}" + (f"?oldid={number}" if number >= 5 else "")
    web.plant(url, name.replace("_", " "), "wikipedia", "links", "wikipedia")
    host, _ = web.turn()
    pattern, reason = _MEDIA[number % len(_MEDIA)]
    media = pattern.format(f"x{draw(web.seed, 'media', number):x}"[:8], host=host.host)
    web.plant(media, "Look at this", reason, "links", reason)
    host, page = web.page()
    url = web.submit(web.show(host, page), page.title, low=True)
    web.expect(url, "low_score", "links", "low_score")


_CASES: tuple[Callable[[Web, int], None], ...] = (
    _quote,
    _disallowed,
    _unreachable_robots,
    _opt_out,
    _missing,
    _unknown_host,
    _redirects,
    _timing,
    _binary,
    _short,
    _mojibake,
    _wrong_charset,
    _tokenized,
    _attack,
    _listed,
)

"""Pages whose text is known: articles written into layouts that are drawn from a seed.

A layout is a site's way to write: which element holds the text and what it is called, how
paragraphs, lists and code are marked up, what stands before, beside, within and after the text.
All of it is a keyed draw, so that there are as many layouts as one wants of a seed that nobody
looked at while extraction was tuned. The pools have names that sites use, and for every role also
names that say nothing.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from crawl.docstrings import Block
from crawl.draws import between, draw, pick
from crawl.prose import Article, plain_text

_HOLDERS = (
    "article", "article class=post", "div class=entry-content", "div class=post-content", "main",
    "div id=content", "div class=content", "section class=article-body", "div class=story-body",
    "div itemprop=articleBody", "div class=text", "div class=main-column", "div class=c-47",
    "div", "td valign=top", "div class=elementor-widget-container", "div class=prose",
    "div id=page",
)  # fmt: skip
_WRAPPERS = ("div", "div class=row", "div class=container", "section", "div id=wrap", "center")
_MENUS = ("nav", "ul class=menu", "div id=navigation", "div class=topnav", "p", "div class=x-bar")
_SIDES = ("aside", "div class=sidebar", "div id=right", "div class=widget-area", "div class=col-3")
_FEET = ("footer", "div id=footer", "div class=site-footer", "div class=bottom", "p align=center")
_COMMENTS = (
    "div id=comments",
    "ol class=comment-list",
    "section class=comments-area",
    "div id=disqus_thread",
)
_RELATED = (
    "div class=related-posts",
    "ul class=related",
    "div class=teaser-list",
    "div class=more-on",
)
_CONSENT = ("div class=cookie-banner", "div id=cookie-consent", "div class=consent-manager")
_ADVERTS = ("div class=advertisement", "div class='ad ad-slot'", "div class=outbrain", "aside")
_LINKS = (
    "Home", "News", "Archive", "Contact us", "About", "Downloads", "Forum", "Shop", "Newsletter",
    "How we work", "Ten things you did not know about tea", "Weather for the week", "Jobs",
    "A walk along the northern coast", "Sign in", "Register", "Editions", "Help centre", "Imprint",
)  # fmt: skip
_SAYINGS = (
    "Great read, I will try this at home over the weekend!",
    "I do not agree with the second part, but it is nicely put.",
    "Has anybody got this to work on the old model as well?",
    "First! And thanks to everyone who pointed me here.",
)
_BANNERS = (
    "We and our partners store cookies on your device to measure visits. Accept or manage choices.",
    "This website uses cookies to give you the best experience. Learn more in our privacy policy.",
)
_OFFERS = ("Save a third on garden furniture today.", "Our readers choose the boots of the year.")


class Layout(NamedTuple):
    """The draws of one site."""

    seed: int
    number: int

    def pick(self, items: Sequence[str], role: str) -> str:
        """Returns one of several ways."""
        return pick(items, self.seed, "layout", self.number, role)

    def has(self, role: str, percent: int = 50) -> bool:
        """Returns whether the site has something."""
        return draw(self.seed, "has", self.number, role) % 100 < percent

    def links(self, role: str, page: int, low: int, high: int) -> list[str]:
        """Returns some links."""
        n = between(low, high, self.seed, "n", self.number, role)
        names = [pick(_LINKS, self.seed, role, self.number, page, i) for i in range(n)]
        return [f'<a href="/{role}/{i}">{name}</a>' for i, name in enumerate(names)]


class Shown(NamedTuple):
    """A page's markup, and the text that should come out."""

    markup: str
    text: str


def show(article: Article, seed: int, number: int, page: int) -> Shown:
    """Writes an article as a page of a site.

    Args:
        article: What the page says.
        seed: Of the layouts.
        number: The site.
        page: Distinguishes pages of a site.
    """
    site = Layout(seed, number)
    text = f"{article.title}\n{plain_text(article.blocks)}"
    title = escape(article.title)
    heading = site.pick(("h1", "h2", "h1 class=title", "h1 class=entry-title"), "heading")
    inner = _element(heading, title) + _byline(site) + _text(site, article.blocks)
    if site.has("share", 40):
        inner += f"<div class=share-buttons>{' '.join(site.links('share', page, 3, 5))}</div>"
    body = _element(site.pick(_HOLDERS, "holder"), inner)
    body = f"<table><tr>{body}</tr></table>" if body.startswith("<td") else body
    for level in range(between(0, 4, seed, "depth", number)):
        body = _element(site.pick(_WRAPPERS, f"wrapper{level}"), body)
    markup = _before(site, page) + _beside(site, page, body) + _after(site, page)
    return Shown(f"<!DOCTYPE html>\n<html>{_head(site, title)}<body>{markup}</body></html>", text)


def _element(opening: str, inner: str) -> str:
    return f"<{opening}>\n{inner}\n</{opening.split(maxsplit=1)[0]}>\n"


def _head(site: Layout, title: str) -> str:
    style = "<style>p { margin: 0 } .menu li { float: left }</style>" * site.has("style", 80)
    script = "<script>window.visits = [['page', 1], ['time', 2]];</script>" * site.has("script", 80)
    return f'<head><meta charset="utf-8"><title>{title} | Site</title>{style}{script}</head>\n'


def _byline(site: Layout) -> str:
    if not site.has("byline"):
        return ""
    name = site.pick(("div class=byline", "p class=author", "div class=meta"), "byline")
    return _element(name, f"By {site.pick(('A. Winter', 'Jo Reed', 'staff'), 'author')}")


def _text(site: Layout, blocks: Sequence[Block]) -> str:
    parts = [_block(site, block) for block in blocks]
    if site.has("advert", 30):
        advert = _element(site.pick(_ADVERTS, "advert"), site.pick(_OFFERS, "offer"))
        parts.insert(len(parts) // 2, advert)
    return "".join(parts)


def _block(site: Layout, block: Block) -> str:
    lines = [_line(site, line) for line in block.lines]
    if block.kind in ("heading", "subheading"):
        tags = ("h2", "h3", "p><b") if block.kind == "heading" else ("h3", "h4", "h5")
        tag = site.pick(tags, block.kind)
        return f"<{tag}>{lines[0]}{'</b></p>' if tag == 'p><b' else f'</{tag}>'}\n"
    if block.kind == "code":
        return f"<pre>{escape(chr(10).join(block.lines))}</pre>\n"
    if block.kind == "items":
        tag = site.pick(("ul", "ol", "ul class=list"), "items")
        return _element(tag, "".join(f"<li>{line}</li>\n" for line in lines))
    ways = ("<p>{}</p>\n", "<p>{}\n", "<div>{}</div>\n", "{}<br><br>\n", '<p class="p2">{}</p>')
    return "".join(site.pick(ways, "paragraph").format(line) for line in lines)


def _line(site: Layout, line: str) -> str:
    """Returns a line as HTML; what stands between backticks is code, some words are links."""
    code = site.pick(("code", "tt", "b", "span class=k"), "code")
    pieces = escape(line, quote=False).split("`")
    for i in range(1, len(pieces) - 1, 2):
        pieces[i] = f"<{code}>{pieces[i]}</{code.split()[0]}>"
    text = "".join(pieces) if len(pieces) % 2 else "`".join(pieces)
    words = text.split(" ")
    if site.has("links", 30) and len(words) > 20 and words[7].isalpha():
        words[7] = f'<a href="/see/{words[7]}">{words[7]}</a>'
    return " ".join(words)


def _before(site: Layout, page: int) -> str:
    links = site.links("menu", page, 4, 12)
    menu = site.pick(_MENUS, "menu")
    listed = "".join(f"<li>{link}</li>" for link in links) if menu[0] in "nu" else " | ".join(links)
    if menu == "nav":
        listed = f"<ul>{listed}</ul>"
    consent = _element(site.pick(_CONSENT, "consent"), f"<p>{site.pick(_BANNERS, 'banner')}</p>")
    header = _element(site.pick(("header", "div id=head", "div"), "header"), "The Daily Example")
    return (
        header * site.has("header", 70) + _element(menu, listed) + consent * site.has("consent", 40)
    )


def _beside(site: Layout, page: int, body: str) -> str:
    if not site.has("side", 60):
        return body
    links = "".join(f"<li>{link}</li>" for link in site.links("side", page, 4, 15))
    side = _element(site.pick(_SIDES, "side"), f"<h3>Most read</h3><ul>{links}</ul>")
    return side + body if site.has("side first", 40) else body + side


def _after(site: Layout, page: int) -> str:
    related = "".join(f"<li>{link}</li>" for link in site.links("related", page, 3, 8))
    said = [pick(_SAYINGS, site.seed, site.number, page, i) for i in range(3)]
    comments = "".join(
        f"<li class=comment><b>reader{i}</b><p>{t}</p></li>" for i, t in enumerate(said)
    )
    foot = f"Copyright 2017 The Daily Example. {' '.join(site.links('foot', page, 2, 8))}"
    return (
        _element(site.pick(_RELATED, "related"), f"<h4>Read on</h4><ul>{related}</ul>")
        * site.has("related")
        + _element(site.pick(_COMMENTS, "comments"), f"<h3>Comments</h3>{comments}")
        * site.has("comments", 40)
        + _element(site.pick(_FEET, "foot"), foot) * site.has("foot", 90)
    )

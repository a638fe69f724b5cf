"""The looks of the invented sites: one text in five kinds of HTML, as the web wrote it.

    blog      HTML5, <article>, JSON-LD, share buttons, comments
    docs      HTML5, <main>, breadcrumb, table of contents, pager
    portal    XHTML 1.0, nested <div>s, no landmarks, login box, link columns
    table     HTML 4.01, layout tables, <font>, upper-case tags, no closing </P>, windows-1252
    magazine  HTML5, class soup, figure, advertisement in the middle of the text, newsletter box

Everything around the text (navigation, cookie banner, sidebars, footer, scripts) is there so that
extraction has to tell it from the text. All of it is a function of the page and its site.
"""

import json
import re
from collections.abc import Callable, Iterable
from html import escape
from typing import NamedTuple

from crawl.docstrings import Block
from crawl.draws import pick


class Site(NamedTuple):
    """One invented site. `template` is a key of TEMPLATES."""

    host: str
    name: str
    template: str


class Page(NamedTuple):
    """What one page shows.

    `day` is YYYY-MM-DD; `related` are (path, title) of other pages; `head` is extra markup for the
    head.
    """

    path: str
    title: str
    blocks: tuple[Block, ...]
    author: str
    day: str
    related: tuple[tuple[str, str], ...]
    head: str = ""


class Style(NamedTuple):
    """How a template writes the parts of a text."""

    heading: str
    subheading: str
    code: str  # the tag around code within a line
    items: str  # "ul", "dl" or "p"
    closed: bool = True  # whether </p> and </li> are written


_AUTHORS = (
    "Ada Marlow", "B. Okafor", "Clara Winter", "Dmitri Halvorsen", "Elena Brandt", "F. Adeyemi",
    "Greta Lindqvist", "Hassan Qureshi", "Iris Novak", "J. P. Tanaka", "K. Morozova", "L. Ferrer",
)  # fmt: skip
_SECTIONS = ("Home", "Guides", "Reference", "Releases", "Community", "About", "Contact")
_COOKIES = (
    "We use cookies to count visitors. By continuing to browse you accept our cookie policy.",
    "This site stores small files on your device. Choose Accept or Settings to learn more.",
    "Cookies help us to deliver our services. By using them, you agree to our use of cookies.",
)
_COMMENTS = (
    ("pixelfarmer", "Thanks, this saved my afternoon. Bookmarked!"),
    ("old_timer", "Wasn't this covered last year already? Anyway, nicely put."),
    ("quietreader", "First comment here after years of reading. Please keep these coming."),
    ("marta", "Could you please do a follow-up? My colleagues keep asking me about it."),
    ("nullpointer", "Typo in the second paragraph, otherwise a good overview."),
    ("hhansen", "Works for me on both machines, thanks for writing it up."),
)
_ADVERTS = (
    "Advertisement: spring sale on mechanical keyboards, today only.",
    "Sponsored: rent a server by the hour and pay later.",
    "Advertisement: learn touch typing in two weeks, first lesson free.",
)


def author(seed: int, *names: str | int) -> str:
    """Returns the invented author of a page."""
    return pick(_AUTHORS, seed, "author", *names)


def render(site: Site, page: Page) -> str:
    """Returns a page's HTML."""
    return TEMPLATES[site.template](site, page)


# ---------------------------------------------------------------------------------- the text


def _inline(text: str, tag: str) -> str:
    """Returns a line as HTML, what stands between backticks as code.

    >>> _inline("use `a < b`", "code")
    'use <code>a &lt; b</code>'
    """
    return re.sub(r"`([^`]+)`", rf"<{tag}>\1</{tag}>", escape(text, quote=False))


def _body(blocks: Iterable[Block], style: Style) -> list[str]:
    """Returns the text's blocks, each as HTML."""
    return [_block(block, style) for block in blocks]


def _block(block: Block, style: Style) -> str:
    lines = [_inline(line, style.code) for line in block.lines]
    if block.kind == "heading":
        return f"<{style.heading}>{lines[0]}</{style.heading}>"
    if block.kind == "subheading":
        return f"<{style.subheading}>{lines[0]}</{style.subheading}>"
    if block.kind == "code":
        code = escape("\n".join(block.lines), quote=False)
        return f"<pre><code>{code}</code></pre>" if style.closed else f"<pre>{code}</pre>"
    if block.kind == "paragraph" or style.items == "p":
        end = "</p>" if style.closed else ""
        return "\n".join(f"<p>{line}{end}" for line in lines)
    return _listed(lines, style)


def _listed(lines: list[str], style: Style) -> str:
    named = [re.fullmatch(rf"(<{style.code}>.*?): (.+)", line) for line in lines]
    if style.items == "dl" and all(named):
        pairs = (f"<dt>{m[1]}</dt>\n<dd>{m[2]}</dd>" for m in named if m)
        return "\n".join(["<dl>", *pairs, "</dl>"])
    end = "</li>" if style.closed else ""
    return "\n".join(["<ul>", *(f"<li>{line}{end}" for line in lines), "</ul>"])


# ------------------------------------------------------------------------------ what is around it


def _links(pages: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f'<li><a href="{escape(p)}">{escape(t)}</a></li>' for p, t in pages)


def _menu(tag: str = "li") -> str:
    names = ((name, name.lower()) for name in _SECTIONS)
    return "\n".join(f'<{tag}><a href="/{low}/">{name}</a></{tag}>' for name, low in names)


def _cookies(site: Site) -> str:
    text = pick(_COOKIES, 0, site.host)
    return (
        f'<div id="cookie-banner" class="cookie-consent" role="dialog"><p>{text}</p>'
        '<button type="button">Accept</button> <a href="/privacy/">Settings</a></div>'
    )


def _script(site: Site) -> str:
    return (
        f"<script>(function(w,d){{w._stats=w._stats||[];_stats.push(['site','{site.host}']);"
        "var s=d.createElement('script');s.async=true;s.src='/static/stats.js';"
        "d.getElementsByTagName('head')[0].appendChild(s);})(window,document);</script>"
    )


def _css(site: Site) -> str:
    color = pick(("#274156", "#5a3921", "#1f5f3f", "#612940", "#333344"), 0, "color", site.host)
    return (
        f"<style>body{{font-family:Georgia,serif;margin:0;color:#222}}a{{color:{color}}}"
        f"header,.header,#head{{background:{color};color:#fff;padding:1em}}"
        "pre{background:#f4f4f4;padding:.6em;overflow:auto}.sidebar,#right{float:right;width:22%}"
        ".cookie-consent{position:fixed;bottom:0;background:#eee}dt{font-weight:bold}</style>"
    )


def _json_ld(site: Site, page: Page) -> str:
    told = {
        "@context": "http://schema.org",
        "@type": "BlogPosting",
        "headline": page.title,
        "datePublished": page.day,
        "author": {"@type": "Person", "name": page.author},
        "publisher": {"@type": "Organization", "name": site.name},
    }
    text = json.dumps(told, ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/ld+json">{text}</script>'


def _share(page: Page) -> str:
    names = ("Facebook", "Twitter", "LinkedIn", "Email this page")
    path = escape(page.path)
    links = (
        f'<a class="share-{n.split()[0].lower()}" href="/share?u={path}">{n}</a>' for n in names
    )
    return f'<div class="share-buttons">Share this: {" | ".join(links)}</div>'


def _comments(page: Page) -> str:
    chosen = [pick(_COMMENTS, 0, page.path, n) for n in range(2)]
    items = (
        f'<li class="comment"><cite>{who}</cite> <span class="says">says:</span><p>{what}</p>'
        '<a class="comment-reply-link" href="#respond">Reply</a></li>'
        for who, what in dict.fromkeys(chosen)
    )
    return (
        '<div id="comments" class="comments-area"><h3>Comments</h3>'
        f'<ol class="comment-list">{"".join(items)}</ol></div>'
    )


def _footer(site: Site, page: Page) -> str:
    return (
        f"Copyright {page.day[:4]} {escape(site.name)}. All rights reserved. "
        '<a href="/privacy/">Privacy policy</a> <a href="/terms/">Terms of use</a> '
        '<a href="/sitemap.html">Sitemap</a> <a href="/feed/">RSS</a>'
    )


# ------------------------------------------------------------------------------------- the looks


def _blog(site: Site, page: Page) -> str:
    body = _body(page.blocks, Style("h2", "h3", "code", "ul"))
    title = escape(page.title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title} | {escape(site.name)}</title>
<meta name="author" content="{escape(page.author)}">
<meta property="og:title" content="{title}">
<meta property="article:published_time" content="{page.day}">
{page.head}
{_css(site)}
{_json_ld(site, page)}
{_script(site)}
</head>
<body class="single single-post">
{_cookies(site)}
<header class="site-header"><a href="/" rel="home">{escape(site.name)}</a>
<nav class="main-navigation"><ul>
{_menu()}
</ul></nav></header>
<div class="content-area">
<article class="post">
<header class="entry-header"><h1 class="entry-title">{title}</h1>
<div class="entry-meta">Posted on <time datetime="{page.day}">{page.day}</time>
by {escape(page.author)}</div></header>
<div class="entry-content">
{chr(10).join(body)}
</div>
<footer class="entry-footer">{_share(page)}</footer>
</article>
<div class="related-posts"><h3>Related posts</h3><ul>
{_links(page.related)}
</ul></div>
{_comments(page)}
</div>
<aside class="sidebar widget-area"><h3>Recent posts</h3><ul>
{_links(page.related[::-1])}
</ul><form class="search"><input name="q" placeholder="Search"><button>Go</button></form></aside>
<footer class="site-footer">{_footer(site, page)}</footer>
</body>
</html>
"""


def _docs(site: Site, page: Page) -> str:
    body = _body(page.blocks, Style("h2", "h3", "code", "dl"))
    headings = [b.lines[0].replace("`", "") for b in page.blocks if b.kind == "heading"]
    contents = "\n".join(
        f'<li><a href="#s{i}">{escape(h)}</a></li>' for i, h in enumerate(headings)
    )
    pager = [f'<a href="{escape(p)}">{escape(t)}</a>' for p, t in page.related[:2]]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="docwright 1.4">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(page.title)} &#8212; {escape(site.name)}</title>
{page.head}
{_css(site)}
</head>
<body>
<nav class="related" role="navigation"><ul>
{_menu()}
</ul></nav>
<div class="breadcrumb"><a href="/">{escape(site.name)}</a> &raquo;
<a href="/docs/">Documentation</a></div>
<div class="document">
<main role="main">
<h1>{escape(page.title)}<a class="headerlink" href="#top" title="Permalink">¶</a></h1>
{chr(10).join(body)}
</main>
</div>
<div class="sphinxsidebar sidebar" role="navigation"><h3>Table of Contents</h3><ul>
{contents}
</ul><h3>This Page</h3>
<ul><li><a href="/_sources{escape(page.path)}.txt">Show Source</a></li></ul></div>
<div class="pager" role="navigation">Read on: {" or ".join(pager)}</div>
<footer role="contentinfo">{_footer(site, page)} Last updated on {page.day}.</footer>
{_cookies(site)}
{_script(site)}
</body>
</html>
"""


def _portal(site: Site, page: Page) -> str:
    body = _body(page.blocks, Style("h3", "h4", "tt", "ul"))
    return f"""<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
<head>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8" />
<title>{escape(site.name)} - {escape(page.title)}</title>
{page.head}
{_css(site)}
{_script(site)}
</head>
<body>
<div id="wrap">
<div id="head"><div id="logo"><a href="/">{escape(site.name)}</a></div>
<div id="menu"><ul>
{_menu()}
</ul></div></div>
<div id="left" class="menu"><div class="box"><b>Login</b><form action="/login">
<input name="user" /> <input type="password" name="pw" /> <input type="submit" value="Log in" />
</form>
<a href="/register">Create an account</a> <a href="/lost">Forgot your password?</a></div>
<div class="box"><b>Categories</b><ul>
{_menu()}
</ul></div></div>
<div id="content">
<h2>{escape(page.title)}</h2>
<div class="text">
{chr(10).join(body)}
</div>
</div>
<div id="right" class="sidebar"><div class="box"><b>Most read this week</b><ul>
{_links(page.related)}
</ul></div>{_cookies(site)}</div>
<div id="footer">{_footer(site, page)}</div>
</div>
</body>
</html>
"""


def _table(site: Site, page: Page) -> str:
    body = _body(page.blocks, Style("h3", "h4", "tt", "ul", closed=False))
    links = "".join(f'<BR><A HREF="{escape(p)}">{escape(t)}</A>\n' for p, t in page.related)
    menu = " | ".join(f'<A HREF="/{n.lower()}/">{n}</A>' for n in _SECTIONS)
    return f"""<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">
<HTML>
<HEAD>
<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=windows-1252">
<TITLE>{escape(page.title)}</TITLE>
{page.head}
</HEAD>
<BODY BGCOLOR="#FFFFFF" TEXT="#000000" LINK="#0000CC">
<TABLE WIDTH="100%" BORDER="0" CELLPADDING="4">
<TR><TD COLSPAN="2" BGCOLOR="#CCCCFF"><FONT SIZE="+2"><B>{escape(site.name)}</B></FONT>
<BR>{menu}</TD></TR>
<TR><TD WIDTH="160" VALIGN="top" BGCOLOR="#EEEEEE"><FONT SIZE="-1"><B>More pages</B>
{links}<BR>You are visitor number 48,211
<BR><A HREF="/guestbook.html">Sign my guestbook</A></FONT></TD>
<TD VALIGN="top"><DIV ID="content">
<H2>{escape(page.title)}</H2>
{chr(10).join(body)}
</DIV></TD></TR>
<TR><TD COLSPAN="2" ALIGN="center"><HR><FONT SIZE="-1">{_footer(site, page)}
<BR>Best viewed at 1024 by 768. Last changed {page.day}.</FONT></TD></TR>
</TABLE>
</BODY>
</HTML>
"""


def _magazine(site: Site, page: Page) -> str:
    body = _body(page.blocks, Style("h2", "h3", "code", "p"))
    middle = len(body) // 2
    advert = pick(_ADVERTS, 0, page.path)
    cards = "\n".join(
        f'<div class="card teaser"><a href="{escape(p)}">{escape(t)}</a> <b>Read more</b></div>'
        for p, t in page.related
    )
    return f"""<!doctype html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<title>{escape(page.title)}</title>
<meta name="date" content="{page.day}">
<link rel="canonical" href="http://{site.host}{escape(page.path)}">
{page.head}
{_css(site)}
</head>
<body>
<div class="topbar"><ul class="nav">
{_menu()}
</ul><a class="subscribe" href="/subscribe">Subscribe now</a></div>
<div class="page-wrapper"><div class="post-content story-body">
<h1 class="headline">{escape(page.title)}</h1>
<div class="byline">By <a href="/authors/" rel="author">{escape(page.author)}</a></div>
<figure><img src="/images/header.jpg" alt=""><figcaption>Photo: archive</figcaption></figure>
{chr(10).join(body[:middle])}
<div class="ad ad-slot advertisement"><p>{advert}</p></div>
{chr(10).join(body[middle:])}
</div>
<div class="newsletter signup-box"><h4>Get our newsletter</h4>
<p>The best stories of the week in your inbox, every Friday.</p>
<input type="email" placeholder="Your email"><button>Sign up</button></div>
<div class="recommended teaser-list"><h4>You may also like</h4>
{cards}
</div></div>
<footer class="footer">{_footer(site, page)}</footer>
{_cookies(site)}
{_script(site)}
</body>
</html>
"""


TEMPLATES: dict[str, Callable[[Site, Page], str]] = {
    "blog": _blog,
    "docs": _docs,
    "portal": _portal,
    "table": _table,
    "magazine": _magazine,
}

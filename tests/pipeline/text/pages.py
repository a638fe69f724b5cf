"""Pages of all kinds, drawn at random: what extraction is compared on."""

import random
from collections.abc import Iterator

_WORDS = (
    "the lighthouse keeper of a northern bay and his painter have never been to sea, but when it "
    "rains they talk about ships, storms, copyright, select few; what is certain is that nobody "
    "would believe them. Villagers had more light than they wanted, e.g. 31 metres of it."
).split()
_NAMES = (
    "post entry-content content sidebar main article-body comment comments teaser footer text note "
    "cookie-banner share-buttons related hidden widget author tags menu page-content navbar meta "
    "infinite-scroll story-body main-column comment-list caption newsletter body Teaser xyz"
).split()
_BLOCKS = (
    *("div", "div", "div", "p", "p", "section", "article", "main", "ul", "ol", "dl", "table"),
    *("blockquote", "pre", "h1", "h2", "h4", "header", "center", "details", "address"),
)
_INLINE = (
    "a",
    "a",
    "b",
    "em",
    "span",
    "code",
    "br",
    "i",
    "q",
    "font",
    "time",
    "label",
    "sub",
    "img",
)
# never inside one of their own kind: there trafilatura loses its way (see `furniture`)
_APART = ("nav", "aside", "footer", "form", "figure", "button", "noscript", "select", "iframe")


def pages(n: int, seed: int = 0) -> Iterator[str]:
    """Yields pages, each from a few to a few hundred elements."""
    for i in range(n):
        yield _page(random.Random(seed * 1_000_003 + i))


def _page(rng: random.Random) -> str:
    body = "\n".join(_block(rng, rng.randint(0, 4), frozenset()) for _ in range(rng.randint(1, 9)))
    script = '<script type="application/ld+json">{"articleBody": "x"}</script>' * (
        rng.random() < 0.1
    )
    return (
        f"<!DOCTYPE html><html><head><title>{_text(rng, 4)}</title>{script}<style>p {{}}</style>"
        f"</head><body{_names(rng)}>{body}</body></html>"
    )


def _block(rng: random.Random, depth: int, outside: frozenset[str]) -> str:
    tag = rng.choice(_BLOCKS)
    if rng.random() < 0.15:
        tag = rng.choice(_APART)
        if tag in outside:
            tag = "div"
        outside |= {tag}
    if tag in ("ul", "ol", "dl"):
        item = "li" if tag != "dl" else "dd"
        inner = "".join(
            f"<{item}{_names(rng)}>{_inside(rng, depth, outside)}</{item}>"
            for _ in range(rng.randint(0, 6))
        )
    elif tag == "table":
        cell = rng.choice(("td", "th"))
        inner = "".join(
            f"<tr>{_cell(rng, cell, depth, outside) * rng.randint(1, 2)}</tr>"
            for _ in range(rng.randint(0, 4))
        )
    else:
        inner = _inside(rng, depth, outside)
    return f"<{tag}{_names(rng)}>{inner}</{tag}>" + rng.choice(("", "\n", _text(rng, 3)))


def _cell(rng: random.Random, tag: str, depth: int, outside: frozenset[str]) -> str:
    return f"<{tag}>{_inside(rng, depth, outside)}</{tag}>"


def _inside(rng: random.Random, depth: int, outside: frozenset[str]) -> str:
    if depth > 0 and rng.random() < 0.6:
        return "".join(_block(rng, depth - 1, outside) for _ in range(rng.randint(1, 3)))
    pieces = [_text(rng, rng.choice((0, 2, 8, 30, 80)))]
    for _ in range(rng.choice((0, 0, 1, 2, 9))):
        tag = rng.choice(_INLINE)
        if tag in outside:
            continue
        end = "" if tag in ("br", "img") else f"{_text(rng, rng.choice((1, 4)))}</{tag}>"
        pieces += [f"<{tag}{' href=/x' * (tag == 'a')}>{end}", _text(rng, rng.choice((0, 1, 12)))]
    return " ".join(pieces)


def _text(rng: random.Random, n_words: int) -> str:
    return " ".join(rng.choices(_WORDS, k=n_words))


def _names(rng: random.Random) -> str:
    said = ""
    if rng.random() < 0.3:
        said += f' class="{" ".join(rng.choices(_NAMES, k=rng.choice((1, 1, 2))))}"'
    if rng.random() < 0.1:
        said = f' id="{rng.choice(_NAMES)}"' + said
    if rng.random() < 0.03:
        said += rng.choice((' style="display:none"', ' role="navigation"', ' aria-hidden="true"'))
    return said

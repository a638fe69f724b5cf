"""readability: the part of a page whose paragraphs score highest.

Source: Arc90's readability, as forked by trafilatura from python-readability: paragraphs give
points to the two elements around them (length, commas), names and links correct them, the best
element and fitting siblings are the article, and what looks like furniture in it is dropped.

Written anew for speed: links are measured once, blocks are found in one walk, names are judged once
each, and the work ends where the article can no longer have the length that the caller needs. The
article is the same, which a test checks. Weights and patterns come from the installed package.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from lxml.etree import XPath, tostring
from lxml.html import HtmlElement
from trafilatura.readability_lxml import (
    DIV_TO_P_PREFIXES,
    DOT_SPACE,
    LIST_TAGS,
    REGEXES,
    TAG_SCORES,
    TEXT_CLEAN_ELEMS,
)

from pipeline.text.content.furniture import delete, let_go

_MIN_CHARS = 25  # of a paragraph that scores, as trafilatura sets it
_MAX_KEPT = 100_000  # names; then all are forgotten
_VIDEO_CHARS = 6  # what it may write into a frame that shows one
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_DOUBTFUL = ("table", "ul", "div", "aside", "header", "footer", "section")
_named = XPath("descendant::*[@class or @id]")
_loose_text = XPath("boolean(text()[normalize-space()])")
_is_unlikely: dict[str, bool] = {}  # a pure function of the name


class Article:
    """A page's article, worked out no further than it is asked for."""

    def __init__(self, tree: HtmlElement) -> None:
        """Takes a page, which it will take apart."""
        self._steps = _steps(tree)
        self._most_chars = squeezed_chars(tree) + _VIDEO_CHARS * len(tree.findall(".//iframe"))
        self._found: HtmlElement | None = None

    def of(self, least: int) -> HtmlElement | None:
        """Returns the article, None if it has fewer than `least` characters."""
        while self._most_chars >= least and (step := next(self._steps, None)) is not None:
            self._most_chars, self._found = step
        return self._found if self._most_chars >= least else None


def _steps(tree: HtmlElement) -> Iterator[tuple[int, HtmlElement | None]]:
    """Yields how long the article can be at most, and in the end the article."""
    slack = _VIDEO_CHARS * len(tree.findall(".//iframe"))
    for element in list(tree.iter("script", "style", "fencedframe")):
        delete(element)
    yield squeezed_chars(tree) + slack, None
    _drop_unlikely(tree)
    yield squeezed_chars(tree) + slack, None
    links = _Links()
    _divs_to_paragraphs(tree)
    scores = _scores(tree, links)
    best = max(scores, key=lambda element: scores[element], default=None)
    if best is None:
        body = tree.find("body")
        found = tree if body is None else body
    else:
        found = _with_siblings(best, scores, links)
    yield squeezed_chars(found) + slack, None
    _sanitize(found, scores, links)
    links.forget()
    yield squeezed_chars(found), found


def squeezed_chars(element: HtmlElement) -> int:
    """Returns the characters of an element's text with single spaces between its words."""
    return len(" ".join(element.text_content().split()))


def _drop_unlikely(tree: HtmlElement) -> None:
    for element in _named(tree):
        name = " ".join(filter(None, (element.get("class"), element.get("id"))))
        if len(name) < 2 or element.tag in ("body", "html"):
            continue
        if name not in _is_unlikely:
            if len(_is_unlikely) >= _MAX_KEPT:
                _is_unlikely.clear()
            low = name.lower()
            _is_unlikely[name] = bool(
                REGEXES["unlikelyCandidatesRe"].search(low)
                and not REGEXES["okMaybeItsACandidateRe"].search(low)
            )
        if _is_unlikely[name]:
            delete(element)


def _divs_to_paragraphs(tree: HtmlElement) -> None:
    """Makes a paragraph of each `div` without blocks in it, and of loose text in the others."""
    divs = list(tree.iterdescendants("div"))
    around = _around_blocks(tree)
    for div in divs:
        if div not in around and (div.find(".//a") is None or _loose_text(div)):
            div.tag = "p"
    for div in divs:
        if div.tag == "div":
            _wrap_loose_text(div)


def _around_blocks(tree: HtmlElement) -> set[HtmlElement]:
    around: set[HtmlElement] = set()
    for element in tree.iterdescendants("*"):
        if element.tag.startswith(DIV_TO_P_PREFIXES):
            for ancestor in element.iterancestors():
                if ancestor in around:
                    break
                around.add(ancestor)
    return around


def _wrap_loose_text(div: HtmlElement) -> None:
    if (text := div.text) and not text.isspace():
        paragraph = div.makeelement("p")
        paragraph.text, div.text = text, None
        div.insert(0, paragraph)
    for child in reversed(list(div)):
        if (text := child.tail) and not text.isspace():
            paragraph = div.makeelement("p")
            paragraph.text, child.tail = text, None
            child.addnext(paragraph)
        if child.tag == "br":
            delete(child)


class _Links:
    """Lengths of the page's links, measured once."""

    def __init__(self) -> None:
        self._link_chars: dict[HtmlElement, int] = {}

    def link_density(self, element: HtmlElement) -> float:
        """Returns the share of an element's characters that are links."""
        total = 0
        for link in element.iterdescendants("a"):
            n = self._link_chars.get(link)
            if n is None:
                n = self._link_chars[link] = squeezed_chars(link)
            total += n
        return total / (squeezed_chars(element) or 1) if total else 0.0

    def forget(self) -> None:
        """Lets go of the links."""
        let_go(self._link_chars)

    def drop(self, element: HtmlElement) -> None:
        """Removes an element; the links that it is part of are measured again."""
        for link in element.iterancestors("a"):
            self._link_chars.pop(link, None)
        delete(element)


def _scores(tree: HtmlElement, links: _Links) -> dict[HtmlElement, float]:
    scores: dict[HtmlElement, float] = {}
    for paragraph in tree.iter("p", "pre", "td"):
        around = [a for a, _ in zip(paragraph.iterancestors(), range(2), strict=False)]
        text = " ".join(paragraph.text_content().split())
        if not around or len(text) < _MIN_CHARS:
            continue
        points = 2 + text.count(",") + min(len(text) / 100, 3)
        for element, share in zip(around, (1, 2), strict=False):
            if element not in scores:
                scores[element] = _weight(element) + TAG_SCORES.get(element.tag.lower(), 0)
            scores[element] += points / share
    for element in scores:
        scores[element] *= 1 - links.link_density(element)
    return scores


def _weight(element: HtmlElement) -> int:
    """Returns points for an element's names, good and bad."""
    weight = 0
    for name in filter(None, (element.get("class"), element.get("id"))):
        weight -= 25 * bool(REGEXES["negativeRe"].search(name))
        weight += 25 * bool(REGEXES["positiveRe"].search(name))
    return weight


def _with_siblings(
    best: HtmlElement, scores: dict[HtmlElement, float], links: _Links
) -> HtmlElement:
    least = max(10, scores[best] * 0.2)
    found = best.makeelement("div")
    parent = best.getparent()
    for sibling in [best] if parent is None else list(parent):
        if (
            sibling is best
            or (sibling in scores and scores[sibling] >= least)
            or (sibling.tag == "p" and _is_text(sibling, links))
        ):
            found.append(sibling)
    return found


def _is_text(paragraph: HtmlElement, links: _Links) -> bool:
    text = paragraph.text or ""
    if len(text) > 80:
        return links.link_density(paragraph) < 0.25
    return bool(DOT_SPACE.search(text)) and links.link_density(paragraph) == 0


def _sanitize(found: HtmlElement, scores: dict[HtmlElement, float], links: _Links) -> None:
    for heading in list(found.iter(*_HEADINGS)):
        if _weight(heading) < 0 or links.link_density(heading) > 0.33:
            links.drop(heading)
    for element in list(found.iter("form", "textarea")):
        links.drop(element)
    for frame in list(found.iter("iframe")):
        if REGEXES["videoRe"].search(frame.get("src", "")):
            frame.text = "VIDEO"
        else:
            links.drop(frame)
    for element in reversed(list(found.iter(*_DOUBTFUL))):
        if _is_furniture(element, scores.get(element, 0), links):
            links.drop(element)


def _is_furniture(element: HtmlElement, score: float, links: _Links) -> bool:
    weight = _weight(element)
    if weight + score < 0:
        return True
    content = element.text_content()
    if content.count(",") >= 10:
        return False
    n_chars = len(" ".join(content.split()))
    counts = Counter(e.tag for e in element.iterdescendants(*TEXT_CLEAN_ELEMS))
    n_p, n_images, n_embeds = counts["p"], counts["img"], counts["embed"]
    n_inputs = counts["input"] - len(element.findall('.//input[@type="hidden"]'))
    return (
        (n_p > 0 and n_images > 1 + n_p * 1.3)
        or (counts["li"] - 100 > n_p and element.tag not in LIST_TAGS)
        or n_inputs > n_p / 3
        or (n_chars < _MIN_CHARS and (n_images == 0 or n_images > 2))
        or links.link_density(element) > (0.5 if weight >= 25 else 0.2)
        or (n_embeds == 1 and n_chars < 75)
        or n_embeds > 1
        or (not n_chars and _is_between_short(element))
    )


def _is_between_short(element: HtmlElement) -> bool:
    """Returns whether the nearest texts on both sides are short."""

    def nearest(siblings: Iterable[HtmlElement]) -> int:
        return next((n for sibling in siblings if (n := squeezed_chars(sibling))), 0)

    before = nearest(element.itersiblings(preceding=True))
    return nearest(element.itersiblings()) + before <= 1000


def serialized(element: HtmlElement) -> str:
    """Returns an article as markup, which is how trafilatura hands it on."""
    markup: str = tostring(element, encoding="unicode", method="xml")
    return markup

"""Which elements of a page carry a telling name: `class="sidebar"`, `id="comments"`.

trafilatura knows a page's furniture by some twenty XPath expressions over `id`, `class` and a few
more attributes, most of them regular expressions that lxml calls back into Python for, element by
element. They see nothing but an element's own name and attributes, and a page has few distinct
ones. So each distinct one is judged once, by the very expression, on an element made for it; the
verdict is kept. What is kept is a pure function of the name and the attributes: no page changes
what another one says.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lxml.etree import Element, SubElement, XPath
from lxml.html import HtmlElement

_MAX_KEPT = 100_000  # verdicts; then all are forgotten, and found again when needed

_Key = tuple[Any, ...]

_with_attributes = XPath("descendant::*[@*]")


class Marked(NamedTuple):
    """An element, and which of the expressions mark it."""

    element: HtmlElement
    by: tuple[bool, ...]


class Marks:
    """Some expressions, and what they said about the elements seen so far."""

    def __init__(
        self, expressions: Sequence[XPath], *, attributes: str, tags: str, only: bool = False
    ) -> None:
        """Prepares the expressions.

        Args:
            expressions: Each of the form `.//*[...]`, about an element itself only.
            attributes: Names of the attributes that they look at.
            tags: Names of elements that they tell apart; all others are alike to them.
            only: Whether they mark no other elements. (If they do, then none without attributes.)
        """
        self._expressions = tuple(expressions)
        self._attributes = frozenset(attributes.split())
        self._tags = frozenset(tags.split())
        self._only = sorted(self._tags) if only else []
        self._verdicts: dict[_Key, tuple[bool, ...]] = {}

    def found(self, tree: HtmlElement) -> list[Marked]:
        """Returns the elements below another that an expression marks, in page order."""
        verdicts, wanted, tags = self._verdicts, self._attributes, self._tags
        marked = []
        for element in tree.iterdescendants(*self._only) if self._only else _with_attributes(tree):
            tag = element.tag
            key = (
                tag if tag in tags else "x",
                *[item for item in element.items() if item[0] in wanted],
            )
            verdict = verdicts.get(key)
            if verdict is None:
                verdict = self._judge(key)
            if verdict:
                marked.append(Marked(element, verdict))
        return marked

    def _judge(self, key: _Key) -> tuple[bool, ...]:
        root = Element("root")
        element = SubElement(root, key[0])
        for name, value in key[1:]:
            element.set(name, value)
        verdict = tuple(bool(expression(root)) for expression in self._expressions)
        if len(self._verdicts) >= _MAX_KEPT:
            self._verdicts.clear()
        self._verdicts[key] = verdict if True in verdict else ()
        return self._verdicts[key]

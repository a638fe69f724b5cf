"""Marked elements are those that the expressions find."""

import pytest
from lxml.etree import XPath
from lxml.html import document_fromstring
from trafilatura.xpaths import OVERALL_DISCARD_XPATH

from pipeline.text.content import furniture, marks
from pipeline.text.content.marks import Marks
from pipeline.text.content.parse import parse_page
from tests.pipeline.text.pages import pages


def test_found_random_pages_elements_are_those_of_the_expressions() -> None:
    n_found = 0
    for markup in pages(100, seed=5):
        tree = parse_page(markup)
        assert tree is not None
        ours = {m.element for m in furniture._sections.found(tree) if m.by[0] or m.by[1]}
        theirs = {element for expression in OVERALL_DISCARD_XPATH for element in expression(tree)}
        assert ours == theirs
        n_found += len(theirs)
    assert n_found > 100


def test_found_order_of_attributes_is_part_of_what_is_judged() -> None:
    # an XPath string of several attributes is that of the first one in the markup
    ads = Marks([XPath(".//*[contains(@id|@class, 'ad')]")], attributes="id class", tags="")
    tree = document_fromstring("<p id=ad class=x>1</p><p class=x id=ad>2</p><p class=x>3</p>")
    assert [marked.element.text for marked in ads.found(tree)] == ["1"]


def test_found_more_names_than_are_kept_verdicts_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marks, "_MAX_KEPT", 10)
    sevens = Marks([XPath(".//*[contains(@class, '7')]")], attributes="class", tags="")
    tree = document_fromstring("".join(f"<p class=c{i}>{i}</p>" for i in range(300)))
    first = [marked.element.text for marked in sevens.found(tree)]
    assert len(first) == 57
    assert [marked.element.text for marked in sevens.found(tree)] == first
    assert len(sevens._verdicts) <= 10

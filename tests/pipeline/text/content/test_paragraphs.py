"""Paragraphs that read like prose: jusText's, found in another way."""

from copy import copy

from hypothesis import given
from hypothesis import strategies as st
from justext.utils import normalize_whitespace
from lxml.html import document_fromstring
from trafilatura.external import try_justext

from pipeline.text.content.paragraphs import good_paragraphs, squeeze
from pipeline.text.content.parse import parse_page
from tests.pipeline.text.pages import pages


def test_good_paragraphs_random_pages_are_those_of_the_package() -> None:
    n_found = 0
    for markup in pages(60, seed=3):
        tree = parse_page(markup)
        assert tree is not None
        theirs = [p.text for p in try_justext(copy(tree), None, None) if p.text]
        assert good_paragraphs(tree) == theirs
        n_found += len(theirs)
    assert n_found > 200


def test_good_paragraphs_many_short_ones_are_settled_in_linear_time() -> None:
    tree = document_fromstring("<body>" + "<p>short</p>" * 50_000)
    assert good_paragraphs(tree) == []  # neighbour by neighbour this takes minutes


@given(st.text(alphabet="ab \n\r\t\x1c\x85\xa0\u2003"))
def test_squeeze_any_text_is_what_the_package_gives(text: str) -> None:
    assert squeeze(text) == normalize_whitespace(text)

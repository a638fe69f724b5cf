"""readability's article, found in another way."""

from copy import copy

import pytest
from lxml.html import HtmlElement
from trafilatura.readability_lxml import Document

from pipeline.text.content.parse import parse_page
from pipeline.text.content.readability import Article, serialized, squeezed_chars
from tests.pipeline.text.pages import pages


def _trees() -> list[HtmlElement]:
    return [tree for markup in pages(60, seed=4) if (tree := parse_page(markup)) is not None]


def test_article_random_pages_is_that_of_the_package() -> None:
    for tree in _trees():
        article = Article(copy(tree)).of(0)
        assert article is not None
        assert serialized(article) == Document(copy(tree), min_text_length=25).summary()


def test_article_is_given_exactly_where_it_has_the_length_asked_for() -> None:
    n_given = 0
    for tree in _trees()[:50]:
        whole = Article(copy(tree)).of(0)
        assert whole is not None
        n_chars = squeezed_chars(whole)
        for least in (n_chars - 1, n_chars, n_chars + 1, 10 * n_chars + 1):
            found = Article(copy(tree)).of(least)
            assert (found is not None) == (least <= n_chars)
            n_given += found is not None
    assert n_given > 50


@pytest.mark.parametrize("order", [(10_000, 0), (0, 10_000), (0, 0)])
def test_article_asked_twice_the_second_answer_does_not_depend_on_the_first(
    order: tuple[int, int],
) -> None:
    for tree in _trees()[:30]:
        article = Article(copy(tree))
        article.of(order[0])
        second = article.of(order[1])
        alone = Article(copy(tree)).of(order[1])
        assert (second is None) == (alone is None)
        if second is not None and alone is not None:
            assert serialized(second) == serialized(alone)

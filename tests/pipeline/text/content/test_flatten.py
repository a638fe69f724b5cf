"""Endless nesting and endless attributes."""

import pytest
from lxml.html import document_fromstring

from pipeline.text.content.flatten import flat, lean
from pipeline.text.content.parse import parse_page
from tests.pipeline.text.pages import pages


@pytest.mark.parametrize("tag", ["div", "span", "b", "blockquote", "font", "table", "ul", "x-y"])
@pytest.mark.parametrize("end", [False, True], ids=["open", "closed"])
def test_flat_deep_markup_keeps_its_text_in_order(tag: str, end: bool) -> None:
    markup = "".join(f"<{tag}>w{i} " for i in range(3000)) + f"</{tag}>" * 3000 * end
    tree = document_fromstring(f"<html><body>{flat(markup)}</body></html>")
    assert tree.text_content().split() == [f"w{i}" for i in range(3000)]
    assert max(sum(1 for _ in element.iterancestors()) for element in tree.iter()) < 250


def test_flat_ordinary_pages_have_the_same_text_and_blocks() -> None:
    for markup in pages(50, seed=6):
        before, after = document_fromstring(markup), document_fromstring(flat(markup))
        assert after.text_content() == before.text_content()
        assert [e.tag for e in after.iter("p", "li")] == [e.tag for e in before.iter("p", "li")]


def test_flat_tags_in_scripts_and_comments_are_not_tags() -> None:
    inert = "<!-- <div> --><script>if (a<b) '<div>'</script><textarea><div></textarea>" * 500
    assert flat(inert) == inert


@pytest.mark.parametrize("junk", ["<!--", "<script>", "<", "</", "<a", "</div>", "<p ", "<?x "])
def test_flat_unfinished_markup_takes_linear_time_and_loses_no_text(junk: str) -> None:
    text = flat(junk * 100_000 + "text")
    assert text.endswith("text")


def test_parse_page_deeper_than_the_parser_reads_has_all_text() -> None:
    tree = parse_page("<html><body>" + "<div>" * 5000 + "<p>at the bottom</p>" + "</div>" * 5000)
    assert tree is not None
    assert tree.text_content().strip() == "at the bottom"


def test_lean_thousands_of_attributes_are_left_out_and_long_values_stay() -> None:
    many = " ".join(f"a{i}=1" for i in range(60_000))
    data = "data:image/png;base64," + "A=" * 20_000
    assert lean(f"<p {many}>x</p><img src='{data}'>") == f"<p>x</p><img src='{data}'>"

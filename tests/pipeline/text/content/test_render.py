"""Bodies as text: what trafilatura's own function gives."""

import pytest
from lxml.etree import fromstring
from trafilatura.xml import xmltotxt

from pipeline.text.content.render import render


@pytest.mark.parametrize(
    "markup",
    [
        "<body><head>A</head><p>one</p> tail <p>two</p>more</body>",
        "<body><list><item>a</item><item>b</item></list><p>x</p></body>",
        "<body><list><item>a<list><item>b</item></list></item></list>after</body>",
        "<body><list>t<item>a</item></list><list><item> </item></list></body>",
        "<body><table><row><cell>1</cell><cell>2|3</cell></row></table><p>x</p></body>",
        "<body><p/><p></p><quote>q<p>in</p></quote><lb/>tail<code>c\n  d</code>z</body>",
        "<body><p>&amp;amp; &amp;nbsp; &#8203;zero</p><p>soft&#173;hyphen</p></body>",
        "<body>text<p>a</p></body>",
        "<div><p>a</p><p>b</p></div>",
        "<p>only<hi>this</hi></p>",
        "<body/>",
    ],
)
def test_render_body_is_what_trafilatura_writes(markup: str) -> None:
    assert render(fromstring(markup)) == xmltotxt(fromstring(markup), False)

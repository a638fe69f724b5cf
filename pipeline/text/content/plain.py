"""The plain extractor: resiliparse's text of a page, in linear time, for pages that are too much.

Its main content where it finds any (blocks that are not named like furniture), else all that a
browser would show.
"""

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from pipeline.text.content.flatten import flat, lean


def plain_text(markup: str, *, comments: bool) -> str:
    r"""Returns a page's text, one line per block.

    >>> plain_text("<p>One</p><nav>Menu</nav><p>Two", comments=False)
    'One\nTwo'
    """
    tree = HTMLTree.parse(flat(lean(markup)))
    for main_content in (True, False):
        text = extract_plain_text(
            tree,
            preserve_formatting=True,
            main_content=main_content,
            list_bullets=False,
            alt_texts=False,
            links=False,
            form_fields=False,
            noscript=False,
            comments=comments,
        )
        lines = filter(None, map(str.strip, text.splitlines()))
        if joined := "\n".join(lines):
            return joined
    return ""

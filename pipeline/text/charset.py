"""Bytes of a page to text: which charset, and who said so.

Order: byte order mark, HTTP header, `<meta>`, detector (strict UTF-8 first). A declaration that
cannot be right, because over a tenth of the bytes beyond ASCII do not decode, is passed over.
Labels mean what the WHATWG encoding standard says they mean (`iso-8859-1` is windows-1252, `gb2312`
is GB 18030, a `<meta>` that says UTF-16 means UTF-8).
"""

import codecs
import re
from collections.abc import Iterator
from typing import NamedTuple

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META = re.compile(rb"<meta\s[^>]*?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_HEADER = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_META_BYTES = 4096  # browsers look at 1,024; long comments and scripts before it are common
_DETECTOR_BYTES = 131_072
_MAX_BAD_FRAC = 0.1
_ASCII = bytes(range(128))

# Python's codecs are narrower than the standard's decoders of the same name.
_WIDER = {"gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs"}


class Decoded(NamedTuple):
    """A page's text, the Python codec that read it, and what named it."""

    text: str
    charset: str
    source: str


def decode(body: bytes, content_type: str) -> Decoded:
    r"""Returns a page's text.

    Args:
        body: The page.
        content_type: The HTTP header's value, "" if there was none.

    >>> decode(b"caf\xe9", "text/html; charset=latin1")
    Decoded(text='café', charset='cp1252', source='header')
    >>> decode("café".encode(), "text/html; charset=nonsense")
    Decoded(text='café', charset='utf-8', source='detector')
    """
    n_beyond_ascii = len(body.translate(None, _ASCII))
    for charset, source in _candidates(body, content_type):
        text = body.decode(charset, "replace")
        if source == "bom":
            return Decoded(text.removeprefix("\ufeff"), charset, source)
        if text.count("\ufffd") <= _MAX_BAD_FRAC * n_beyond_ascii:
            return Decoded(text, charset, source)
    return Decoded(body.decode("cp1252", "replace"), "cp1252", "detector")


def _candidates(body: bytes, content_type: str) -> Iterator[tuple[str, str]]:
    """Yields (codec, source), the strongest first."""
    yield from ((charset, "bom") for mark, charset in _BOMS if body.startswith(mark))
    declared = _HEADER.search(content_type)
    if declared and (charset := codec(declared[1])):
        yield charset, "header"
    named = _META.search(body, 0, _META_BYTES)
    if named and (charset := codec(named[1].decode("ascii"))):
        yield ("utf-8" if charset.startswith("utf-16") else charset), "meta"
    if _is_utf8(body):
        yield "utf-8", "detector"
    guess = detect_encoding(body, max_len=_DETECTOR_BYTES)
    if guess and (charset := codec(guess)):
        yield charset, "detector"


def codec(label: str) -> str | None:
    """Returns the Python codec for a label of the web, None for one that is not known.

    >>> codec("ISO-8859-1"), codec("gb2312"), codec("utf-7")
    ('cp1252', 'gb18030', None)
    """
    name = map_encoding_to_html5(label, fallback_utf8=False)
    return _WIDER.get(name, name) if name else None


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

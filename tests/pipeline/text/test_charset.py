"""Which charset a page is read with, and who named it."""

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import charset

_GERMAN = "Füße im Gewässer, Größe und Übermut; schöne Grüße aus der Höhle."
_RUSSIAN = "Широкая электрификация южных губерний даст мощный толчок подъёму сельского хозяйства."


def test_decode_declarations_disagree_order_is_bom_header_meta_detector() -> None:
    meta = '<html><head><meta charset="windows-1251"></head>' + _RUSSIAN
    body = meta.encode("cp1251")
    assert charset.decode(body, "text/html; charset=koi8-r")[1:] == ("koi8-r", "header")
    assert charset.decode(body, "text/html") == (meta, "cp1251", "meta")
    marked = codecs.BOM_UTF8 + meta.encode()
    assert charset.decode(marked, "text/html; charset=koi8-r") == (meta, "utf-8", "bom")
    assert charset.decode(_RUSSIAN.encode("cp1251"), "")[1:] == ("cp1251", "detector")


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_decode_utf16_with_bom_is_read(order: str) -> None:
    mark = codecs.BOM_UTF16_LE if order.endswith("le") else codecs.BOM_UTF16_BE
    assert charset.decode(mark + _GERMAN.encode(order), "") == (_GERMAN, order, "bom")


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("iso-8859-1", "cp1252"),
        ("US-ASCII", "cp1252"),
        ("gb2312", "gb18030"),
        ("Shift_JIS", "cp932"),
        ("ks_c_5601-1987", "cp949"),
        ("big5", "big5hkscs"),
        ("x-no-such-thing", None),
        ("utf-7", None),
    ],
)
def test_codec_label_of_the_web_is_what_browsers_take(label: str, codec: str | None) -> None:
    assert charset.codec(label) == codec


def test_decode_header_says_utf8_but_page_is_not_next_declaration_counts() -> None:
    html = '<meta charset="windows-1252">' + "plain ASCII text " * 500 + _GERMAN
    decoded = charset.decode(html.encode("cp1252"), "text/html; charset=utf-8")
    assert decoded == (html, "cp1252", "meta")


def test_decode_utf8_with_one_broken_byte_stays_utf8() -> None:
    body = (_GERMAN * 20).encode() + b"\xff"
    decoded = charset.decode(body, "text/html; charset=utf-8")
    assert decoded == (_GERMAN * 20 + "\ufffd", "utf-8", "header")


def test_decode_meta_says_utf16_but_was_read_as_ascii_is_utf8() -> None:
    html = f'<meta charset="utf-16">{_GERMAN}'
    assert charset.decode(html.encode(), "") == (html, "utf-8", "meta")


@settings(deadline=None)
@given(st.binary(max_size=300), st.text(max_size=40))
def test_decode_any_bytes_any_header_gives_text(body: bytes, content_type: str) -> None:
    decoded = charset.decode(body, content_type)
    codecs.lookup(decoded.charset)
    assert decoded.source in ("bom", "header", "meta", "detector")

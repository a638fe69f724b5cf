"""Bodies: what is inflated at once is what zlib makes of it, whole, damaged or too long."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.store import content
from pipeline.store.content import Decoded

_WINDOWS = {"gzip": [31], "deflate": [15, -15]}


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[bytes, str, int]:
    """Draws a body with up to two bytes changed, perhaps cut or padded, its coding, and a limit."""
    name = draw(st.sampled_from(sorted(_WINDOWS)))
    text = draw(st.binary(max_size=40)) * draw(st.integers(1, 60))
    level = draw(st.sampled_from([0, 1, 6]))
    deflater = zlib.compressobj(level, zlib.DEFLATED, draw(st.sampled_from(_WINDOWS[name])))
    body = bytearray(deflater.compress(text) + deflater.flush())
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.one_of(st.integers(0, 11), st.integers(-9, -1), st.integers(0, 5000)))
        body[place % len(body)] = draw(st.integers(0, 255))
    end = draw(st.one_of(st.just(len(body)), st.integers(0, len(body))))
    return bytes(body[:end]) + draw(st.binary(max_size=3)), name, draw(st.integers(1, 3000))


@given(_bodies())
def test_body_is_what_zlib_alone_makes_of_it(drawn: tuple[bytes, str, int]) -> None:
    found = content.decode(*drawn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "_inflate_member", lambda *_: None)
        assert found == content.decode(*drawn)


@pytest.mark.parametrize("flags", [0x20, 0x40, 0x80])
def test_reserved_flag_of_gzip_is_damage(flags: int) -> None:
    body = bytearray(zlib.compress(b"page", wbits=31))
    body[3] |= flags
    assert content.decode(bytes(body), "gzip", 100) == Decoded(b"", "gzip", exceeded=False)


def test_wrong_checksum_is_damage_that_keeps_the_text() -> None:
    body = bytearray(zlib.compress(b"page" * 1000, wbits=31))
    body[-5] ^= 1
    assert content.decode(bytes(body), "gzip", 9999) == Decoded(b"page" * 1000, "gzip", False)


def test_bomb_is_cut_at_the_limit() -> None:
    bomb = zlib.compress(bytes(50_000_000), wbits=31)
    assert content.decode(bomb, "gzip", 1000) == Decoded(bytes(1000), "", exceeded=True)

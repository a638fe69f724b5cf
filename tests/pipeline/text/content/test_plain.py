"""The plain extractor: text in linear time."""

from pipeline.text.content.plain import plain_text

_PROSE = "<p>The lighthouse has not been lit for thirty years, and people still talk.</p>" * 3


def test_plain_text_page_with_surroundings_has_the_main_text_only() -> None:
    page = f"<body><nav><a href=/>Home</a></nav><main>{_PROSE}</main><footer>Imprint</footer>"
    text = plain_text(page, comments=False)
    assert text.count("lighthouse") == 3
    assert "Home" not in text
    assert "Imprint" not in text


def test_plain_text_nothing_but_furniture_is_given_whole() -> None:
    assert plain_text("<body><nav><a href=/>Home</a></nav>", comments=False) == "Home"


def test_plain_text_nothing_to_see_is_empty() -> None:
    assert plain_text("<script>let a = 1</script>", comments=False) == ""

"""Stand-ins are told from pages: by hand-made cases of both kinds, the second the harder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawl import optout, walls
from crawl.walls import Answer
from pipeline.store import warc
from pipeline.store.warc import Response

HERE = "http://a.test/2016/page.html"
ARTICLE = "<p>" + "An article of some length about what servers answer and why. " * 60


def _judge(
    body: str, url: str = HERE, link: str = HERE, headers: list[tuple[str, str]] | None = None
) -> str:
    found = walls.judge(Answer(link, url, headers or [], body.encode()))
    return found.reason if found else ""


def _titled(title: str, text: str = "<p>Go back or search.") -> str:
    return f"<!doctype html><html><head><TITLE lang=x>\n {title} </TITLE></head><body>{text}</body>"


@pytest.mark.parametrize(
    ("title", "reason"),
    [
        ("404", "soft_404"),
        ("404 Not Found", "soft_404"),
        ("Error 404 - Example", "soft_404"),
        ("Page not found | Example News", "soft_404"),
        ("Sorry, this page doesn&rsquo;t exist", "soft_404"),
        ("The page could not be found", "soft_404"),
        ("This story is no longer available", "soft_404"),
        ("Página no encontrada", "soft_404"),
        ("Seite nicht gefunden - Beispiel", "soft_404"),
        ("Страница не найдена", "soft_404"),
        ("ページが見つかりません", "soft_404"),
        ("Just a moment...", "captcha"),
        ("Attention Required! | Cloudflare", "captcha"),
        ("Robot Check", "captcha"),
        ("Are you a robot?", "captcha"),
        ("Pardon Our Interruption", "captcha"),
        ("Before you continue to Example", "consent_wall"),
        ("Your privacy choices", "consent_wall"),
        ("We value your privacy", "consent_wall"),
    ],
)
def test_short_page_with_the_title_of_a_stand_in_is_one_and_a_long_one_is_not(
    title: str, reason: str
) -> None:
    assert _judge(_titled(title)) == reason
    assert _judge(_titled(title, ARTICLE)) == ""


@pytest.mark.parametrize(
    "title",
    [
        "", "Home", "A short note", "404 kilometres by bicycle", "Peugeot 404", "Room 404 reviewed",
        "How we found nothing", "Lost and found", "Not found guilty", "Access for all",
        "Security checklist for small sites", "A moment in time", "Robot checks in at a hotel",
        "Cookie recipes", "Cookies and privacy: a history", "The unavailable man",
        "What the files did not say",
    ],
)  # fmt: skip
def test_short_page_about_something_else_is_a_page(title: str) -> None:
    assert _judge(_titled(title)) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('<script src="/cdn-cgi/challenge-platform/h/b/x.js"></script>Wait', "captcha"),
        ('<div class="g-recaptcha" data-sitekey="x"></div>', "captcha"),
        ('<iframe src="https://geo.captcha-delivery.com/captcha/?x">', "captcha"),
        ("<script>" + "var x = 1; " * 5000 + "</script><div class='h-captcha'></div>", "captcha"),
        ('<p>A comment form.</p><div class="g-recaptcha"></div>' + ARTICLE, ""),
        ('<div class="g-recaptcha"></div><p>' + "A short note of a few lines. " * 12, ""),
    ],
)
def test_marker_of_a_service_counts_where_there_is_nearly_no_text(text: str, reason: str) -> None:
    assert _judge(_titled("", text)) == reason


def test_header_of_a_challenge_is_enough() -> None:
    assert _judge(ARTICLE, headers=[("CF-Mitigated", "challenge")]) == "captcha"


@pytest.mark.parametrize(
    ("link", "url", "reason"),
    [
        ("http://a.org/2016/page.html", "http://a.org/", "soft_404"),
        ("http://a.org/2016/page.html", "https://www.a.org/index.php", "soft_404"),
        ("http://a.org/2016/page.html", "https://a.org/Default.aspx", "soft_404"),
        ("http://a.org/", "https://www.a.org/", ""),
        ("http://a.org/index.html", "https://www.a.org/", ""),
        ("http://short.test/x7", "http://a.org/", ""),
        ("http://a.org/2016/page.html", "http://a.org/?p=17", ""),
        ("http://a.org/2016/page.html", "http://a.org/2016/", ""),
        ("http://user.github.io/x", "http://other.github.io/", ""),
        ("http://old.bbc.co.uk/x", "http://bbc.co.uk/", "soft_404"),
        ("http://a.org/x", "https://consent.a.org/?continue=x", "consent_wall"),
        ("http://a.org/x", "https://a.org/cookie-wall?back=x", "consent_wall"),
        ("http://consent.a.org/about", "http://consent.a.org/about", ""),
    ],
)
def test_redirect_to_a_front_page_or_a_question_is_no_page(
    link: str, url: str, reason: str
) -> None:
    assert _judge("<p>Welcome", url, link) == reason


@given(st.binary(max_size=400), st.text(max_size=30), st.text(max_size=30))
def test_any_bytes_get_a_verdict(body: bytes, link: str, url: str) -> None:
    found = walls.judge(Answer(link, url, [], b"<title>404" + body))
    assert found is None or found.reason in walls.REASONS


@pytest.mark.timeout(60)  # a pattern that explodes takes for ever; these take a tenth of a second
@pytest.mark.parametrize("piece", ["<", "<script", "<!--", "<title", "<script></", "&#"])
def test_page_of_a_quarter_megabyte_of_one_piece_is_judged_at_once(piece: str) -> None:
    page = "<title>404</title>" + piece * ((250 << 10) // len(piece))
    _judge(page)
    optout.in_html(page.encode()[: optout.HEAD_BYTES], "bot")


def test_pages_of_real_archives_are_pages(real_data: Path) -> None:
    """Every verdict was looked at; what is listed is a stand-in."""
    verdicts = []
    n_pages = 0
    for path in sorted((real_data / "warc").rglob("*.warc.gz")):
        for found in warc.read_responses(path):
            if isinstance(found, Response) and found.http_status == 200 and found.body:
                n_pages += 1
                answer = Answer(found.url, found.url, found.http_headers, found.body)
                if verdict := walls.judge(answer):
                    verdicts.append((found.url, verdict.reason, verdict.detail))
    assert n_pages > 60
    assert verdicts == []

"""Pages that stand in for the page that was asked for, although the status says 200.

    soft_404       the page says that there is none, or the link led to the site's front page
    consent_wall   a question about cookies in place of the page
    captcha        a test whether a person asks

Decisions:
- Precision before recall: a wrong verdict loses a page, a missed one leaves a few words that the
  cleaning rules drop. So a name alone proves nothing: the page must also be short. An article
  about error pages is long.
- What a service's own pages hold (names of its scripts, its headers) counts more than phrases;
  phrases are looked for in the title only.
- A link that ends at `/` of the same registered domain after a redirect is a page that is gone
  (many sites answer all dead addresses so). Over another domain it is what a shortener does.
- No request is made to find out what a site answers to an invented path: that would be one more
  request to every host.
"""

import html
import re
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.store import urls
from pipeline.store.records import Drop

REASONS = ("soft_404", "consent_wall", "captcha")

_HEAD_BYTES = 64 << 10  # where title and markers are looked for
_MAX_BYTES = 256 << 10  # a longer page stands for itself
_MAX_WORDS = 250  # of a stand-in; Cloudflare's has about 60, long error pages with menus about 200
_FEW_WORDS = 60  # with a service's script alone: comment forms and contact pages have it too
_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{0,500})", re.IGNORECASE)
# What is not closed reaches to the end: else a page of nothing but beginnings takes minutes.
_NO_TEXT = re.compile(
    rb"<!--.*?(?:-->|\Z)|<(script|style|noscript|template)\b.*?(?:</\1\s*>|\Z)|<[^>]*(?:>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_WORD = re.compile(r"\w+")
_GONE = re.compile(
    r"^(?:error\W*)?404\s*(?:$|[^\w\s])|\b404\W*(?:error|not found|page)|(?:error|http)\W*404\b"
    r"|(?:page|file|article|document|url|content|story|post)s? (?:was |is |could )?"
    r"(?:not (?:be )?found|no longer available|does(?: not|n.t) exist|unavailable)"
    r"|can(?:not|.t) (?:be found|find (?:that|the|this) page)|^not found$|^nothing found"
    r"|página no encontrada|página não encontrada|page (?:introuvable|non trouvée)"
    r"|seite (?:wurde )?nicht gefunden|pagina (?:non trovata|niet gevonden)"
    r"|страница не найдена|sidan (?:kunde inte hittas|hittades inte)|ページが見つかりません"
    r"|页面不存在|找不到(?:该|您|网)?.{0,4}页"
)
_TEST_TITLE = re.compile(
    r"^just a moment|^attention required! \| cloudflare|^robot check\b|^are you a (?:robot|human)"
    r"|^pardon our interruption|^access (?:to this page has been )?denied|^security check\b"
    r"|^human verification|^ddos.guard|^checking your browser|^one moment, please|\bcaptcha\b"
    r"|^verif(?:y|ying) (?:that )?you are (?:a )?human"
)
_CAPTCHA = b"captcha"  # is asked first: five searches less in nearly every page
_CAPTCHA_TESTS = (
    b"captcha-delivery.com",
    b"px-captcha",
    b"distil_r_captcha",
    b"g-recaptcha",
    b"h-captcha",
)
_OTHER_TESTS = (
    b"/cdn-cgi/challenge-platform/",
    b"cf-browser-verification",
    b"_incapsula_resource",
    b"awswafintegration",
    b"cf-turnstile",
)
_CONSENT_HOST = re.compile(r"^(?:consent|guce|cookiewall|privacy-?gate|myprivacy)\.")
_CONSENT_PATH = re.compile(r"/(?:cookie-?wall|collect-?consent|cookie-?consent|gdpr-?consent)\b")
_CONSENT_TITLE = re.compile(
    r"^before you continue|^(?:your )?(?:cookie|privacy) (?:choices|consent|settings)\b"
    r"|is part of the yahoo family|^dpg media privacy gate|^we value your privacy"
)
_FRONT = re.compile(r"/(?:(?:index|default|home)(?:\.\w{2,5})?)?/?", re.IGNORECASE)


class Answer(NamedTuple):
    """A whole 2xx answer: where it was found, its headers, its body as far as it is looked at.

    `link` is what was asked for, `url` where the redirects led.
    """

    link: str
    url: str
    headers: Iterable[tuple[str, str]]
    body: bytes


def judge(answer: Answer) -> Drop | None:
    """Returns what the answer is in place of the page, None if it is the page.

    >>> page = b"<title>Page not found</title><p>Sorry."
    >>> judge(Answer("http://a.test/x", "http://a.test/x", [], page)).reason
    'soft_404'
    >>> judge(Answer("http://a.test/x", "http://a.test/x", [], page + b" word" * 999)) is None
    True
    """
    if _leads_home(answer):
        return Drop("soft_404", "redirected to the front page")
    if any(name.lower() == "cf-mitigated" for name, _ in answer.headers):
        return Drop("captcha", "cf-mitigated")
    suspected = _suspicion(answer)
    return suspected if suspected is not None and _is_short(answer.body) else None


def _suspicion(answer: Answer) -> Drop | None:
    """Returns what title, markers and address make of a page, if it is short."""
    head = answer.body[:_HEAD_BYTES]
    title = _title(head)
    url = urls.parse(answer.url)
    if url is not None and answer.url != answer.link and _asks_for_consent(url):
        return Drop("consent_wall", url.host)
    if _CONSENT_TITLE.search(title):
        return Drop("consent_wall", f"title: {title}"[:100])
    if _TEST_TITLE.search(title):
        return Drop("captcha", f"title: {title}"[:100])
    if _GONE.search(title):
        return Drop("soft_404", f"title: {title}"[:100])
    small = head.lower()
    marks = (*_CAPTCHA_TESTS, *_OTHER_TESTS) if _CAPTCHA in small else _OTHER_TESTS
    mark = next((mark for mark in marks if mark in small), None)
    return Drop("captcha", mark.decode()) if mark and _n_words(answer.body) < _FEW_WORDS else None


def _asks_for_consent(url: urls.Url) -> bool:
    return bool(_CONSENT_HOST.match(url.host) or _CONSENT_PATH.search(url.path.lower()))


def _leads_home(answer: Answer) -> bool:
    """Returns whether a redirect led from a page to the front page of the same domain."""
    link, url = urls.parse(answer.link), urls.parse(answer.url)
    if link is None or url is None or url.query or _FRONT.fullmatch(url.path) is None:
        return False
    was_page = _FRONT.fullmatch(link.path) is None
    return was_page and urls.registered_domain(link.host) == urls.registered_domain(url.host)


def _title(head: bytes) -> str:
    found = _TITLE.search(head)
    text = html.unescape(found[1].decode("utf-8", "replace")) if found else ""
    return " ".join(text.lower().replace("\u2019", "'").split())


def _is_short(body: bytes) -> bool:
    return len(body) <= _MAX_BYTES and _n_words(body) <= _MAX_WORDS


def _n_words(body: bytes) -> int:
    """Returns how many words a page shows, its first 256 KiB alone."""
    text = _NO_TEXT.sub(b" ", body[:_MAX_BYTES]).decode("utf-8", "replace")
    return sum(1 for _ in _WORD.finditer(html.unescape(text)))

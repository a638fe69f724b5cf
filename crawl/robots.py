"""What a site's robots.txt says to this crawler: RFC 9309, closed when in doubt.

    fetched        │ 2xx                 │ 4xx but 429     │ 5xx, 429, no answer, too many redirects
    the crawl may  │ what the rules say  │ fetch anything  │ fetch nothing (`robots_unreachable`)

Decisions:
- The groups for this crawler are chosen here, by the exact product token, all that match merged,
  `*` only when none does; Protego then matches paths. (Protego alone also takes a group whose name
  is a part of ours, and reads more into `Allow: /index.html` than the RFC.)
- Lines are read as bytes arrive in the wild: byte order mark, NUL, bare carriage returns, missing
  colons and the common misspellings are understood; a rule cut at the size limit is no rule.
- `Crawl-delay` is outside the RFC and honoured all the same, if it is a number.
- Preferences about training (`Content-Signal: ai-train=no`, `Content-Usage: train-ai=n`) are read
  from the same groups. There is no setting that turns robots.txt off.

Paper: RFC 9309, sections 2.2.1 (user-agent), 2.2.2 (matching), 2.3.1 (access), 2.5 (limits).
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from protego import Protego

MAX_BYTES = 512 << 10  # RFC 9309 section 2.5 asks for at least 500 KiB
MAX_REDIRECTS = 5  # section 2.3.1.2
MAX_AGE_S = 24 * 3600  # section 2.4
UNREACHABLE = "robots_unreachable"

_FIELDS = {
    "user-agent": ("user-agent", "useragent", "user agent"),
    "allow": ("allow",),
    "disallow": ("disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"),
    "crawl-delay": ("crawl-delay", "crawl delay", "crawldelay"),
    "content-signal": ("content-signal",),
    "content-usage": ("content-usage",),
}
_FIELD_OF = {alias: field for field, aliases in _FIELDS.items() for alias in aliases}
_PRODUCT = re.compile(r"[A-Za-z_-]*")
_LINE_END = re.compile(r"\r\n|\r|\n")
_OTHER_LINE_ENDS = re.compile("[\v\f\x1c-\x1e\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What one origin allows.

    `crawl_delay_s` is None where none is given; `opt_outs` are preferences about use such as
    `ai-train=no`.
    """

    is_reachable: bool
    crawl_delay_s: float | None
    opt_outs: tuple[str, ...]
    matcher: Protego | None

    def allows(self, url: str) -> bool:
        """Returns whether a URL of this origin may be fetched."""
        return self.is_reachable and (self.matcher is None or self.matcher.can_fetch(url, "*"))


FORBIDDEN = Rules(is_reachable=False, crawl_delay_s=None, opt_outs=(), matcher=None)
FREE = Rules(is_reachable=True, crawl_delay_s=None, opt_outs=(), matcher=None)


def is_retryable(status: int) -> bool:
    """Returns whether a status says that the rules cannot be had now."""
    return status == 429 or status >= 500


def judge(status: int, body: bytes, product: str, *, is_cut: bool = False) -> Rules:
    """Returns what an answer to a request for robots.txt means.

    Args:
        status: Of the last answer; a redirect here means that there were too many.
        body: As it was meant, Content-Encoding undone.
        product: This crawler's product token.
        is_cut: Whether the body was cut at the size limit.

    >>> judge(404, b"", "bot").allows("http://a.test/x"), judge(503, b"", "bot").allows("/")
    (True, False)
    """
    if 200 <= status < 300:
        return parse(body, product, is_cut=is_cut)
    return FREE if 400 <= status < 500 and not is_retryable(status) else FORBIDDEN


def parse(body: bytes, product: str, *, is_cut: bool = False) -> Rules:
    r"""Returns the rules of a robots.txt for one crawler.

    Args:
        body: The file.
        product: The crawler's product token, letters, `_` and `-`.
        is_cut: Whether the last line may be incomplete.

    >>> rules = parse(b"User-agent: *\nDisallow: /a\nAllow: /a/b\nCrawl-delay: 2", "bot")
    >>> rules.allows("http://x.test/a/c"), rules.allows("http://x.test/a/b"), rules.crawl_delay_s
    (False, True, 2.0)
    """
    lines = list(_lines(body[:MAX_BYTES], is_cut=is_cut or len(body) > MAX_BYTES))
    chosen = _chosen(lines, product)
    paths = [
        f"{field}: {_as_written(value)}"
        for field, value in chosen
        if field in ("allow", "disallow")
    ]
    delays = [_seconds(value) for field, value in chosen if field == "crawl-delay"]
    return Rules(
        is_reachable=True,
        crawl_delay_s=max((d for d in delays if d is not None), default=None),
        opt_outs=_opt_outs(chosen),
        matcher=Protego.parse("\n".join(["user-agent: *", *paths])) if paths else None,
    )


def _as_written(pattern: str) -> str:
    """Returns a pattern that Protego takes as the RFC does.

    Google's rule, which Protego has and the RFC has not, is that who allows `/a/index.html` allows
    `/a/` too. A `*` at the end changes nothing else but that the pattern counts one octet more.
    """
    return f"{pattern}*" if pattern.endswith("/index.html") else pattern


def _lines(body: bytes, *, is_cut: bool) -> Iterator[tuple[str, str]]:
    """Yields (field, value) of every line that has a known field."""
    text = body.decode("utf-8-sig", "replace").replace("\0", "")
    lines = _LINE_END.split(text)
    for line in lines[:-1] if is_cut else lines:
        content = line.partition("#")[0].strip()
        name, colon, value = content.partition(":")
        field = _FIELD_OF.get(name.strip().lower())
        if field is None and len(words := content.split()) == 2:  # "Disallow /path"
            field, value = _FIELD_OF.get(words[0].lower()), words[1]
        if field is not None and (colon or value):
            yield field, _OTHER_LINE_ENDS.sub(lambda m: quote(m[0]), value.strip())


def _chosen(lines: list[tuple[str, str]], product: str) -> list[tuple[str, str]]:
    """Returns the lines of all groups for this product, else of all groups for everyone."""
    ours: list[tuple[str, str]] = []
    everyones: list[tuple[str, str]] = []
    is_named = False
    agents: set[str] = set()
    is_open = False  # whether the next user-agent line joins the group
    for field, value in lines:
        if field == "user-agent":
            agents = agents if is_open else set()
            agents.add(_agent(value))
            is_open = True
            is_named = is_named or product.lower() in agents
            continue
        if field in ("allow", "disallow"):  # other lines must not end a group's beginning
            is_open = False
        if product.lower() in agents:
            ours.append((field, value))
        if "*" in agents:
            everyones.append((field, value))
    return ours if is_named else everyones


def _agent(value: str) -> str:
    """Returns a user-agent value as a product token or `*`.

    >>> _agent("FooBot/2.1 (news)"), _agent("* # all"), _agent("")
    ('foobot', '*', '')
    """
    first = value.partition(" ")[0]
    return "*" if first == "*" else str(_PRODUCT.match(value)[0]).lower()  # type: ignore[index]


def _seconds(value: str) -> float | None:
    """Returns a delay in seconds; None for what is no sensible number.

    >>> _seconds("1.5"), _seconds("nan"), _seconds("-1"), _seconds("1e99")
    (1.5, None, None, 1e+99)
    """
    try:
        seconds = float(value.partition(" ")[0])
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _opt_outs(lines: list[tuple[str, str]]) -> tuple[str, ...]:
    found = [
        preference
        for field, value in lines
        if field in ("content-signal", "content-usage")
        for preference in preferences(value)
    ]
    return tuple(sorted(set(found)))


def preferences(value: str) -> list[str]:
    """Returns the refusals in a preference list, the same form for header and robots.txt.

    A path before the list (`/drafts/ train-ai=n`) makes it speak of a part of the site; that part
    is not weighed, so the whole site is taken to refuse.

    >>> preferences("search=yes, ai-train=no"), preferences("/ train-ai=n"), preferences("ai=y")
    (['ai-train=no'], ['train-ai=n'], [])
    """
    words = [word.strip().lower() for word in re.split(r"[,;\s]+", value)]
    return [word for word in words if re.fullmatch(r"[a-z-]+=(n|no)", word)]

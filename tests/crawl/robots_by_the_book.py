"""A second reader of robots.txt, written from the text of RFC 9309 alone; judges the first one.

It shares no code and no library with `crawl.robots`. Of that module's leniency it knows the
misspellings that are listed there, for files in the wild are full of them.
"""

import re

_MEANT = {
    "useragent": "user-agent",
    "user agent": "user-agent",
    "dissallow": "disallow",
    "dissalow": "disallow",
    "disalow": "disallow",
    "diasllow": "disallow",
    "disallaw": "disallow",
}
_PLAIN = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

Rule = tuple[bool, bytes]


def groups(body: bytes) -> list[tuple[set[str], list[Rule]]]:
    """Returns the groups of a file: who is meant, and (is_allowed, pattern) in order."""
    found: list[tuple[set[str], list[Rule]]] = []
    is_heading = False
    for line in re.split(rb"\r\n|\r|\n", body.removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"")):
        name, value = _line(line.partition(b"#")[0].decode("utf-8", "replace").strip())
        if name == "user-agent":
            if not is_heading:
                found.append((set(), []))
            found[-1][0].add(_token(value))
            is_heading = True
        elif name in ("allow", "disallow"):
            is_heading = False
            if found and value:
                found[-1][1].append((name == "allow", normal(value.encode())))
    return found


def _line(text: str) -> tuple[str, str]:
    if ":" in text:
        name, _, value = text.partition(":")
    elif len(text.split()) == 2:
        name, value = text.split()
    else:
        return "", ""
    name = name.strip().lower()
    if ":" in text and _MEANT.get(name, name) not in ("user-agent", "allow", "disallow"):
        words = text.split()  # "Disallow http://..." has its colon elsewhere
        name, value = (words[0].lower(), words[1]) if len(words) == 2 else ("", "")
    return _MEANT.get(name, name), value.strip()


def _token(value: str) -> str:
    if value.split(" ", maxsplit=1)[0] == "*":
        return "*"
    letters = re.match("[A-Za-z_-]*", value)
    return letters[0].lower() if letters else ""


def normal(text: bytes) -> bytes:
    """Returns octets as section 2.2.2 compares them: needless escapes undone, needed ones made."""
    out = bytearray()
    i = 0
    while i < len(text):
        octet = text[i]
        if octet == 0x25 and re.match(rb"%[0-9A-Fa-f]{2}", text[i : i + 3]):
            meant = int(text[i + 1 : i + 3], 16)
            out += bytes([meant]) if meant in _PLAIN else b"%%%02X" % meant
            i += 3
            continue
        out += b"%%%02X" % octet if octet > 0x7E or octet <= 0x20 else bytes([octet])
        i += 1
    return bytes(out)


def matches(pattern: bytes, path: bytes) -> bool:
    """Returns whether a pattern matches a path from its beginning, by section 2.2.3 alone."""
    is_anchored = pattern.endswith(b"$")
    pattern = pattern[:-1] if is_anchored else pattern + b"*"
    ends = {0}  # where a match of the pattern so far may end
    for octet in pattern:
        if octet == 0x2A:
            ends = set(range(min(ends), len(path) + 1)) if ends else set()
        else:
            ends = {i + 1 for i in ends if i < len(path) and path[i] == octet}
        if not ends:
            return False
    return len(path) in ends


def chosen(body: bytes, product: str) -> list[Rule]:
    """Returns the rules of all groups for a crawler, else of all groups for everyone."""
    known = groups(body)
    named = [rules for agents, rules in known if product.lower() in agents]
    found = named or [rules for agents, rules in known if "*" in agents]
    return [rule for rules in found for rule in rules]


def allows(rules: list[Rule], path: str) -> bool:
    """Returns whether a path (with query) of the file's origin may be fetched."""
    if path == "/robots.txt":
        return True
    wanted = normal(path.encode())
    hits = [(len(pattern), is_allowed) for is_allowed, pattern in rules if matches(pattern, wanted)]
    return max(hits)[1] if hits else True

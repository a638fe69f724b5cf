"""Tokenized text back to how people write it, and the inverse that proves nothing was lost.

    it was n't `` black monday '' .   ── detokenize ──>   it wasn't "black monday".
                                      <── retokenize ──

Decisions:
- A convention is a table: which tokens are written without the blank before or after them, and
  what the inverse takes off the beginning, the end and the inside of a word. No rule is code.
- Removing a blank can lose information ("the X ." and "the X." look alike afterwards).
  `detokenize_exactly` therefore checks each line against the inverse, puts back the blanks that the
  inverse needs, and returns the line as it was when that does not help. `detokenize`, for web
  pages, does not check.
- Tokens are what blanks separate. How many blanks there are (WikiText pads its lines) is layout,
  not content, and is not restored.

Paper: GPT-2 (Radford et al. 2019), section 3.1, "invertible de-tokenizers"; it published no list.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

_MAX_REPAIRS = 200  # blanks put back in one line; the longest real line needs 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """How one tokenizer writes text.

    Attributes:
        surface: What people write for a token, where that differs from the token.
        left: Tokens written without the blank before them.
        right: Tokens written without the blank after them.
        turns: Quotes that open and close with the same token; they are taken in turns.
        numeric: Tokens written without blanks between two digits.
        clitic: Endings that were cut off a word.
        opening: Inverse: what is taken off the beginning of a word, and its token.
        closing: Inverse: what is taken off the end of a word, and its token.
        final: Inverse: what is taken off the end of a line's last word only.
        whole: Inverse: words that are one token.
        inner: Inverse: (pattern, replacement) for what is left of a word, in order.
        escapes: (in tokens, as written) inside any token.
    """

    surface: Mapping[str, str]
    left: frozenset[str]
    right: frozenset[str]
    turns: frozenset[str]
    numeric: frozenset[str]
    clitic: re.Pattern[str]
    opening: Mapping[str, str]
    closing: Mapping[str, str]
    final: frozenset[str]
    whole: re.Pattern[str]
    inner: tuple[tuple[re.Pattern[str], str], ...]
    escapes: tuple[tuple[str, str], ...]


def detokenize(text: str, convention: Convention) -> str:
    r"""Returns text without tokenization marks, line by line.

    >>> detokenize("he said : `` it ca n't be -LRB- yet -RRB- . ''", TREEBANK)
    'he said: "it can\'t be (yet)."'
    >>> detokenize(" a guest @-@ star in ' 39 , costing $ 1 @,@ 500 . ", WIKITEXT)
    "a guest-star in '39, costing $1,500."
    """
    return "\n".join(_join(line.split(), convention, ()) for line in text.split("\n"))


def detokenize_if_tokenized(text: str, min_marks: int, min_frac: float) -> str:
    r"""Returns a text whose tokenized passages are written as people write.

    Commas, periods and WikiText's `@-@` prove it: French and others put blanks before `; : ? !` by
    rule. Lines where all of them are attached to words (code, later additions) neither count nor
    change. A line that has none follows the marked line before it, unless it is indented as code.

    Args:
        text: Any text.
        min_marks: Commas and periods that stand between blanks; fewer prove nothing.
        min_frac: Share of them among all commas and periods at the end of a word.

    >>> detokenize_if_tokenized("a , b ca n't .\nf(x, y)", min_marks=2, min_frac=0.9)
    "a, b can't.\nf(x, y)"
    >>> detokenize_if_tokenized("a, b. c, d .", min_marks=1, min_frac=0.9)
    'a, b. c, d .'
    """
    if text.count(" ,") + text.count(" .") + text.count(" @") < min_marks:
        return text  # most pages end here, 20 times sooner than by the pattern
    lines = text.split("\n")
    spaced = [len(_SPACED_MARK.findall(line)) for line in lines]
    attached = [len(_ATTACHED_MARK.findall(line)) for line in lines]
    n_attached = sum(n for n, m in zip(attached, spaced, strict=True) if m)
    if sum(spaced) < max(min_marks, min_frac * (sum(spaced) + n_attached)):
        return text
    convention = _convention_of(text)
    is_tokenized = False
    for i, line in enumerate(lines):
        if spaced[i] or attached[i]:
            is_tokenized = spaced[i] > 0
        if is_tokenized and (spaced[i] or not line.startswith(("  ", "\t"))):
            lines[i] = _join(line.split(), convention, ())
    return "\n".join(lines)


def _convention_of(text: str) -> Convention:
    """Returns the convention that a tokenized text most likely follows."""
    if _WIKITEXT_MARK.search(text):
        return WIKITEXT
    return ONE_BILLION if _SPLIT_NEGATION.search(text) or ' " ' in text else _ANY_TREEBANK


def detokenize_exactly(line: str, convention: Convention) -> str:
    """Returns a line without those tokenization marks that can be restored.

    For every line, `retokenize(detokenize_exactly(line, c), c) == " ".join(line.split())`, or the
    line comes back unchanged but for its blanks (`is_exact` tells).

    >>> detokenize_exactly("there is no mr . fox . ask dr. x .", TREEBANK)
    'there is no mr . fox. ask dr. x .'
    """
    tokens = line.split()
    kept: set[int] = set()
    for _ in range(_MAX_REPAIRS):
        text = _join(tokens, convention, kept)
        wrong = _first_difference(tokens, retokenize(text, convention).split())
        if wrong is None:
            return text
        if {wrong, wrong + 1} <= kept:
            break
        kept.add(wrong if wrong + 1 in kept else wrong + 1)
    return " ".join(tokens)


def is_exact(line: str, text: str, convention: Convention) -> bool:
    """Returns whether a line can be restored from its detokenized text."""
    return retokenize(text, convention).split() == line.split()


def retokenize(line: str, convention: Convention) -> str:
    r"""Returns a detokenized line as the convention writes it; tokens are joined by one blank.

    >>> retokenize('he said: "it can\'t be (yet)."', TREEBANK)
    "he said : `` it ca n't be -LRB- yet -RRB- . ''"
    """
    *before, last = line.split() or [""]
    tokens = [token for word in before for token in _tokens(word, convention, is_last=False)]
    return " ".join([*tokens, *_tokens(last, convention, is_last=True)])


def _join(tokens: Sequence[str], convention: Convention, kept: Sequence[int] | set[int]) -> str:
    """Writes tokens as text; the blanks before the tokens numbered in `kept` stay."""
    glued = _glued(tokens, convention)
    parts: list[str] = []
    for i, token in enumerate(tokens):
        if i and (i in kept or not glued[i]):
            parts.append(" ")
        parts.append(convention.surface.get(token) or _written(token, convention))
    return "".join(parts)


def _written(token: str, convention: Convention) -> str:
    for escaped, plain in convention.escapes:
        token = token.replace(escaped, plain)
    return token


def _glued(tokens: Sequence[str], convention: Convention) -> list[bool]:
    """Returns for each token whether it is written without the blank before it."""
    glued = [False] * (len(tokens) + 1)
    is_open: dict[str, bool] = {}
    for i, token in enumerate(tokens):
        if token in convention.turns:
            closes = is_open.get(token, False) or _is_possessive(tokens, i)
            is_open[token] = not closes
            glued[i + (not closes)] = True
        elif token in convention.numeric and _is_between_digits(tokens, i):
            glued[i] = glued[i + 1] = True
        elif token in convention.left or (i and convention.clitic.fullmatch(token)):
            glued[i] = True
        if token in convention.right:
            glued[i + 1] = True
    return glued


def _is_between_digits(tokens: Sequence[str], i: int) -> bool:
    return 0 < i < len(tokens) - 1 and tokens[i - 1][-1].isdigit() and tokens[i + 1][0].isdigit()


def _is_possessive(tokens: Sequence[str], i: int) -> bool:
    """Returns whether an apostrophe that no quote waits for belongs to the plural before it."""
    return tokens[i] == "'" and i > 0 and tokens[i - 1][-1] == "s"


def _tokens(word: str, convention: Convention, *, is_last: bool) -> list[str]:
    """Splits one written word: its beginning, then its end, then its inside."""
    if word.isalnum():
        return [word]
    head: list[str] = []
    tail: list[str] = []
    while not convention.whole.fullmatch(word) and (cut := _opening(word, convention)):
        head.append(convention.opening[cut])
        word = word[len(cut) :]
    while not convention.whole.fullmatch(word) and (
        cut := _closing(word, convention, is_last=is_last)
    ):
        tail.append(convention.closing.get(cut, cut))
        word = word[: -len(cut)]
    for pattern, replacement in () if convention.whole.fullmatch(word) else convention.inner:
        word = pattern.sub(replacement, word)
    for escaped, plain in convention.escapes:
        word = word.replace(plain, escaped)
    return [*head, *word.split(), *reversed(tail)]


def _opening(word: str, convention: Convention) -> str:
    """Returns what is taken off the beginning of a word, or ""."""
    return next((cut for cut in convention.opening if word.startswith(cut)), "")


def _closing(word: str, convention: Convention, *, is_last: bool) -> str:
    """Returns what is taken off the end of a word, or ""; a word may end up empty."""
    fits = next((cut for cut in convention.closing if word.endswith(cut)), "")
    if fits in convention.final and not is_last:
        fits = ""
    if fits or convention.turns:  # WikiText cuts apostrophes inside words, not endings
        return fits
    found = _CLITIC_AT_END.search(word)
    return found[0] if found else ""


def _first_difference(expected: Sequence[str], found: Sequence[str]) -> int | None:
    """Returns the index of the first token that differs, None when all are equal."""
    for i, (a, b) in enumerate(zip(expected, found, strict=False)):
        if a != b:
            return i
    shorter = min(len(expected), len(found))
    return None if len(expected) == len(found) else min(shorter, len(expected) - 1)


_WIKITEXT_MARK = re.compile(r"@[-,.]@")
_SPLIT_NEGATION = re.compile(r"n 't(?=\s|\Z)")
# After a word, a quote or a bracket and one blank: not in `. . .`, in columns, or `from . import`.
_SPACED_MARK = re.compile(r" (?:[,.](?<=[\w'\")%>] [,.])(?=\s|\Z)(?! import\b)|@[-,.]@(?=\s))")
# Initials and most abbreviations ("Mr.", "U.S.") keep their period in every convention.
_ATTACHED_MARK = re.compile(r"\w,(?=\s|\Z)|[^\W\d_]{4}\.(?=\s|\Z)")

# Initials, dotted abbreviations and the usual short forms keep their period; so do dots alone.
_ABBREVIATION = (
    r"[^\W\d_]\.|(?:[^\W\d_]\.)+[^\W\d_]\.|\.{2,}|(?i:mr|mrs|ms|messrs|dr|st|vs|col|gen|lt|"
    r"sgt|capt|maj|cmdr|adm|rev|hon|prof|sen|rep|gov|jr|sr|co|corp|inc|ltd|bros|calif|mass|mich|"
    r"conn|wash|ariz|jan|feb|aug|sept|oct|nov|dec|approx|dept|est|vol|pp|fig|var|al|etc|det|alex|"
    r"v|pa|va|fla|ill|tex|ala|ga|ind|md|minn|tenn|wis|ore|okla|nev|del|cos|ste)\."
)
_CLITIC = r"'(?:s|S|m|M|d|D|ll|LL|re|RE|ve|VE)|n't|N'T"
_CLITIC_AT_END = re.compile(rf"(?<=[\w>.])(?:{_CLITIC})\Z")


def _pairs(text: str) -> dict[str, str]:
    """Reads `key value key value ...`."""
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


def _same(text: str) -> dict[str, str]:
    return {word: word for word in text.split()}


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


TREEBANK = Convention(
    surface=_pairs("`` \" '' \" ` ' -LRB- ( -RRB- ) -LSB- [ -RSB- ] -LCB- { -RCB- }"),
    left=_set(", . : ; ? ! ?! ... % '' ' -RRB- -RSB- -RCB-"),
    right=_set("`` ` $ # -LRB- -LSB- -LCB-"),
    turns=frozenset(),
    numeric=frozenset(),
    clitic=re.compile(_CLITIC),
    opening=_pairs("\" `` ' ` ( -LRB- [ -LSB- { -LCB- $ $ # #"),
    closing=_pairs("\" '' ) -RRB- ] -RSB- } -RCB-") | _same("... ?! , . : ; ? ! % '"),
    final=frozenset(),
    whole=re.compile(
        rf"{_ABBREVIATION}|'(?i:em|t|tis|twas|til|till|cause|bout|n')|'(?i:s|re|ve|ll|m|d|\d\ds)|[^\w]"
    ),
    inner=(),
    escapes=(),
)
"""Penn Treebank with punctuation: the Children's Book Test, many tokenized pages of the web."""

LAMBADA = replace(
    TREEBANK,
    surface={token.lower(): written for token, written in TREEBANK.surface.items()},
    left=frozenset(token.lower() for token in TREEBANK.left),
    right=frozenset(token.lower() for token in TREEBANK.right),
    opening={cut: token.lower() for cut, token in TREEBANK.opening.items()},
    closing={cut: token.lower() for cut, token in TREEBANK.closing.items()},
)
"""LAMBADA's plain text files: Treebank in lower case."""

_ANY_TREEBANK = replace(
    TREEBANK,
    surface={**TREEBANK.surface, **LAMBADA.surface},
    left=TREEBANK.left | LAMBADA.left | _set(") ]"),
    right=TREEBANK.right | LAMBADA.right | _set("( ["),
)
# For pages, which name no convention: any case, brackets escaped or not. It has no inverse.

PTB = replace(
    TREEBANK,
    surface={},
    left=_set("'"),
    right=_set("$ # c$ us$ hk$ a$"),
    opening=_same("c$ us$ hk$ a$ $ #"),
    closing=_same("'"),
    escapes=(("\\/", "/"),),
)
"""The Penn Treebank language-model files: lower case, no punctuation, `N` for numbers."""

WIKITEXT = Convention(
    surface=_pairs("@-@ - @,@ , @.@ ."),
    left=_set(", . : ; ? ! ... % ) ] ’ ” / @-@ @,@ @.@"),
    right=_set("( [ $ £ ¥ “ ‘ # / @-@ @,@ @.@"),
    turns=_set("\" '"),
    numeric=_set("–"),
    clitic=re.compile(r"'\w+"),
    opening=_same("\" ' ( [ $ £ ¥ “ ‘ #"),
    closing=_same("... \" ' , . : ; ? ! % ) ] ’ ”"),
    final=frozenset(),
    whole=re.compile(rf"{_ABBREVIATION}|Nos?\.|[^\w]"),
    inner=(
        (re.compile(r"(?<=\S)-(?=\S)"), " @-@ "),
        (re.compile(r"(?<=\S),(?=\S)"), " @,@ "),
        (re.compile(r"(?<=[\d>])\.(?=[\d<])"), " @.@ "),
        (re.compile(r"(?<=\d)–(?=\d)"), " – "),
        (re.compile(r"/"), " / "),
        (re.compile(r"(?<=[\w>.])'(?=\w)"), " '"),
    ),
    escapes=(),
)
"""WikiText-2 and WikiText-103."""

ONE_BILLION = replace(
    WIKITEXT,
    surface={},
    left=_set(", . : ; ? ! ... .. % ) ] /"),
    right=_set("( [ $ £ € # /"),
    numeric=_set(":"),
    opening=_same("\" ' ( [ $ £ € #"),
    closing=_same("... .. \" ' , . : ; ? ! % ) ]"),
    final=_set("."),  # a line is a sentence; a period inside it belongs to its word
    inner=(
        (re.compile(r"(?<=\d):(?=\d)"), " : "),
        (re.compile(r"/"), " / "),
        (re.compile(r"(?<=[\w>.])'(?=\w)"), " '"),
    ),
)
"""The 1 Billion Word Benchmark (Chelba et al. 2014): straight quotes, `don 't`, `11 : 35`."""

SST = replace(
    LAMBADA,
    surface=_pairs("`` \" '' \" ` '"),
    left=_set(", . : ; ? ! ... % '' ' ) ]"),
    right=_set("`` ` ( [ $ #"),
    opening=_pairs("\" `` ' ` ( ( [ [ $ $ # #"),
    closing=_pairs("\" '' ) ) ] ]") | _same("... , . : ; ? ! % '"),
    escapes=(),
)
"""SST-2 as GLUE ships it: Treebank in lower case with plain brackets."""

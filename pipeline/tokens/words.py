r"""How GPT-1's released encoder cuts text into words: ftfy, its text rules, spaCy's English words.

Paper: GPT-1, section 4.1 (ftfy, "standardize some punctuation and whitespace", spaCy); the rules
are those of openai/finetune-transformer-lm, text_utils.py.

Decisions:
- spaCy is no dependency of a run: of its English rules only those are here that can still apply
  after OpenAI's text rules have put blanks around `- ~ ! " ; ? + , ( ) \ / * [ ] { } | _`.
  `tests/pipeline/tokens/test_words.py` compares with spaCy itself.
- A stretch between blanks is cut without regard to its neighbours, so cuts are remembered.
- Work is linear in the length of a stretch: what ends it is looked for in its last characters.

    I'd  ->  I 'd          cannot -> can not        (5km,  ->  ( 5 km ,       U.S. -> U.S.
    said.He -> said . He   word... -> word ...      Mr. -> Mr.                "No." -> " no . "

Deviation: spaCy's units of measure in Cyrillic and Arabic letters are left out; so are emoticons
with characters outside ASCII, and its list of pictographs is read as Unicode's category So. spaCy
looks for emoticons such as `(:3` across blanks, too, and then leaves `:` and `3` apart, and where
exceptions overlap it may prefer another one: 4 of 40,000 random strings of marks differ.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from types import MappingProxyType

import ftfy
import regex

NEWLINE = "\n"

_REPLACED = {"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"}
# OpenAI's expression, as it is: `}` and `{` are there, and `|+` is written as `\|+`.
_SPACED = re.compile(r"""(-+|~+|!+|"+|;+|\?+|\++|,+|\)+|\(+|\\+|\/+|\*+|\[+|\]+|}+|{+|\|+|_+)""")
_LINE_BREAK = re.compile(r"\s*\n\s*")
_BLANKS = re.compile(r"[^\S\n]+")

_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_PUNCTUATION = "…,:;!?¿؟¡()\\[\\]{}<>_#*&。？！，、；：～·।،۔؛٪"
_CURRENCY = r"(?:US|C|A)?\$|[£€¥฿₽﷼₠-₿]"
_UNITS = (
    "km²|km³|km|m²|m³|m|dm²|dm³|dm|cm²|cm³|cm|mm²|mm³|mm|ha|µm|nm|yd|in|ft|kg|g|mg|µg|t|lb|oz|"
    "kmh|mph|hPa|Pa|mbar|mb|MB|kb|KB|gb|GB|tb|TB|T|G|M|K|%"
)
_UPPER, _LOWER, _LETTER = r"\p{Lu}\p{Lo}", r"\p{Ll}\p{Lo}", r"\p{L}"

_PREFIX = regex.compile(rf"\.\.+|\+(?![0-9])|{_CURRENCY}|[§%={_PUNCTUATION}{_QUOTES}\p{{So}}]")
_SUFFIX = regex.compile(
    rf"(?:\.\.+|['’][sS]|[{_PUNCTUATION}{_QUOTES}\p{{So}}]|(?<=[0-9])(?:{_CURRENCY}|{_UNITS})"
    rf"|(?<=°[FfCcKk]|[0-9{_LOWER}%²\-+|{_PUNCTUATION}{_QUOTES}]|[{_UPPER}][{_UPPER}])\.)\Z"
)
_INFIX = regex.compile(
    rf"\.\.+|…|\p{{So}}|(?<=[0-9])\^(?=[0-9-])"
    rf"|(?<=[{_LOWER}{_QUOTES}])\.(?=[{_UPPER}{_QUOTES}])"
    rf"|(?<=[{_LETTER}0-9])[:<>=](?=[{_LETTER}])"
)
_NAME = r"[A-Za-z0-9\u00a1-\uffff]{1,64}"
_ADDRESS = regex.compile(
    rf"(?:\S+@)?(?:(?:{_NAME}\.)+[{_LOWER}]{{2,63}}|[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}})"
    r"(?::[0-9]{2,5})?(?:\#\S*)?"
)
_MAX_ADDRESS = 2_000  # characters; longer stretches are not looked at as addresses
_MAX_REMEMBERED = 64  # characters; what is longer does not come again
_MAX_EXCEPTION = 16  # characters of the longest exception, and more
_MAX_PIECES = 5  # words that the rules alone would make of an exception, at most
_MAX_SUFFIX = 16  # characters that a suffix and what it looks behind can have, a run of dots aside


def standardize(text: str) -> str:
    r"""Returns a text after OpenAI's rules for punctuation and white space.

    >>> standardize("Well—(yes) …  so\t\n\n what?")
    'Well - ( yes ) ... so \n what ?'
    """
    for found, put in _REPLACED.items():
        text = text.replace(found, put)
    text = _SPACED.sub(r" \1 ", text)
    text = _LINE_BREAK.sub(" \n ", text)
    return _BLANKS.sub(" ", text).strip()


def words(text: str) -> list[str]:
    r"""Returns the lower-cased words of a text; a line break is the word NEWLINE.

    >>> words("Mr. Smith's U.S. trip\n cost $5.30, I'd guess.")[:8]
    ['mr.', 'smith', "'s", 'u.s.', 'trip', '\n', 'cost', '$']
    """
    found: list[str] = []
    for stretch in standardize(ftfy.fix_text(text)).split(" "):
        found.extend(_remembered(stretch) if len(stretch) <= _MAX_REMEMBERED else _lower(stretch))
    return found


def _lower(stretch: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in cut(stretch))


_remembered = lru_cache(maxsize=1 << 16)(_lower)


def cut(stretch: str) -> list[str]:
    """Returns the words of a stretch without blanks.

    >>> cut("(don't"), cut("said.He"), cut("10km,"), cut("a.m.")
    (['(', 'do', "n't"], ['said', '.', 'He'], ['10', 'km', ','], ['a.m.'])
    """
    return list(_rejoined(_cut(stretch, _exceptions())))


def _cut(stretch: str, known: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Takes prefixes and suffixes off in turn until an exception or neither is left."""
    start, end = 0, len(stretch)
    before: list[str] = []
    after: list[str] = []

    def is_known(start: int, end: int) -> bool:
        return end - start <= _MAX_EXCEPTION and stretch[start:end] in known

    while start < end and not is_known(start, end):
        prefix = _prefix(stretch, start, end)
        suffix = _suffix(stretch, start + prefix, end)
        if prefix and is_known(start + prefix, end):
            suffix = 0
        elif suffix and is_known(start, end - suffix):
            prefix = 0
        if not prefix and not suffix:
            break
        if prefix:
            before.append(stretch[start : start + prefix])
        if suffix:
            after.append(stretch[end - suffix : end])
        start, end = start + prefix, end - suffix
    return [*before, *_middle(stretch[start:end], known), *reversed(after)]


def _prefix(stretch: str, start: int, end: int) -> int:
    found = _PREFIX.match(stretch, start, end)
    return len(found.group()) if found else 0


def _suffix(stretch: str, start: int, end: int) -> int:
    """Returns the length of what is cut off at the end; sees nothing before `start`."""
    tail = stretch[max(start, end - _MAX_SUFFIX) : end]
    found = _SUFFIX.search(tail)
    if not found:
        return 0
    begin = end - len(found.group())
    while found.group().startswith("..") and begin > start and stretch[begin - 1] == ".":
        begin -= 1  # the run of dots began before the tail
    return end - begin


def _middle(stretch: str, known: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Yields the words of a stretch that prefixes and suffixes were taken from."""
    if stretch in known:
        yield from known[stretch]
    elif len(stretch) <= _MAX_ADDRESS and _ADDRESS.fullmatch(stretch):
        yield stretch
    else:
        start = 0
        for infix in _INFIX.finditer(stretch):
            if infix.start() == 0:  # stays with what follows
                continue
            if infix.start() > start:
                yield stretch[start : infix.start()]
            yield infix.group()
            start = infix.end()
        if start < len(stretch):
            yield stretch[start:]


def _rejoined(found: Sequence[str]) -> Iterator[str]:
    """Yields words; those that together make an exception are what the exception says."""
    index, table = 0, _rejoins()
    while index < len(found):
        for n in range(min(_MAX_PIECES, len(found) - index), 1, -1):
            put = table.get(tuple(found[index : index + n]))
            if put is not None:
                yield from put
                index += n
                break
        else:
            yield found[index]
            index += 1


# ── exceptions ───────────────────────────────────────────────────────────────────────────────────

_PRONOUNS = "i you he she it we they"
_ASKING = "who what when where why how there"
_POINTING = "that this these those"
_NEGATED = "ca could do does did had may might must need ought sha should wo would"
_NEGATED_ONLY = "ai are is was were have has dare"
# Words in front -> the endings that may follow, with and without their apostrophe.
_CONTRACTIONS = {
    f"{_PRONOUNS} {_ASKING} {_POINTING}": ("'ll", "'ll 've", "'d", "'d 've"),
    f"i you we they {_ASKING} these those could might must not should would": ("'ve",),
    f"you we they {_ASKING} these those": ("'re",),
    f"he she it {_ASKING} that this": ("'s",),
    "i": ("'m", "'m a"),
    _NEGATED: ("n't", "n't 've"),
    _NEGATED_ONLY: ("n't",),
}
# What a contraction without its apostrophe would be, were it no word of its own.
_WORDS = frozenset("ill shell hell well its shed were whore".split())
_PARTS = (
    "can|not gon|na got|ta let|'s c'm|on how|'d|'y y'|all y|all"  # capitals too, but for the last
)
_SMALL_ONLY = frozenset(("y'all", "yall"))
_DROPPED_G = "doin goin havin lovin nothin nuthin ol somethin"  # also with '
_WHOLE = (
    "'S 's \u2018S \u2018s ' '' 'Cause 'cause 'Cos 'cos 'Coz 'coz 'Cuz 'cuz 'bout 'd 'em 'll 'nuff "
    "'re Ma'am ma'am O'clock o'clock Adm. Ak. Ala. Apr. Ariz. Ark. Aug. Bros. Calif. Co. "
    "Colo. Conn. Corp. D.C. Dec. Del. Dr. E.G. E.g. Feb. Fla. Ga. Gen. Gov. I.E. I.e. Ia. "
    "Id. Ill. Inc. Ind. Jan. Jr. Jul. Jun. Kan. Kans. Ky. La. Ltd. Mar. Mass. Md. Messrs. "
    "Mich. Minn. Miss. Mo. Mont. Mr. Mrs. Ms. Mt. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. "
    "Nebr. Nev. Nov. Oct. Okla. Ore. Pa. Ph.D. Prof. Rep. Rev. S.C. Sen. Sep. Sept. St. "
    "Tenn. Va. Wash. Wis. a.m. co. e.g. i.e. p.m. v.s. vs. ä. ö. ü. 0.0 0.o o.0 o.o o.O "
    "O.o O.O v.v V.V 8D XD XDD xD xDD :0 :1 :3 :> :D :O :P :X :o :p :x <.< <3 <33 <333 "
    "<space> =3 =D >.< >.> >:o"
)


@cache
def _exceptions() -> Mapping[str, tuple[str, ...]]:
    """Returns stretches that the rules would cut otherwise, with their words."""
    found: dict[str, tuple[str, ...]] = {word: (word,) for word in _WHOLE.split()}
    for word in _DROPPED_G.split():
        found.update({form: (form,) for w in (word, word.capitalize()) for form in (w, w + "'")})
    found.update({f"{letter}.": (f"{letter}.",) for letter in "abcdefghijklmnopqrstuvwxyz"})
    for hour in range(1, 13):
        found.update({f"{hour}{m}": (str(hour), m) for m in ("am", "a.m.", "pm", "p.m.")})
    for letter in "CFKcfk":
        found[f"°{letter}."] = ("°", letter, ".")
    for joined in _PARTS.split():
        parts = tuple(joined.split("|"))
        found["".join(parts)] = parts
        if "".join(parts) not in _SMALL_ONLY:
            found["".join(parts).capitalize()] = (parts[0].capitalize(), *parts[1:])
    for parts in _contractions():
        for form in (parts, (parts[0].capitalize(), *parts[1:])):
            found["".join(form)] = form
    return MappingProxyType(found)


def _contractions() -> Iterator[tuple[str, ...]]:
    for fronts, endings in _CONTRACTIONS.items():
        for front in fronts.split():
            for ending in endings:
                yield (front, *ending.split())
                bare = (front, *ending.replace("'", "").split())
                if "".join(bare) not in _WORDS:
                    yield bare


@cache
def _rejoins() -> Mapping[tuple[str, ...], tuple[str, ...]]:
    """Returns what the rules alone would make of an exception -> its words."""
    cuts = {tuple(_cut(joined, {})): parts for joined, parts in _exceptions().items()}
    return {pieces: parts for pieces, parts in cuts.items() if len(pieces) > 1}

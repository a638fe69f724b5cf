"""What the page asks of a model, and the answer as it comes, token by token.

    {"model": ..., "prompt": ..., ...} ──> Ask ──> start │ token token token ... │ end

Decisions
- A request is checked like configuration: every key is there, has its type and lies in its range.
- A token's text is what it adds to the text before it: the bytes of a character that several
  tokens share show with the last of them.
"""

import codecs
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model import stream
from model.play.checkpoints import Loaded
from model.sample import Sequel, Settings
from model.stops import Stops
from model.stream import Candidate, Choice
from pipeline.store.config import require
from pipeline.tokens.arrow import END_OF_TEXT
from pipeline.tokens.codec import Codec

Event = dict[str, Any]

MAX_SEED = 2**53 - 1  # a whole number that a browser keeps
MIN_HEAT, MAX_HEAT = 0.01, 100.0  # beyond, logits leave the range of fp32
MAX_TOP_K = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request.

    Attributes:
        model: A name of the list.
        prompt: The text to continue; "" asks for a document from its beginning.
        settings: How tokens are chosen.
        seed: Of the draws.
        n_new: New tokens, at most.
        stops: Strings that end the text.
    """

    model: str
    prompt: str
    settings: Settings
    seed: int
    n_new: int
    stops: tuple[str, ...]

    def __post_init__(self) -> None:
        heat, top_k = self.settings.temperature, self.settings.top_k or 1
        require("temperature", heat, MIN_HEAT <= heat <= MAX_HEAT, f"{MIN_HEAT} <= x <= {MAX_HEAT}")
        require("top_k", top_k, top_k <= MAX_TOP_K, f"x <= {MAX_TOP_K}")
        require("seed", self.seed, 0 <= self.seed <= MAX_SEED, f"0 <= x <= {MAX_SEED}")
        require("stops", self.stops, len(self.stops) <= 8 and all(self.stops), "8 strings, not ''")


def ask_of(told: Any, max_new: int) -> Ask:
    """Returns a request from its JSON.

    Raises:
        ValueError: Unless every key is there, of its type and in its range, and no other.

    >>> ask_of({"model": "pretrained"}, 10)
    Traceback (most recent call last):
    ValueError: n_new is missing; expected a whole number
    """
    if not isinstance(told, dict):
        raise ValueError("body: expected a JSON object")
    names = ("model", "prompt", "temperature", "top_k", "top_p", "seed", "n_new", "stops")
    unknown = sorted(told.keys() - set(names))
    if unknown:
        raise ValueError(f"{unknown[0]} is not known; allowed: {', '.join(names)}")
    n_new = _typed(told, "n_new", int)
    require("n_new", n_new, 1 <= n_new <= max_new, f"1 <= x <= {max_new}")
    stops = _typed(told, "stops", list)
    require("stops", stops, all(isinstance(each, str) for each in stops), "a list of texts")
    settings = Settings(
        temperature=_typed(told, "temperature", float),
        top_k=_typed(told, "top_k", int, or_null=True),
        top_p=_typed(told, "top_p", float, or_null=True),
    )
    return Ask(
        model=_typed(told, "model", str),
        prompt=_typed(told, "prompt", str),
        settings=settings,
        seed=_typed(told, "seed", int),
        n_new=n_new,
        stops=tuple(stops),
    )


_WORDS = {str: "text", int: "a whole number", float: "a number", list: "a list"}


def _typed(told: Mapping[str, Any], name: str, kind: type, *, or_null: bool = False) -> Any:
    """Returns a value of the request; a whole number is a number, True is neither."""
    if name not in told:
        raise ValueError(f"{name} is missing; expected {_WORDS[kind]}")
    value = told[name]
    if value is None and or_null:
        return None
    fits = type(value) is kind
    if kind is float:
        fits = type(value) in (int, float) and abs(value) <= sys.float_info.max
    require(name, value, fits, _WORDS[kind])
    return kind(value)


def text_of(told: Any, name: str) -> str:
    """Returns the only key of a request, a text.

    Raises:
        ValueError: If there is another one, or it is no text.
    """
    if not isinstance(told, dict) or set(told) != {name}:
        raise ValueError(f"expected a JSON object with the key {name} alone")
    return str(_typed(told, name, str))


class Spelling:
    """The text of ids as they come.

    What an id adds depends on the one before it at most: GPT-1's words have a blank behind them as
    soon as something follows.
    """

    def __init__(self, coder: Codec) -> None:
        self._coder = coder
        self._last: list[int] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        """Returns what a further id adds; "" while a character is not whole."""
        before, data = map(self._coder.decode_bytes, (self._last, [*self._last, token]))
        self._last = [token]
        return self._decoder.decode(data[len(before) :])


def answer(ask: Ask, loaded: Loaded, n_others: int) -> Generator[Event, None, None]:
    """Yields what the page shows: `start` with the prompt as read, tokens, `end` with the reason.

    Args:
        ask: The request.
        loaded: Its model.
        n_others: Likeliest tokens to tell of at each place.
    """
    coder, model = loaded.coder, loaded.model
    end = coder.vocabulary.eot_id
    prompt = (end, *map(int, coder.encode(ask.prompt)))
    seen = prompt[-model.config.n_ctx :]
    yield _start(seen, prompt, loaded, n_others)
    stops, spelling, new = Stops(strings=ask.stops, coder=coder), Spelling(coder), []
    why = "length"
    sequel = Sequel(prompt=prompt, settings=ask.settings, seed=ask.seed)
    for choice in stream.write(model, sequel, ask.n_new, end, n_others):
        is_end = choice.token.id == end
        text = "" if is_end else spelling.add(choice.token.id)
        yield {"kind": "token", "is_end": is_end, **_told(choice, text, coder)}
        if is_end:
            why = "end"
            break
        new.append(choice.token.id)
        if stops(new):
            why = "stop"
            break
    yield {"kind": "end", "why": why, "text": stops.text(new)}


def _start(seen: Sequence[int], prompt: Sequence[int], loaded: Loaded, n_others: int) -> Event:
    """Returns what the model made of the prompt; what is outside of its context is not read."""
    spelling = Spelling(loaded.coder)
    n_lost = len(prompt) - len(seen)
    read = stream.read(loaded.model, seen, n_others) if len(seen) > 1 else []
    lost = "".join(spelling.add(token) for token in prompt[1 : 1 + n_lost])
    told = [_told(choice, spelling.add(choice.token.id), loaded.coder) for choice in read]
    return {
        "kind": "start",
        "model": loaded.name,
        "n_parameters": loaded.n_parameters,
        "n_ctx": loaded.model.config.n_ctx,
        "n_lost": n_lost,
        "lost": lost,
        "prompt": told,
    }


def _told(choice: Choice, text: str, coder: Codec) -> Event:
    return {
        "text": text,
        **_candidate(choice.token, coder),
        "rank": choice.rank,
        "others": [_candidate(other, coder) for other in choice.others],
    }


def _candidate(candidate: Candidate, coder: Codec) -> Event:
    """Returns a token with its own text, in which bytes of part of a character show as such."""
    data = coder.decode_bytes([candidate.id])
    try:
        label = data.decode()
    except UnicodeDecodeError:
        label = " ".join(f"‹{byte:02X}›" for byte in data)
    is_end = candidate.id == coder.vocabulary.eot_id
    return {
        "id": candidate.id,
        "label": END_OF_TEXT if is_end else label,
        "p": candidate.p,
        "share": candidate.share,
    }

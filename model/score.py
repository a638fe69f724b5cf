"""What a model gives to texts: the three questions that every task asks.

    loglikelihood   how likely are these continuations of this context?
    rolling         how likely is this whole text, however long?
    generate        how does this text go on?

Decisions:
- Everything is in nats, fp32 logits, one value per token; sums are the caller's business.
- Every text stands after `<|endoftext|>`, so its first token is predicted, too.
- Requests are sorted by length, packed into batches of about `N_POSITIONS` positions and padded on
  the right, where causal attention cannot see. Only scored positions go through the last block's
  products, and get logits.
- Work is cut into shards, each a pure function of the rows in it, so that what was computed can be
  kept and found again under a key that says all that it depends on but the model (`Recall`).
- A context with several continuations is read once where that pays: the rows of its continuations
  follow the cached keys and values.

      context   c c c c c c c        read once, all but its last token
      rows      ┆ c a a a            one per continuation, c = the context's last token
                ┆ c b b

Tensor legend: B batch, T tokens, C n_embd, V vocabulary, N scored positions.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model import sample
from model.gpt import GPT, KVCache, linear
from model.sample import Sequel, Settings

N_POSITIONS = 4096  # of one forward pass, padding included
# Positions of a shard, kept or lost as a whole: some ten seconds of a GPT-2 small on a CPU.
N_SHARD = 1 << 14
# Logits that are held at once, but for at least MIN_ROWS positions. Measured (one thread, 8,192
# entries, product and logsumexp): 58 us a position with 256 or 512 of them, 77 with 2,048 (64 MiB).
N_LOGITS = 1 << 22
MIN_ROWS = 256
# Readings, in tokens, that a cache must save to be worth its making. Measured (5 M parameters, one
# thread, 2 and 10 continuations): equal at 130-150 tokens, 1.2 times as fast at 240, 4 at 2,000.
MIN_SAVED = 200

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ids = Sequence[int] | npt.NDArray[np.uint32]
Judge = Callable[[Tensor, Tensor], Tensor]
Recall = Callable[[str, Callable[[], Floats]], Floats]
"""From a key to what was computed under it, or else is computed and kept."""


def afresh(_key: str, compute: Callable[[], Floats]) -> Floats:
    """Computes everything and keeps nothing."""
    return compute()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One context and what may follow it; both are ids, and no continuation is empty."""

    context: Ids
    continuations: Sequence[Ids]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One continuation of n tokens.

    Attributes:
        logprobs: (n,) log-probability of each token, nats.
        greedy: (n,) whether each token is the model's first choice, given those before.
        leads: Whether the first token is the first choice when muted tokens do not compete.
    """

    logprobs: Floats
    greedy: Bools
    leads: bool

    @property
    def total(self) -> float:
        """Log-probability of the whole continuation, nats."""
        return float(self.logprobs.sum())

    @property
    def is_greedy(self) -> bool:
        """Whether greedy decoding produces exactly this continuation."""
        return bool(self.greedy.all())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """Tokens to read, the last `n` of which are scored; `key` tells whose they are."""

    key: tuple[int, int]
    tokens: npt.NDArray[np.int64]
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Rows that are read together; the first `n_shared` tokens, in which they agree, once."""

    rows: Sequence[_Row]
    n_shared: int

    @property
    def n_positions(self) -> int:
        """What reading it costs, padding included."""
        longest = max(len(row.tokens) for row in self.rows)
        return self.n_shared + len(self.rows) * (longest - self.n_shared)


def device() -> torch.device:
    """Returns where to score: the accelerator when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def windows(n_tokens: int, n_ctx: int, stride: int) -> list[tuple[int, int, int]]:
    """Returns the windows that score each of `n_tokens` tokens once.

    Token 0 of the stream is `<|endoftext|>`; tokens 1..n_tokens are scored. A window reads tokens
    [start, end) and scores its last `n` predictions, i.e. tokens (end - n, end]. All windows but
    the first are full, so a token of theirs sees at least n_ctx - stride tokens.

        n_ctx 4, stride 2:     E a b c d e f g
                               └─────┘             predicts a b c d
                                   └─────┘         predicts       e f
                                     └─────┘       predicts           g

    >>> windows(7, 4, 2)
    [(0, 4, 4), (2, 6, 2), (3, 7, 1)]
    """
    ends = [min(n_ctx, n_tokens)] if n_tokens else []
    while ends and ends[-1] < n_tokens:
        ends.append(min(ends[-1] + stride, n_tokens))
    return [
        (max(0, end - n_ctx), end, end - before)
        for before, end in zip([0, *ends], ends, strict=False)
    ]


class Scorer:
    """A model that answers the three questions."""

    def __init__(self, model: GPT, eot_id: int, recall: Recall = afresh) -> None:
        """Wraps a model in evaluation mode; it answers where its weights are.

        Args:
            model: The model.
            eot_id: Id of `<|endoftext|>`.
            recall: Keeps what was computed with this model.
        """
        self.n_ctx = model.config.n_ctx
        self.eot_id = eot_id
        self._model = model
        self._recall = recall
        self._head = model.wte.weight  # (V, C)

    def loglikelihood(
        self, requests: Sequence[Request], muted: Sequence[int] = (), *, begins: bool = True
    ) -> list[list[Scored]]:
        """Scores the continuations of each request, after `<|endoftext|>` and the context.

        Args:
            requests: A context that is too long loses its beginning, the same for each of its
                continuations.
            muted: Ids that do not compete for the first token of a continuation (`Scored.leads`);
                their probability stays.
            begins: Whether `<|endoftext|>` stands before the context; without it, a context must
                not be empty.

        Raises:
            ValueError: If a continuation is empty or longer than the context length, or there is
                nothing before it.
        """
        alone: list[_Row] = []
        batches: list[_Batch] = []
        for i, request in enumerate(requests):
            context = self._context(request, begins=begins)
            rows = [_row((i, j), context, ids) for j, ids in enumerate(request.continuations)]
            if (len(rows) - 1) * len(context) >= MIN_SAVED:
                batches.append(_Batch(rows=rows, n_shared=len(context) - 1))
            else:
                alone += rows
        batches += _batches(alone)
        judge = partial(_choices, muted=list(muted))
        found = {
            key: Scored(logprobs=part[:, 0], greedy=part[:, 1] > 0, leads=bool(part[0, 2] > 0))
            for key, part in self._judge_all(batches, judge, f"choices {list(muted)}")
        }
        return [
            [found[i, j] for j in range(len(request.continuations))]
            for i, request in enumerate(requests)
        ]

    def rolling(self, texts: Sequence[Ids], stride: int) -> list[Floats]:
        """Returns the log-probability of each token of each text, in nats.

        Args:
            texts: Ids without `<|endoftext|>`; a text may be empty, or longer than the context.
            stride: Tokens by which windows advance, 1 <= x <= n_ctx; see `windows`.
        """
        (found,) = self.rolling_each(texts, [stride])
        return found

    def rolling_each(self, texts: Sequence[Ids], strides: Sequence[int]) -> list[list[Floats]]:
        """Returns what `rolling` does for each stride; a window that two share is read once.

        Where one stride is a multiple of another, its windows are among the other's, and only
        their earlier positions are scored in addition.
        """
        asked = [[windows(len(text), self.n_ctx, stride) for text in texts] for stride in strides]
        longest: dict[tuple[int, int], tuple[int, int]] = {}  # (text, end): start, positions
        for plan in asked:
            for i, spans in enumerate(plan):
                for start, end, n in spans:
                    longest[i, end] = start, max(n, longest.get((i, end), (0, 0))[1])
        streams = [np.array([self.eot_id, *text], np.int64) for text in texts]
        rows = [
            _Row(key=(i, end), tokens=streams[i][start : end + 1], n=n)
            for (i, end), (start, n) in sorted(longest.items())
        ]
        found = {
            key: part[:, 0]
            for key, part in self._judge_all(list(_batches(rows)), _logprobs, "logprobs")
        }
        empty = np.empty(0)
        return [
            [
                np.concatenate([empty, *(found[i, end][-n:] for _, end, n in spans)])
                for i, spans in enumerate(plan)
            ]
            for plan in asked
        ]

    def generate(
        self,
        prompts: Sequence[Ids],
        settings: Settings,
        n_new: int,
        seed: int,
        *,
        stops: sample.Stops = sample.never,
        stops_key: str = "",
    ) -> list[list[int]]:
        """Continues each prompt, after `<|endoftext|>`, by at most `n_new` tokens.

        Args:
            prompts: Ids without `<|endoftext|>`.
            settings: How each token is chosen.
            n_new: New tokens per prompt, at most; `<|endoftext|>` ends one earlier.
            seed: Prompt i draws from seed + i.
            stops: Tells from a sequence's new ids whether it ends with them.
            stops_key: Says what `stops` depends on.
        """
        sequels = [
            Sequel(prompt=(self.eot_id, *map(int, ids)), settings=settings, seed=seed + i)
            for i, ids in enumerate(prompts)
        ]
        made: list[list[int]] = [[] for _ in prompts]
        for batch in sample.batches([sequel.prompt[-self.n_ctx :] for sequel in sequels]):
            some = [sequels[i] for i in batch]
            key = _digest(["generate", repr(some), str(n_new), stops_key])
            compute = partial(self._together, some, n_new, stops)
            for i, ids in zip(batch, self._recall(key, compute), strict=True):
                made[i] = ids[ids >= 0].astype(np.int64).tolist()
        return made

    def _together(self, sequels: Sequence[Sequel], n_new: int, stops: sample.Stops) -> Floats:
        """Returns (B, n_new) new ids, -1 where there is none."""
        made = sample.together(self._model, sequels, n_new, self.eot_id, stops=stops)
        table = np.full((len(made), n_new), -1.0)
        for row, ids in zip(table, made, strict=True):
            row[: len(ids)] = ids
        return table

    def _context(self, request: Request, *, begins: bool) -> npt.NDArray[np.int64]:
        """Returns `<|endoftext|>`, if asked for, and the context, cut on the left to leave room."""
        lengths = [len(ids) for ids in request.continuations]
        if not lengths or not 1 <= min(lengths) <= max(lengths) <= self.n_ctx:
            raise ValueError(f"continuations of {lengths} tokens; expected 1 <= x <= {self.n_ctx}")
        if not begins and not len(request.context):
            raise ValueError("an empty context has nothing to predict its first token from")
        context = np.array([*([self.eot_id] if begins else []), *request.context], np.int64)
        return context[-(self.n_ctx + 1 - max(lengths)) :]

    def _judge_all(
        self, batches: Sequence[_Batch], judge: Judge, name: str
    ) -> Iterator[tuple[tuple[int, int], Floats]]:
        """Yields each row's key and what `judge` says of its scored positions, (n, any).

        Args:
            batches: What to read.
            judge: Maps (n, V) logits and (n,) targets to (n, any).
            name: Says what `judge` depends on.
        """
        for shard in _shards(batches):
            key = _digest([name, *(part for batch in shard for part in _described(batch))])
            values = self._recall(key, partial(self._judge_shard, shard, judge))
            rows = [row for batch in shard for row in batch.rows]
            yield from zip((row.key for row in rows), _split(values, rows), strict=True)

    def _judge_shard(self, shard: Sequence[_Batch], judge: Judge) -> Floats:
        return np.concatenate([self._judge(each.rows, judge, each.n_shared) for each in shard])

    @torch.inference_mode()
    def _judge(self, rows: Sequence[_Row], judge: Judge, n_shared: int) -> Floats:
        """Returns what `judge` says of the scored positions of all rows, (N, what it returns).

        Args:
            rows: Read together; they agree in their first `n_shared` tokens.
            judge: Maps (n, V) logits, which it may overwrite, and (n,) targets to (n, any).
            n_shared: Tokens to read once for all rows.
        """
        tails = [row.tokens[n_shared:] for row in rows]
        inputs = np.zeros((len(rows), max(map(len, tails)) - 1), np.int64)  # (B, T)
        is_scored = np.zeros_like(inputs, np.bool_)
        for i, (row, tail) in enumerate(zip(rows, tails, strict=True)):
            inputs[i, : len(tail) - 1] = tail[:-1]
            is_scored[i, len(tail) - 1 - row.n : len(tail) - 1] = True
        past = self._read(rows[0].tokens[:n_shared], inputs.shape) if n_shared else None
        states = self._model.hidden(
            self._tensor(inputs), past=past, wanted=self._tensor(is_scored)
        )  # (N, C)
        targets = self._tensor(np.concatenate([row.tokens[-row.n :] for row in rows]))  # (N,)
        n_rows = max(MIN_ROWS, N_LOGITS // len(self._head))
        judged = []
        for start in range(0, len(states), n_rows):
            part = states[start : start + n_rows]
            logits = linear(part, self._head)  # (n, V)
            judged.append(judge(logits.float(), targets[start : start + n_rows]))
        values: Floats = torch.cat(judged).double().cpu().numpy()
        return values

    def _read(self, tokens: npt.NDArray[np.int64], following: tuple[int, ...]) -> KVCache:
        """Returns the cache of one context for the (B, T) tokens that follow it."""
        cache = self._model.cache(1)
        idx = self._tensor(tokens[np.newaxis])
        self._model.hidden(idx, past=cache, wanted=torch.zeros_like(idx, dtype=torch.bool))
        return cache.repeat(*following)

    def _tensor(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._head.device)


def _row(key: tuple[int, int], context: npt.NDArray[np.int64], continuation: Ids) -> _Row:
    tokens = np.concatenate([context, np.asarray(continuation, np.int64)])
    return _Row(key=key, tokens=tokens, n=len(continuation))


def _batches(rows: Sequence[_Row]) -> Iterator[_Batch]:
    """Yields rows of similar length, at most `N_POSITIONS` positions together."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: (-len(row.tokens), row.key)):
        if batch and (len(batch) + 1) * len(batch[0].tokens) > N_POSITIONS:
            yield _Batch(rows=batch, n_shared=0)
            batch = []
        batch.append(row)
    if batch:
        yield _Batch(rows=batch, n_shared=0)


def _shards(batches: Sequence[_Batch]) -> Iterator[list[_Batch]]:
    """Yields neighbouring batches, `N_SHARD` positions or more but for the last ones."""
    shard: list[_Batch] = []
    for batch in batches:
        shard.append(batch)
        if sum(each.n_positions for each in shard) >= N_SHARD:
            yield shard
            shard = []
    if shard:
        yield shard


def _described(batch: _Batch) -> Iterator[bytes | str]:
    """Yields all that decides what is computed of a batch."""
    yield str(batch.n_shared)
    for row in batch.rows:
        yield f"{row.n}/{len(row.tokens)}"
        yield row.tokens.tobytes()


def _digest(parts: Sequence[bytes | str]) -> str:
    made = hashlib.sha256()
    for part in parts:
        made.update(part.encode() if isinstance(part, str) else part)
        made.update(b"\0")
    return made.hexdigest()


def _split(values: Floats, rows: Sequence[_Row]) -> list[Floats]:
    """Cuts (N, ...) values into those of each row."""
    ends = list(accumulate(row.n for row in rows))
    return [values[start:end] for start, end in pairwise([0, *ends])]


def _logprobs(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the (n, 1) log-probabilities of the targets; overwrites the logits.

    The fused kernel finishes a row while it is in the cache: a third of the time of four passes.
    """
    return torch.log_softmax(logits, dim=1, out=logits).gather(1, targets.unsqueeze(1))


def _choices(logits: Tensor, targets: Tensor, muted: list[int]) -> Tensor:
    """Returns (n, 3): log-probability; whether the target comes first; and among those not muted.

    A muted target never comes first. Among equals, the lowest id comes first.
    """
    first = logits.argmax(dim=1) == targets
    spoken = logits.clone() if muted else logits
    spoken[:, muted] = -torch.inf
    leads = spoken.argmax(dim=1) == targets
    logprobs = _logprobs(logits, targets)[:, 0]
    return torch.stack([logprobs, first.float(), leads.float()], dim=1)

"""One side of the loader benchmark: a process that makes training batches when it is told to.

    settings.json: who, folder of the token files, n_ctx, batch, seed
    stdin   a number n: make the batches of the next n steps     stdout: CPU, wall
    stdin   "show STEP": make that step's batch                  stdout: digest, pieces of each row

The peers are written after what is published of them; none of their code is here.

- nanogpt: ids in one flat file of uint16, mapped; a batch is that many places drawn with
  replacement; each row is cut out twice, a place apart, and made int64. `reopened` maps the file
  anew for each batch, as nanoGPT does against a leak of memory; `kept` maps it once.
- megatron: the index maps that Megatron-LM describes with its data sets: documents in an order of
  their own (`document index`), windows that run over their ends (`sample index`: in which document
  and where each begins), and the windows' order (`shuffle index`), shuffled by a seed and held in
  memory; a row is put together out of the documents it lies in and made int64, ids and targets are
  copies of it, rows are stacked. Masks and positions, which Megatron-LM can add, are left out.
- outbound: `model.training.batches`, one rank, as `train` calls it.

A piece is (place in the flat stream, tokens): what a row of n_ctx + 1 tokens is made of.
"""

import hashlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from model.training.batches import Batches
from model.training.data import Windows
from model.training.engine import World
from pipeline.tokens.arrow import open_shards

Piece = tuple[int, int]
Made = tuple[Tensor, Tensor, list[list[Piece]]]


class Settings(NamedTuple):
    """What a process is told."""

    who: str
    folder: str
    n_ctx: int
    batch: int
    seed: int


class Loader(Protocol):
    """One way to batches."""

    def make(self, step: int) -> tuple[Tensor, Tensor]:
        """Returns inputs and targets of a step, each (B, n_ctx) int64."""
        ...

    def pieces(self, step: int) -> list[list[Piece]]:
        """Returns what the rows of a step just made are cut out of."""
        ...


class Outbound:
    """This project's loader."""

    def __init__(self, settings: Settings) -> None:
        paths = sorted((Path(settings.folder) / "tokens").glob("*.arrow"))
        windows = Windows(open_shards(paths), settings.n_ctx, settings.seed)
        world = World(0, 0, 1)
        self._batches = Batches(windows, settings.batch, world, settings.seed, settings.batch)
        self._n_ctx = settings.n_ctx

    def make(self, step: int) -> tuple[Tensor, Tensor]:
        """Returns the step's only micro-batch."""
        (micro,) = self._batches.make(step).micros
        inputs, targets = micro.tensors
        return inputs, targets

    def pieces(self, step: int) -> list[list[Piece]]:
        """Returns one piece per row."""
        return [[(w * self._n_ctx, self._n_ctx + 1)] for w in self._batches.windows(step)]


class NanoGpt:
    """Random places of a flat file."""

    def __init__(self, settings: Settings, *, reopen: bool) -> None:
        self._path = Path(settings.folder) / "nanogpt" / "train.bin"
        self._n_ctx, self._batch, self._reopen = settings.n_ctx, settings.batch, reopen
        self._data = self._opened()
        self._drawn = torch.empty(0, dtype=torch.int64)
        torch.manual_seed(settings.seed)

    def _opened(self) -> Any:
        return np.memmap(self._path, dtype=np.uint16, mode="r")

    def make(self, step: int) -> tuple[Tensor, Tensor]:
        """Returns rows at new places; which does not depend on the step."""
        del step
        if self._reopen:
            self._data = self._opened()
        self._drawn = torch.randint(len(self._data) - self._n_ctx, (self._batch,))
        return self._rows(0), self._rows(1)

    def _rows(self, shift: int) -> Tensor:
        starts = (int(place) + shift for place in self._drawn)
        cut = (self._data[start : start + self._n_ctx] for start in starts)
        return torch.stack([torch.from_numpy(row.astype(np.int64)) for row in cut])

    def pieces(self, step: int) -> list[list[Piece]]:
        """Returns one piece per row of the last batch."""
        del step
        return [[(int(place), self._n_ctx + 1)] for place in self._drawn]


class Megatron:
    """Windows over shuffled documents, found by three maps."""

    def __init__(self, settings: Settings) -> None:
        folder = Path(settings.folder) / "megatron"
        self._data = np.memmap(folder / "train.bin", dtype=np.uint16, mode="r")
        lengths = _lengths(folder / "train.idx")
        self._begins = np.cumsum(lengths) - lengths
        self._lengths = lengths
        self._n_ctx, self._batch = settings.n_ctx, settings.batch
        drawn = np.random.default_rng(settings.seed)
        self._documents = drawn.permutation(len(lengths)).astype(np.int32)
        ends = np.cumsum(lengths[self._documents])
        n_windows = (int(ends[-1]) - 1) // self._n_ctx
        places = np.arange(n_windows + 1, dtype=np.int64) * self._n_ctx
        which = np.searchsorted(ends, places, side="right")
        inside = places - (ends - lengths[self._documents])[which]
        self._samples = np.stack([which, inside], axis=1).astype(np.int32)
        self._shuffled = drawn.permutation(n_windows).astype(np.uint32)

    def make(self, step: int) -> tuple[Tensor, Tensor]:
        """Returns the windows at the step's places of the shuffle index."""
        rows = [self._row(int(i)) for i in self._of(step)]
        return torch.stack([r[:-1].contiguous() for r in rows]), torch.stack(
            [r[1:].contiguous() for r in rows]
        )

    def _of(self, step: int) -> Any:
        first = step * self._batch % (len(self._shuffled) - self._batch + 1)
        return self._shuffled[first : first + self._batch]

    def _row(self, window: int) -> Tensor:
        parts = [self._data[start : start + n] for start, n in self._cut(window)]
        joined = np.concatenate(parts) if len(parts) > 1 else parts[0]
        return torch.from_numpy(joined.astype(np.int64))

    def _cut(self, window: int) -> list[Piece]:
        (first, skipped), (last, stop) = self._samples[window], self._samples[window + 1]
        found = []
        for place in range(int(first), int(last) + 1):
            document = self._documents[place]
            begin = int(skipped) if place == first else 0
            end = int(stop) + 1 if place == last else int(self._lengths[document])
            found.append((int(self._begins[document]) + begin, end - begin))
        return found

    def pieces(self, step: int) -> list[list[Piece]]:
        """Returns the documents' parts of each row."""
        return [self._cut(int(i)) for i in self._of(step)]


def _lengths(index: Path) -> Any:
    """Returns the tokens of each document, from the head of Megatron's index file."""
    raw = index.read_bytes()
    n = int.from_bytes(raw[18:26], "little")
    return np.frombuffer(raw, "<i4", n, offset=34).astype(np.int64)


def digest(batch: tuple[Tensor, Tensor]) -> str:
    """Returns a digest of inputs and targets."""
    found = hashlib.sha256()
    for one in batch:
        found.update(np.ascontiguousarray(one.numpy()).tobytes())
    return found.hexdigest()


def make(settings: Settings) -> Loader:
    """Returns the loader of a name."""
    if settings.who == "outbound":
        return Outbound(settings)
    if settings.who == "megatron":
        return Megatron(settings)
    return NanoGpt(settings, reopen=settings.who == "nanogpt reopened")


def main() -> None:
    """Answers until stdin ends."""
    torch.set_num_threads(1)
    settings = Settings(**json.loads(Path(sys.argv[1]).read_bytes()))
    begun = time.process_time()
    loader, step = make(settings), 0
    print(json.dumps({"ready_cpu_s": time.process_time() - begun}), flush=True)
    for line in sys.stdin:
        wall, cpu = time.monotonic(), time.process_time()
        told: dict[str, Any] = {}
        if line.startswith("show"):
            asked = int(line.split()[1])
            told = {"digest": digest(loader.make(asked)), "pieces": loader.pieces(asked)}
        else:
            for _ in range(int(line)):
                loader.make(step)
                step += 1
        told |= {
            "cpu_s": time.process_time() - cpu,
            "wall_s": time.monotonic() - wall,
            "max_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "step": step,
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()

"""What each data stage costs, by size and by number of workers, and whether the plan is right.

Input: pages whose blocks are drawn from the documentation on this machine, every sixth word anew,
one layout to a site, 25 pages to a site; every tenth page is another one with its last block
changed. So pages share no eight words in a row but for these copies, and a stage has as much to do
with the last document as with the first. Every size runs the chain extract, clean, dedup,
decontaminate, bpe, encode; every stage runs once for each number of workers, and the folders must
be equal to the byte (`roots_equal`).

A stage is a process of its own. Its engine is started, then the clock: CPU seconds are those of the
whole process tree from there on, without the start of Ray (`start_cpu_s`), which is told by itself.
Memory is what one worker and its children hold together, looked at twenty times a second.

    python -m benchmarks.scaling                                  10^3 documents; 1, 2 and 4 workers
    python -m benchmarks.scaling --documents 1000 10000 100000 1000000
    python -m benchmarks.scaling --documents 500 2000 --workers 2 --calibrate
    python -m benchmarks.scaling --documents 8000 --workers 2 --check

`--calibrate` writes `costs.json`, which `stages.plan` reads: a line through the smallest and the
largest size, medians of the rounds; the crawl's constants come from `benchmarks.crawl --memory`.
`--check` compares what the plan's functions say for a size with what that size took.
"""

import argparse
import itertools
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import archives, harness, layouts
from benchmarks import extract as extraction
from benchmarks.harness import Contender
from crawl.docstrings import Block
from crawl.prose import Article
from model.tasks import evalsets
from pipeline.engine import costs, parallel
from pipeline.overlap import decontaminate, dedup
from pipeline.store import manifest
from pipeline.text import clean, extract
from pipeline.tokens import bpe, encode
from stages import params

COSTS = Path(__file__).with_name("costs.json")
STAGES = ("extract", "clean", "dedup", "decontaminate", "bpe", "encode")
_OUTPUTS = {
    "extract": "pages",
    "clean": "clean",
    "dedup": "unique",
    "decontaminate": "corpus",
    "bpe": "bpe",
    "encode": "tokens",
}
_ALONE = ("bpe",)  # one process: more workers change nothing
_SEED = 20190214
_N_FILES = 8
_ONE_SHARD = 10_000  # pages in one file, for the memory of a worker
_PER_SITE = 25
_COPY_EVERY = 10
_COPIED_FROM = 1000  # at most so many pages before
_VARIED_EVERY = 6
_LOOK_S = 0.05
_STARTS, _LATE = 5, "timed out during startup"
_ALLOWED_ERROR = 0.25
_N_VOCAB = 4096  # a hundred pages have pairs for no more
_N_WORDS = (500_000, 1_500_000)  # distinct ones, for the memory of `bpe`
_SHORTER = 50  # so many times fewer words with --small
_LETTERS, _N_LETTERS = "abcdefghijklmnopqrstuvwxyz", 9


class Row(NamedTuple):
    """What one stage took at one size, with one number of workers."""

    stage: str
    documents: int
    workers: int
    files: int
    mb_in: float
    cpu_s: float
    start_cpu_s: float
    wall_s: float
    peak_bytes: int
    disk_bytes: int
    root: str


def main() -> int:
    """Runs the benchmark and returns its exit status."""
    given = _arguments()
    with tempfile.TemporaryDirectory(prefix="bench-scaling-") as name:
        rows, folder = [], Path(name) / "chain"
        pool = Pool.of_this_machine(small=given.small)
        for n_documents in given.documents:
            for _ in range(given.rounds):
                rows += _chain(folder, n_documents, given.workers, pool, _N_FILES)
        if given.calibrate:
            largest = max(given.documents) if given.small else _ONE_SHARD
            alone = _chain(folder, largest, [1], pool, 1)
    _print(rows)
    equal = float(len({(r.stage, r.documents, r.root) for r in rows}) == _n_chains(rows))
    told = {"name": "scaling", "commit": harness.commit(), "machine": machine()}
    told |= {"rows": [row._asdict() for row in rows], "checks": {"roots_equal": equal}}
    if given.calibrate:
        crawled = _crawl(small=given.small)
        made = _calibrated(rows, alone, crawled, given)
        costs_file(given.costs, {**made, "bytes_per_word": _bytes_per_word(small=given.small)})
    if given.check:
        told["errors"] = _check(rows, given.costs)
    print(json.dumps(told, sort_keys=True, allow_nan=False))
    return 0 if equal == 1.0 else 1


def _n_chains(rows: Sequence[Row]) -> int:
    return len({(row.stage, row.documents) for row in rows})


def _arguments() -> argparse.Namespace:
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--documents", type=int, nargs="+", default=[1000], help="sizes (1000)")
    found.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="(1 2 4)")
    found.add_argument("--rounds", type=int, default=1, help="runs of each size (1)")
    found.add_argument("--calibrate", action="store_true", help="write the constants")
    found.add_argument("--check", action="store_true", help="compare with what the plan says")
    found.add_argument("--costs", type=Path, default=COSTS, help="the constants' file")
    found.add_argument("--small", action="store_true", help="pages of one package; for tests")
    given = found.parse_args()
    if given.calibrate and (len(given.workers) != 1 or len(given.documents) < 2):
        found.error("--calibrate takes one number of workers and two sizes or more")
    return given


# ── the chain ────────────────────────────────────────────────────────────────────────────────────


def _chain(
    folder: Path, n_documents: int, workers: Sequence[int], pool: "Pool", n_files: int
) -> list[Row]:
    """Runs every stage at one size, once with each number of workers; removes what was made."""
    mb_html = make_input(folder, n_documents, pool, n_files) / 1e6
    rows = []
    for stage in STAGES:
        if stage == "decontaminate":
            _spawn(folder, "evalsets", 1)
        mb_in = mb_html if stage == "extract" else _text_mb(folder, _before(stage))
        for n_workers in workers[-1:] if stage in _ALONE else workers:
            _clear(folder, stage)
            held = _disk_bytes(folder)
            run = _spawn(folder, stage, n_workers)
            row = Row(
                stage=stage,
                documents=n_documents,
                workers=n_workers,
                files=n_files,
                mb_in=mb_in,
                cpu_s=run.told["cpu_s"],
                start_cpu_s=max(0.0, run.cpu_s - run.told["cpu_s"]),
                wall_s=run.told["wall_s"],
                peak_bytes=run.told["peak_bytes"],
                disk_bytes=_disk_bytes(folder) - held,
                root=_root(folder / _OUTPUTS[stage]),
            )
            rows.append(row)
            told = f"{row.cpu_s:8.2f} CPU-s {row.wall_s:8.2f} s {row.peak_bytes >> 20:6} MiB"
            named = f"{n_documents:>8} documents  {n_workers} workers  {stage:<14}"
            print(f"{named} {told}", file=sys.stderr)
    shutil.rmtree(folder)
    return rows


def _before(stage: str) -> str:
    """Returns the folder whose text a stage reads."""
    return "corpus" if stage == "encode" else _OUTPUTS[STAGES[STAGES.index(stage) - 1]]


def _spawn(folder: Path, stage: str, n_workers: int) -> harness.Run:
    command = (sys.executable, "-m", "benchmarks.scaling", "--work", str(folder), stage)
    env = (("OUTBOUND_WORKERS", str(n_workers)), ("PYTHONPATH", str(harness.ROOT)))
    contender = Contender(name=f"scaling {stage}", command=command, env=env)
    for _ in range(_STARTS):
        try:
            return harness.measure(contender)
        except RuntimeError as error:
            if _LATE not in str(error):
                raise
            print(f"{stage}: Ray took more than its 30 s to start; once more", file=sys.stderr)
    return harness.measure(contender)


def work(folder: Path, stage: str) -> None:
    """Does one stage and prints what it took, the start of the engine left out."""
    os.chdir(folder)
    with ExitStack() as stack:
        engine = (
            stack.enter_context(parallel.engine()) if stage not in ("bpe", "evalsets") else None
        )
        watch = stack.enter_context(Watch())
        before, start = watch.cpu_s(), time.monotonic()
        _run(stage, engine)
        told = {"wall_s": round(time.monotonic() - start, 3), "peak_bytes": watch.peak_bytes}
        told["cpu_s"] = round(watch.cpu_s() - before, 3)
    print(json.dumps(told))


def _run(stage: str, engine: Any) -> None:
    """Runs a stage in the current folder, with the settings of params.yaml."""
    if stage == "extract":
        config = params.load("extract", extract.Config, harness.ROOT / params.FILE)
        extract.run(Path("warc"), Path("pages"), config, engine)
    elif stage == "clean":
        rules = params.load("clean", clean.Config, harness.ROOT / params.FILE)
        clean.run([Path("pages")], Path("clean"), rules, engine)
    elif stage == "dedup":
        near = params.load("dedup", dedup.Config, harness.ROOT / params.FILE)
        dedup.run(Path("clean"), Path("unique"), near, engine)
    elif stage == "evalsets":
        sets = params.load("evalsets", evalsets.Config, harness.ROOT / params.FILE)
        evalsets.run(Path("unique"), Path("eval"), sets)
    elif stage == "decontaminate":
        limits = params.load("decontaminate", decontaminate.Config, harness.ROOT / params.FILE)
        outputs = decontaminate.Outputs(corpus=Path("corpus"), overlap=Path("overlap"))
        decontaminate.run(Path("unique"), Path("eval"), outputs, limits, engine)
    elif stage == "bpe":
        learned = params.load("bpe", bpe.Config, harness.ROOT / params.FILE)
        bpe.run(Path("corpus"), Path("bpe"), replace(learned, n_vocab=_N_VOCAB))
    else:
        encode.run(Path("corpus"), Path("bpe"), Path("tokens"), engine)


class Watch:
    """Looks at the processes below this one: their CPU time, and the memory of each worker."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._looking_s = 0.0
        self.peak_bytes = 0

    def __enter__(self) -> "Watch":
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def cpu_s(self) -> float:
        """Returns the CPU seconds so far of this process and of all that were seen below it."""
        self._look()
        return time.process_time() - self._looking_s + sum(self._seen.values())

    def _look_on(self) -> None:
        while not self._done.wait(_LOOK_S):
            self._look()
            self._looking_s = time.thread_time()

    def _look(self) -> None:
        workers = 0
        waiting = list(harness.children())
        while waiting:
            pid = waiting.pop()
            below = harness.children(pid)
            waiting += below
            self._seen.update(harness.usage_of(pid))
            if _is_worker(pid):
                workers += 1
                self.peak_bytes = max(self.peak_bytes, _held_bytes(pid))
        if not workers:  # the stage runs in this process
            self.peak_bytes = max(self.peak_bytes, _held_bytes(os.getpid()))


def _is_worker(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
    except OSError:
        return False


def _held_bytes(pid: int) -> int:
    """Returns the resident memory of a process and of all below it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    own = pages * os.sysconf("SC_PAGE_SIZE")
    return own + sum(_held_bytes(child) for child in harness.children(pid))


def _clear(folder: Path, stage: str) -> None:
    """Removes what a stage left, its share of the shard store included."""
    for name in (_OUTPUTS[stage], "overlap" if stage == "decontaminate" else ""):
        if name:
            shutil.rmtree(folder / name, ignore_errors=True)
    kept = {file.stat().st_ino for path in _finished(folder) for file in path.rglob("*.parquet")}
    for step in (folder / ".shards").glob("*"):
        files = [file.stat().st_ino for file in step.rglob("*.parquet")]
        if not kept.intersection(files):
            shutil.rmtree(step)


def _finished(folder: Path) -> list[Path]:
    return [folder / name for name in _OUTPUTS.values() if (folder / name).is_dir()]


def _disk_bytes(folder: Path) -> int:
    """Returns the bytes of a folder's files; linked ones count once."""
    found = (path.stat() for path in folder.rglob("*") if path.is_file())
    return sum({told.st_ino: told.st_size for told in found}.values())


def _root(folder: Path) -> str:
    """Returns the digest of what a stage made."""
    if (folder / manifest.NAME).is_file():
        return str(json.loads((folder / manifest.NAME).read_bytes())["root"])
    return harness.digest(folder.glob("*.*"))


def _text_mb(folder: Path, name: str) -> float:
    """Returns the MB of text in a folder of documents."""
    made = manifest.load(folder / name, name)
    paths = [*made.paths(), *made.paths("train"), *made.paths("valid")]
    texts = (pq.read_table(path, columns=["text"])["text"] for path in paths)
    return sum(pc.sum(pc.binary_length(text)).as_py() or 0 for text in texts) / 1e6


# ── input ────────────────────────────────────────────────────────────────────────────────────────


def make_input(folder: Path, n_documents: int, pool: "Pool", n_files: int) -> int:
    """Writes WARC files of drawn pages, all pages of a site in one file.

    Args:
        folder: Where `warc/` goes.
        n_documents: How many pages.
        pool: What they are drawn from.
        n_files: How many files they are spread over.

    Returns:
        The bytes of HTML.
    """
    (folder / "warc").mkdir(parents=True)
    n_bytes = 0
    with ExitStack() as stack:
        paths = [folder / "warc" / f"part-{i:05d}.warc.gz" for i in range(n_files)]
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for number in range(n_documents):
            site = number // _PER_SITE
            markup = layouts.show(pool.article(number), _SEED, site, number).markup.encode()
            n_bytes += len(markup)
            url = f"http://site{site}.test/{number}.html"
            files[site % n_files].write(archives.record(url, markup))
    archives.seal(folder / "warc")
    return n_bytes


class Pool(NamedTuple):
    """What pages are drawn from: blocks of articles by kind, the articles' shapes, their words."""

    blocks: dict[str, list[Block]]
    shapes: list[tuple[str, ...]]
    words: list[str]

    @classmethod
    def of_this_machine(cls, *, small: bool) -> "Pool":
        """Returns the pool of the packages that the demo reads, or of one."""
        blocks: dict[str, list[Block]] = {}
        shapes, words = [], []
        for article in extraction.articles(small=small):
            shapes.append(tuple(block.kind for block in article.blocks))
            for block in article.blocks:
                blocks.setdefault(block.kind, []).append(block)
                if block.kind == "paragraph":
                    words += [w for line in block.lines for w in line.split() if w.isalpha()]
        return cls(blocks, shapes, words)

    def article(self, number: int) -> Article:
        """Returns the article of a page; the same for the same number, whatever the size."""
        drawn = random.Random(f"{_SEED}/{number}")
        blocks = self._drawn(number)
        if number % _COPY_EVERY == _COPY_EVERY - 1:
            # of a page that is no copy itself: its number is a multiple of ten
            back = drawn.randrange(1 + min(number, _COPIED_FROM) // _COPY_EVERY)
            copied = self._drawn(number // _COPY_EVERY * _COPY_EVERY - _COPY_EVERY * back)
            blocks = [*copied[:-1], blocks[-1]]
        return Article("scaling", f"page{number}", f"Page {number}", tuple(blocks))

    def _drawn(self, number: int) -> list[Block]:
        """Returns blocks with every sixth word drawn anew: pages share no eight in a row."""
        drawn = random.Random(f"{_SEED}/{number}/blocks")
        kinds = drawn.choice(self.shapes)
        places = itertools.count(drawn.randrange(_VARIED_EVERY))
        return [self._varied(drawn.choice(self.blocks[kind]), drawn, places) for kind in kinds]

    def _varied(self, block: Block, drawn: random.Random, places: Iterator[int]) -> Block:
        lines = (
            " ".join(
                word if next(places) % _VARIED_EVERY else drawn.choice(self.words)
                for word in line.split(" ")
            )
            for line in block.lines
        )
        return Block(block.kind, tuple(lines))


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


def _print(rows: Sequence[Row]) -> None:
    """Prints the costs by stage, size and workers."""
    print(f"{'stage':<14}{'documents':>10}{'workers':>8}{'MB':>9}{'CPU-s':>9}{'s':>8}"
          f"{'ms/doc':>9}{'CPU-s/MB':>10}{'MiB/worker':>12}{'disk MB':>9}")  # fmt: skip
    for row in sorted(rows, key=lambda r: (STAGES.index(r.stage), r.documents, r.workers)):
        each, per_mb = 1000 * row.cpu_s / row.documents, row.cpu_s / row.mb_in
        print(f"{row.stage:<14}{row.documents:>10}{row.workers:>8}{row.mb_in:>9.2f}"
              f"{row.cpu_s:>9.2f}{row.wall_s:>8.2f}{each:>9.3f}{per_mb:>10.4f}"
              f"{row.peak_bytes >> 20:>12}{row.disk_bytes / 1e6:>9.2f}")  # fmt: skip


class Typical(NamedTuple):
    """Medians of the rounds of a stage at one size."""

    mb_in: float
    shard_mb: float
    cpu_s: float
    peak_bytes: float
    disk_bytes: float


def _of(rows: Sequence[Row], stage: str, documents: int) -> Typical:
    """Returns what a stage took at one size."""
    found = [r for r in rows if (r.stage, r.documents) == (stage, documents)]
    return Typical(
        mb_in=found[0].mb_in,
        shard_mb=found[0].mb_in / found[0].files,
        cpu_s=statistics.median(r.cpu_s for r in found),
        peak_bytes=statistics.median(r.peak_bytes for r in found),
        disk_bytes=statistics.median(r.disk_bytes for r in found),
    )


def fit(small: float, large: float, less: float, more: float) -> tuple[float, float]:
    """Returns constant and slope of the line through two measurements, neither below 0.

    Args:
        small: Size of the first.
        large: Size of the second.
        less: What the first took.
        more: What the second took.

    >>> fit(1, 3, 5, 9)
    (3.0, 2.0)
    >>> fit(1, 3, 1, 9)
    (0.0, 3.0)
    >>> fit(1, 3, 9, 5)
    (9.0, 0.0)
    """
    slope = (more - less) / (large - small)
    if slope < 0:
        return float(less), 0.0
    constant = less - slope * small
    return (float(constant), slope) if constant >= 0 else (0.0, more / large)


def _calibrated(
    rows: Sequence[Row], alone: Sequence[Row], crawled: dict[str, float], given: argparse.Namespace
) -> dict[str, Any]:
    """Returns the measured sections of the constants' file."""
    few, many = min(given.documents), max(given.documents)
    stages = {}
    for stage in STAGES:
        less, more = _of(rows, stage, few), _of(rows, stage, many)
        one = _of(alone, stage, alone[0].documents)
        at, beyond = less.mb_in, more.mb_in
        fixed, per_mb = fit(at, beyond, less.cpu_s, more.cpu_s)
        held, more_held = fit(less.shard_mb, one.shard_mb, less.peak_bytes, one.peak_bytes)
        stored, more_stored = fit(at, beyond, less.disk_bytes, more.disk_bytes)
        stages[stage] = {
            "fixed_cpu_s": _rounded(fixed),
            "cpu_s_per_mb": _rounded(per_mb),
            "cpu_s_per_document": _rounded(per_mb * beyond / many),
            "fixed_peak_bytes": _rounded(held),
            "peak_bytes_per_mb": _rounded(more_held),
            "largest_shard_mb": _rounded(one.shard_mb),
            "fixed_disk_bytes": _rounded(stored),
            "disk_bytes_per_mb": _rounded(more_stored),
        }
    source = {"date": datetime.now(UTC).date().isoformat(), "commit": harness.commit()}
    source["machine"] = machine()
    documents = " ".join(str(n) for n in given.documents)
    command = f"--documents {documents} --workers {given.workers[0]} --rounds {given.rounds}"
    starting = statistics.median(r.start_cpu_s for r in rows if r.stage not in _ALONE)
    return {
        "format": costs.FORMAT,
        "measured": {
            "stages": {**source, "benchmark": f"benchmarks.scaling {command} --calibrate"},
            "crawl": {**source, "benchmark": "benchmarks.crawl --memory"},
        },
        "start_cpu_s": _rounded(starting),
        "stages": stages,
        "crawl": crawled,
    }


def costs_file(path: Path, measured: dict[str, Any]) -> None:
    """Writes the constants; what is not measured stays as it was."""
    kept = json.loads(path.read_bytes()) if path.is_file() else {"corpora": {}, "nodes": {}}
    path.write_text(json.dumps({**kept, **measured}, indent=1) + "\n")


def _crawl(*, small: bool) -> dict[str, float]:
    """Returns the crawl's constants, from its own benchmark at its two largest sizes."""
    command = [sys.executable, "-m", "benchmarks.crawl", "--memory", *(["--small"] * small)]
    done = subprocess.run(command, cwd=harness.ROOT, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    less, more = [at for at in told["runs"] if at["partitions"] == 1][-2:]  # caches are full there
    few, many = less["links"], more["links"]
    _, cpu_s = fit(few, many, less["cpu_s"], more["cpu_s"])
    stored = [at["warc_bytes"] + at["rows_bytes"] for at in (less, more)]
    _, kept = fit(few, many, *stored)
    held, per_link = fit(few, many, less["peak_bytes"], more["peak_bytes"])
    return {
        "cpu_s_per_page": _rounded(cpu_s),
        "html_bytes_per_page": told["html_bytes_per_page"],
        "wire_bytes_per_page": _rounded(told["wire_bytes_per_page"]),
        "warc_bytes_per_page": _rounded(kept),
        "fixed_peak_bytes": _rounded(held),
        "peak_bytes_per_link": _rounded(per_link),
    }


def _bytes_per_word(*, small: bool) -> float:
    """Returns what each further distinct word takes of the memory of `bpe`."""
    few, many = (n // _SHORTER if small else n for n in _N_WORDS)
    held = []
    for n_words in (few, many):
        command = [sys.executable, "-m", "benchmarks.scaling", "--words", str(n_words)]
        done = subprocess.run(command, cwd=harness.ROOT, check=True, capture_output=True, text=True)
        held.append(int(done.stdout))
    return _rounded(fit(few, many, *held)[1])


def learn_words(n_words: int) -> None:
    """Learns a vocabulary from distinct words and prints the bytes this process held at most."""
    drawn = random.Random(_SEED)
    words = ("".join(drawn.choices(_LETTERS, k=_N_LETTERS)) for _ in range(n_words))
    bpe.train(iter(lambda: [" ".join(itertools.islice(words, 10_000))], [""]), _N_VOCAB, 2)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def machine() -> str:
    """Returns what was measured on: CPUs and their model."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{os.cpu_count()} x {models[0] if models else 'unknown CPU'}"


def _check(rows: Sequence[Row], path: Path) -> dict[str, dict[str, float]]:
    """Returns how far what the plan says is from what was measured, as a share of the latter."""
    known = costs.load(path)
    errors: dict[str, dict[str, float]] = {}
    print(f"\n{'predicted, measured':<24}{'CPU-s':>26}{'MiB/worker':>26}{'disk MB':>26}")
    for documents in sorted({row.documents for row in rows}):
        cpu_s = []
        for stage in STAGES:
            took, told = _of(rows, stage, documents), known.stages[stage]
            pairs = {
                "cpu_s": (told.cpu_s(took.mb_in), took.cpu_s),
                "peak_bytes": (told.peak_bytes(took.shard_mb), took.peak_bytes),
                "disk_bytes": (told.disk_bytes(took.mb_in), took.disk_bytes),
            }
            cpu_s.append(pairs["cpu_s"])
            errors[f"{stage} {documents}"] = {n: _error(*pair) for n, pair in pairs.items()}
            sizes = zip(pairs.values(), (1, 2**20, 1e6), strict=True)
            print(f"{documents:>8} {stage:<15}" + "".join(_cell(pair, by) for pair, by in sizes))
        predicted, measured = (sum(each) for each in zip(*cpu_s, strict=True))
        errors[f"all {documents}"] = {"cpu_s": _error(predicted, measured)}
        print(f"{documents:>8} {'all':<15}{_cell((predicted, measured), 1)}")
    worst = max(abs(error) for one in errors.values() for error in one.values())
    verdict = "within" if worst <= _ALLOWED_ERROR else "NOT within"
    print(f"largest error {worst:.1%}: {verdict} {_ALLOWED_ERROR:.0%}")
    return errors


def _error(predicted: float, measured: float) -> float:
    return round(predicted / measured - 1, 4)


def _cell(pair: tuple[float, float], by: float) -> str:
    told = f"{pair[0] / by:.2f}, {pair[1] / by:.2f}"
    return f"{told} ({_error(*pair):+.1%})".rjust(26)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(Path(sys.argv[2]), sys.argv[3])
    elif sys.argv[1:2] == ["--words"]:
        learn_words(int(sys.argv[2]))
    else:
        sys.exit(main())

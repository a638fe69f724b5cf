"""How every benchmark compares: contenders in turn, whole process trees, medians, one JSON line.

    ours, peers ──> sweep, rounds ──> result ──> finish: table, JSON line, RESULTS/<machine>.json

Decisions:
- A contender is a command. What it costs is the CPU time of its process tree: this process adopts
  orphans (a `subreaper`), so that workers and daemons count that outlive their parent. A process
  whose parent never waits for it (Ray's workers, at times) is in nobody's usage, so the tree is
  also looked at ten times a second, and the larger of the two sums counts: for one run over Ray the
  kernel's own account said 17.2 CPU-seconds, the usages 7.1, the larger of both now 16.9.
- Contenders take turns, and the order rotates, so that a busy minute hits all of them.
- Figures are medians over at least five rounds; the spread is that of the ratio within a round.
- No time decides anything: the exit status is 1 only when a named check fails.
- A comparison whose checks hold is written into the machine's file of results, where it takes the
  place of its own earlier one only; `benchmarks.scoreboard` makes a page of them. A small run is
  written only where `--results` asks for it.
"""

import argparse
import ctypes
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from benchmarks import machine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MIN_ROUNDS = 5
OURS = "outbound"

_NOT_CODE = (":!benchmarks/results", ":!docs/performance.md")
_PEERS = ".venv-bench/bin/python"
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_S = 0.1
_GRACE_S = 20.0  # for what a command leaves behind; then it is ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One command that does the work.

    Attributes:
        name: As it appears in the table, with its version.
        command: Arguments; its last line on stdout may be a JSON object of results.
        env: Added to the environment.
    """

    name: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()


class Run(NamedTuple):
    """What one run of a contender cost and told."""

    cpu_s: float
    wall_s: float
    max_rss_bytes: int
    told: dict[str, Any]


class Check(NamedTuple):
    """A figure that must not be below `at_least` for the comparison to be one."""

    value: float
    at_least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is compared.

    Attributes:
        name: Of the benchmark.
        case: Of it; "" where there is one only.
        work: What is done to what, in a few words.
        unit: Of the rates, e.g. "docs per CPU-second".
        amount: Units of work that every contender does in one run.
        target: The ratio to reach.
        inputs: Digest of the input, so that two reports can be compared.
        n_bytes: That the work at least reads and writes; 0 where something else is its limit.
    """

    name: str
    case: str = ""
    work: str
    unit: str
    amount: float
    target: float
    inputs: str
    n_bytes: float = 0.0


def parser(description: str | None) -> argparse.ArgumentParser:
    """Returns the command line that benchmarks share: `--rounds`, `--small`, `--results`."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--rounds", type=int, default=MIN_ROUNDS, help="at least five count")
    found.add_argument("--small", action="store_true", help="seconds instead of minutes; for tests")
    found.add_argument(
        "--results",
        type=Path,
        help="folder for the result (default: benchmarks/results; with --small none)",
    )
    return found


def peer_python() -> str | None:
    """Returns the interpreter of the peers' environment, None where it is not set up."""
    path = os.environ.get("OUTBOUND_BENCH_PYTHON") or str(ROOT / _PEERS)
    return path if Path(path).is_file() else None


def peer_versions(*names: str) -> dict[str, str]:
    """Returns the versions of packages in the peers' environment; none where it is not set up."""
    python = peer_python()
    return versions(*names, python=python) if python else {}


def versions(*names: str, python: str = sys.executable) -> dict[str, str]:
    """Returns the versions of an interpreter's packages; those that are absent are left out."""
    code = (
        "import importlib.metadata as m, json, sys\n"
        "found = {d.name.lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({n: found[n] for n in sys.argv[1:] if n in found}))"
    )
    command = [python, "-c", code, *names]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(told.stdout)
    return found


def ours(module: str, *arguments: object, **env: str) -> Contender:
    """Returns our side: a benchmark's own `work`, as `main` starts it.

    Args:
        module: The benchmark, e.g. "clean".
        arguments: Of its `work`, which gets a path and strings.
        env: Added to the environment.
    """
    command = (sys.executable, "-m", f"benchmarks.{module}", "--work", *map(str, arguments))
    # Workers start in the folder of the benchmark, not in the project's.
    return Contender(name=OURS, command=command, env=(("PYTHONPATH", str(ROOT)), *env.items()))


def peers(
    script: str, commands: Mapping[str, Sequence[object]], **env: str
) -> dict[str, Contender]:
    """Returns contenders by name, run by the interpreter of the peers' environment.

    Args:
        script: Of this folder, e.g. "peer_filters".
        commands: Its arguments by the name of the contender.
        env: Added to the environment.

    Returns:
        None of them where the environment is not set up, which is said once.
    """
    python = peer_python()
    if python is None:
        _say_once("no .venv-bench: run `make bench-env` for the comparison")
        return {}
    path = str(ROOT / "benchmarks" / f"{script}.py")
    return {
        name: Contender(name=name, command=(python, path, *map(str, given)), env=(*env.items(),))
        for name, given in commands.items()
    }


@cache
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)


def measure(contender: Contender) -> Run:
    """Runs a contender once.

    Raises:
        RuntimeError: If it fails; the end of its stderr is in the message.
    """
    _adopt_orphans()
    strangers = children()
    start = time.monotonic()
    with (
        _watched(strangers) as seen,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        environment = os.environ | dict(contender.env)
        process = subprocess.Popen(
            contender.command, cwd=ROOT, env=environment, stdout=out, stderr=err
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        usages = [usage, *_reap_orphans(strangers)]
        wall_s = time.monotonic() - start
        lines, complaints = _lines(out), _lines(err)
    if process.returncode:
        told = "\n".join(complaints[-20:])
        raise RuntimeError(f"{contender.name}: exit status {process.returncode}\n{told}")
    return Run(
        cpu_s=max(sum(u.ru_utime + u.ru_stime for u in usages), sum(seen.cpu_s.values())),
        wall_s=wall_s,
        max_rss_bytes=max(seen.peak_bytes.values(), default=0),
        told=_last_object(lines),
    )


def _lines(file: BinaryIO) -> list[str]:
    file.seek(0)
    return file.read().decode("utf-8", "replace").strip().splitlines()


def _adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent ends."""
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER) failed; benchmarks need Linux")


def _reap_orphans(strangers: set[int]) -> Iterator[Any]:
    """Yields the resource usage of every adopted process; what does not end by itself is ended.

    Args:
        strangers: Children that were there before; they are left alone.
    """
    deadline = time.monotonic() + _GRACE_S
    while orphans := children() - strangers:
        for pid in orphans:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            ended, _, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                yield usage
        time.sleep(0.02)


class _Seen(NamedTuple):
    """What was last seen of each process: CPU seconds by id and start, peak memory by id.

    The kernel's own account of an ended process (`ru_maxrss`) is no use for memory: a child begins
    with what its parent held when it started it.
    """

    cpu_s: dict[tuple[int, str], float]
    peak_bytes: dict[int, int]


@contextmanager
def _watched(strangers: set[int]) -> Iterator[_Seen]:
    """Yields what each process below this one has used, looked at while they run.

    Args:
        strangers: Children whose trees are left out.
    """
    seen = _Seen({}, {})
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_S):
            waiting = children() - strangers
            while waiting:
                pid = waiting.pop()
                waiting |= children(pid)
                seen.cpu_s.update(usage_of(pid))
                seen.peak_bytes.update(_peak_of(pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def usage_of(pid: int) -> dict[tuple[int, str], float]:
    """Returns the CPU seconds of a process so far; nothing when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return {}
    return {(pid, fields[19]): (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")}


def _peak_of(pid: int) -> dict[int, int]:
    """Returns the most resident memory that a process has had; nothing when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return {pid: int(line.split()[1]) * 1024}
    return {}


def children(pid: int | str = "self") -> set[int]:
    """Returns the processes that a process started and that still run."""
    listed = []
    with suppress(OSError):  # the process has ended meanwhile
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):  # a thread has
                listed.append(path.read_text())
    return {int(child) for line in listed for child in line.split()}


def _last_object(lines: Sequence[str]) -> dict[str, Any]:
    try:
        told = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def sweep(contenders: Iterable[Contender]) -> dict[str, Run]:
    """Runs each contender once."""
    found = {}
    for contender in contenders:
        run = found[contender.name] = measure(contender)
        told = f"{run.cpu_s:8.2f} CPU-s {json.dumps(run.told) if run.told else ''}"
        print(f"sweep  {contender.name:<44} {told}", file=sys.stderr)
    return found


def rounds(contenders: Sequence[Contender], n: int) -> dict[str, list[Run]]:
    """Runs all contenders in turn, n times; each round begins with another one."""
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for i in range(n):
        turn = i % len(contenders)
        for contender in (*contenders[turn:], *contenders[:turn]):
            run = measure(contender)
            runs[contender.name].append(run)
            told = f"{run.cpu_s:8.2f} CPU-s {run.wall_s:8.2f} s"
            print(f"round {i + 1}/{n}  {contender.name:<44} {told}", file=sys.stderr)
    return runs


def median_s(runs: Iterable[Run]) -> float:
    """Returns the median of CPU seconds."""
    return statistics.median(run.cpu_s for run in runs)


def result(
    comparison: Comparison,
    runs: Mapping[str, Sequence[Run]],
    ours: str,
    checks: Mapping[str, Check],
) -> dict[str, Any]:
    """Returns the comparison as one JSON object.

    Args:
        comparison: What was compared.
        runs: Of every contender, ours included; same number for all.
        ours: The name of ours.
        checks: Named figures of correctness and quality.
    """
    rates = {name: [comparison.amount / r.cpu_s for r in of] for name, of in runs.items()}
    medians = {name: statistics.median(of) for name, of in rates.items()}
    peers = {name: rate for name, rate in medians.items() if name != ours}
    best = max(peers, key=lambda name: peers[name]) if peers else ours
    ratios = [a / b for a, b in zip(rates[ours], rates[best], strict=True)]
    told = {
        "name": comparison.name,
        "case": comparison.case,
        "work": comparison.work,
        "unit": comparison.unit,
        "ours": round(medians[ours], 3),
        "peers": {name: round(rate, 3) for name, rate in peers.items()},
        "against": best if peers else None,
        "ratio": round(medians[ours] / medians[best], 4) if peers else None,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "spread": [round(min(ratios), 4), round(max(ratios), 4)],
        "target": comparison.target,
        "checks": {name: round(check.value, 5) for name, check in checks.items()},
        "rounds": len(ratios),
        "inputs": comparison.inputs,
    }
    if comparison.n_bytes:
        told["limit"] = machine.bandwidth(comparison.n_bytes / median_s(runs[ours])).told()
    return told


def against(
    comparison: Comparison, runs: Mapping[str, Sequence[Run]], ours: str, peer: str
) -> dict[str, Any]:
    """Returns the ratio to one peer, to stand in a result's place of it or under `further`."""
    two = {name: runs[name] for name in (ours, peer)}
    told = result(comparison, two, ours, {})
    return {key: told[key] for key in ("against", "ratio", "spread", "target")}


def others(told: Mapping[str, Any]) -> list[str]:
    """Returns the peers in a result that its ratio is not to."""
    return [name for name in told["peers"] if name != told["against"]]


def further(
    comparison: Comparison,
    runs: Mapping[str, Sequence[Run]],
    ours: str,
    peers: Iterable[str],
    target: float | None = None,
) -> list[dict[str, Any]]:
    """Returns ratios to peers, to stand beside that of the result, with a target of their own."""
    return [{**against(comparison, runs, ours, peer), "target": target} for peer in peers]


def finish(
    told: Mapping[str, Any],
    runs: Mapping[str, Sequence[Run]],
    checks: Mapping[str, Check],
    results: Path | None,
) -> int:
    """Prints the table and, as the last line, the JSON object; returns the exit status.

    Args:
        told: As `result` returns it, with what the benchmark adds.
        runs: Of every contender.
        checks: Those of the comparison; where one fails, nothing is recorded.
        results: The folder to record in, None for nowhere.
    """
    print(f"\n{'':<44} {told['unit']:>20} {'CPU-s':>9} {'s':>9} {'MiB':>7}")
    for name, of in runs.items():
        rate = told["peers"].get(name, told["ours"])
        cpu, wall = (
            statistics.median(seconds) for seconds in zip(*(r[:2] for r in of), strict=True)
        )
        print(f"{name:<44} {rate:>20.2f} {cpu:>9.2f} {wall:>9.2f} {of[-1].max_rss_bytes >> 20:>7}")
    failed = [name for name, check in checks.items() if check.value < check.at_least]
    for name, check in checks.items():
        verdict = "FAILED" if name in failed else "ok"
        print(f"check {name} = {check.value:.5f} (at least {check.at_least}): {verdict}")
    if results and not failed:
        print(f"written to {record(told, results)}", file=sys.stderr)
    print(json.dumps(told, sort_keys=True, allow_nan=False))
    return 1 if failed else 0


def record(told: Mapping[str, Any], folder: Path) -> Path:
    """Puts a result into this machine's file in place of its earlier one; returns the file.

    The key is the benchmark's name, with its case behind a slash where it has one.
    """
    about = machine.describe()
    path = folder / f"{about['name']}.json"
    entries = json.loads(path.read_text(encoding="utf-8"))["entries"] if path.is_file() else {}
    key = "/".join(part for part in (told["name"], told["case"]) if part)
    whole = {"machine": about, "entries": {**entries, key: dict(told)}}
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(
        json.dumps(whole, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
    )
    draft.rename(path)
    return path


def commit() -> str:
    """Returns the commit that was measured, `-dirty` when files differ from it, "" outside git.

    Results and their page are left out: an earlier benchmark's change nothing in a later one.
    """
    head = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "-uno", "--", ".", *_NOT_CODE)
    return head + ("-dirty" if head and changed else "")


def _git(*arguments: str) -> str:
    told = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() if told.returncode == 0 else ""


def digest(paths: Iterable[Path]) -> str:
    """Returns one digest of files' contents, in order of their names."""
    found = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def main(
    run: Callable[[argparse.Namespace], int],
    arguments: argparse.ArgumentParser,
    work: Callable[..., None] | None = None,
) -> None:
    """Parses the command line, runs a benchmark and exits with its status.

    Args:
        run: The benchmark.
        arguments: Its command line.
        work: What our side does, if it is a contender as `ours` makes it: started with `--work`,
            a path and strings.
    """
    if work is not None and sys.argv[1:2] == ["--work"]:
        work(Path(sys.argv[2]), *sys.argv[3:])
        return
    given = arguments.parse_args()
    if given.rounds < MIN_ROUNDS and not given.small:
        arguments.error(f"--rounds is {given.rounds}; expected at least {MIN_ROUNDS}")
    if given.results is None and not given.small:
        given.results = RESULTS
    sys.exit(run(given))

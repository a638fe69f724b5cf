"""The page of all figures: `docs/performance.md`, made of `benchmarks/results/*.json` alone.

    python -m benchmarks.<step>  ──>  benchmarks/results/<machine>.json  ──>  docs/performance.md

A row is one ratio: to the peer that does the same work at its best settings, and below it to others
(`further`). What a file does not hold (a spread in an entry that was written from the log, which it
names as its `source`; a limit that no part of the machine sets) is an empty cell. Steps without a
result are named.

Run: python -m benchmarks.scoreboard [--results FOLDER] [--page FILE]
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, ROOT

PAGE = ROOT / "docs" / "performance.md"
# Whatever `make bench` measures, in the graph's order, and what it leaves to machines with a GPU.
BENCHMARKS = (
    "links/dump", "links/links", "crawl", "crawl/tls", "extract", "clean", "dedup",
    "decontaminate", "encode", "encode/bare-new", "encode/bare-repeated", "load/gpt2",
    "load/default", "train_cpu/default", "train_cpu/middle", "train_gpu/gpt2-124m",
    "train_gpu/gpt2-355m", "evaluate/lambada", "evaluate/wikitext", "evaluate/cloze", "chain",
    "graph",
)  # fmt: skip

_HEAD = """# Performance

Made by `python -m benchmarks.scoreboard` from the files in `benchmarks/results/`; `make bench`
measures anew. How is said in [the design](design.md), section 8: same input, same cores, contenders
in turn, CPU time of whole process trees, medians; a peer runs at the best of the settings that were
tried. A ratio above 1 means that ours is faster; in parentheses, the least and the largest ratio of
a round. What was tried to get there, and what failed, is in [the log](log.md).
"""
_COLUMNS = (
    "step", "work", "ours", "against", "ratio", "target", "met", "limit of the machine: share",
    "CPU-seconds of ours by N", "measured",
)  # fmt: skip


def render(files: Sequence[Mapping[str, Any]]) -> str:
    """Returns the page of several machines' files, one section each."""
    return "\n".join([_HEAD, *(_section(file) for file in files)])


def load(folder: Path) -> list[dict[str, Any]]:
    """Returns what the files of a folder hold, by their names.

    Raises:
        FileNotFoundError: If there is none.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no result; measure with: make bench")
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def _section(file: Mapping[str, Any]) -> str:
    entries, about = file["entries"], file["machine"]
    known = [key for key in BENCHMARKS if key in entries]
    keys = [*known, *sorted(entries.keys() - set(known))]
    missing = [key for key in BENCHMARKS if key not in entries]
    rows = [_COLUMNS, ("---",) * len(_COLUMNS)]
    rows += [row for key in keys for row in _rows(key, entries[key])]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "\n".join(_note(key, entries[key]) for key in keys)
    absent = f"Not measured here: {', '.join(missing)}.\n" if missing else ""
    return f"## {about['name']}\n\n{_machine(about)}\n\n{table}\n\n{notes}\n\n{absent}"


def _machine(about: Mapping[str, Any]) -> str:
    parts = [about["processor"], f"{about['cores']} cores", f"{about['memory_gib']} GiB"]
    return ", ".join(map(str, [*parts, *([about["gpu"]] if about["gpu"] else []), about["system"]]))


def _rows(key: str, entry: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns a row for the main ratio and one for each further one."""
    ours = f"{_number(entry['ours'])} {entry['unit']}"
    dirty = "-dirty" * entry["commit"].endswith("-dirty")
    measured = f"{entry['date']}, {entry['commit'][:7]}{dirty}"
    measured += f", from {entry['source']}" if "source" in entry else ""
    tail = (_limit(entry.get("limit")), _cost(entry.get("cost")), measured)
    first = (key, entry["work"], ours, *_ratio(entry, entry), *tail)
    others = [(key, "", "", *_ratio(one, entry), "", "", "") for one in entry.get("further", ())]
    return [first, *others]


def _ratio(one: Mapping[str, Any], entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Returns the cells against, ratio, target, met."""
    name, ratio, target, spread = (one.get(k) for k in ("against", "ratio", "target", "spread"))
    if ratio is None:
        return "no peer was there", "", _number(target), ""
    rate = entry["peers"].get(name)
    against = f"{name}: {_number(rate)}" if rate is not None else name
    shown = _number(ratio) + (f" ({_number(spread[0])} to {_number(spread[1])})" if spread else "")
    met = "" if target is None else "yes" if ratio >= target else "**no**"
    return against, shown, _number(target), met


def _limit(limit: Mapping[str, Any] | None) -> str:
    if limit is None:
        return ""
    return f"{limit['of']}, {_large(limit['most'])} {limit['unit']}: {100 * limit['share']:.3g} %"


def _cost(points: Sequence[tuple[float, float]] | None) -> str:
    return "; ".join(f"{n:,}: {_number(s)}" for n, s in points or ())


def _note(key: str, entry: Mapping[str, Any]) -> str:
    """Returns what the table has no room for: all peers, settings, versions, checks."""
    parts = {
        "in rounds": _rates(entry["peers"]),
        "swept": _rates(entry.get("swept", {})),
        "versions": _words(entry.get("versions", {})),
        "checks": _words(entry.get("checks", {})),
    }
    told = "; ".join(f"{name}: {said}" for name, said in parts.items() if said)
    return f"- **{key}** ({entry['unit']}): {told}."


def _rates(rates: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {_number(rate)}" for name, rate in rates.items())


def _words(of: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in of.items())


def _number(value: float | None) -> str:
    """Returns a number with three digits that say something, none cut off before the point.

    >>> _number(1234567.8), _number(82.123), _number(0.98765), _number(None)
    ('1,234,568', '82.1', '0.988', '')
    """
    if value is None:
        return ""
    size = abs(value)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def _large(value: float) -> str:
    """Returns a number with a prefix of the SI.

    >>> _large(35.7e9), _large(2.13e12)
    ('35.7 G', '2.13 T')
    """
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g} "


def main() -> None:
    """Renders the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the files")
    parser.add_argument("--page", type=Path, default=PAGE, help="what is written")
    given = parser.parse_args()
    try:
        page = render(load(given.results))
    except FileNotFoundError as error:
        sys.exit(f"scoreboard: {error}")
    given.page.write_text(page, encoding="utf-8")
    print(f"scoreboard: {given.page}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""The run before: its curves are drawn beside this run's, with what was set differently.

    report of run A ──> last.json
    report of run B ──> last.json, A's becomes before.json ──> the page of B shows A

Decisions:
- A run is told by its curves. A page that is made again, after a change that training does not see,
  still shows the same run before.
- The report keeps the curves itself, beside the shard store: neither a commit nor DVC's cache is
  needed, and nothing depends on clocks. They are no input of the graph: a page that DVC takes from
  its cache shows what it showed when it was made.
- Two runs are kept, not a history: that is what `dvc exp show` and `dvc plots diff` are for.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.report.figures import Curve
from pipeline.store import manifest, shards

_LAST, _BEFORE = "last.json", "before.json"
_SECTIONS = ("model", "train")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is kept of a training run.

    Attributes:
        curves: By name.
        facts: Settings by dotted name, and the root digest of its tokens.
    """

    curves: Mapping[str, Curve]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A fact that differs, as the run before had it and as this one has it."""

    name: str
    was: str
    now: str


def facts(settings: Mapping[str, Any], tokens: Path) -> dict[str, Any]:
    """Returns what decides a training: its settings and its tokens.

    Args:
        settings: The content of the parameter file.
        tokens: `data/tokens`; may be absent.
    """
    found = {
        f"{section}.{name}": value
        for section in _SECTIONS
        for name, value in settings.get(section, {}).items()
    }
    if (tokens / manifest.NAME).is_file():
        found["root digest of data/tokens"] = manifest.load(tokens, "encode").root[:12]
    return found


def before(folder: Path, now: Run) -> Run | None:
    """Returns the run before, None if no other is kept.

    Args:
        folder: Where `keep` keeps them; may be absent.
        now: This run.
    """
    last = _read(folder / _LAST)
    return _read(folder / _BEFORE) if last is None or last.curves == now.curves else last


def keep(folder: Path, now: Run) -> None:
    """Keeps a run for the next one; the last other run becomes the one before it."""
    last = folder / _LAST
    known = _read(last)
    if not now.curves or (known is not None and known.curves == now.curves):
        return
    if known is not None:
        last.replace(folder / _BEFORE)
    folder.mkdir(parents=True, exist_ok=True)
    curves = {name: curve.points for name, curve in now.curves.items()}
    shards.write_atomic(last, shards.to_json({"curves": curves, "facts": now.facts}))


def _read(path: Path) -> Run | None:
    if not path.is_file():
        return None
    told = json.loads(path.read_bytes())
    curves = {
        name: Curve(name=name, points=tuple((step, value) for step, value in points))
        for name, points in told["curves"].items()
    }
    return Run(curves=curves, facts=told["facts"])


def changes(was: Run, now: Run) -> tuple[Change, ...]:
    """Returns what was set differently, in the order of the parameter file."""
    names = [*now.facts, *(name for name in was.facts if name not in now.facts)]
    return tuple(
        Change(name=name, was=_shown(was.facts, name), now=_shown(now.facts, name))
        for name in names
        if _shown(was.facts, name) != _shown(now.facts, name)
    )


def _shown(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name, "not set")
    return value if isinstance(value, str) else json.dumps(value)


def ends(was: Run, now: Run) -> Iterator[str]:
    """Yields in a sentence where each loss ended, in nats per token."""
    for name, curve in now.curves.items():
        if name.rpartition("/")[2] == "loss" and name in was.curves:
            (_, old), (_, new) = was.curves[name].points[-1], curve.points[-1]
            yield f"{name} ended at {new:.3f}, before at {old:.3f} ({new - old:+.3f})"

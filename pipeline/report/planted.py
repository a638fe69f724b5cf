"""What the embedded default planted, and where it ended: the run checks itself.

The only reader of the truth file. A case is caught when its stage wrote down exactly the expected
reason for it, or, where it must be kept, when it is in the corpus. Copies of one text are one case:
exactly one of them goes on, whichever it is.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.report.gallery import visible
from pipeline.store import ledger, manifest
from pipeline.store.ledger import Ledger

Row = Mapping[str, str]
End = tuple[str, str]  # stage, reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of planted problem; copies of one text count once."""

    name: str
    expected: str
    n: int
    n_caught: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """Planted problems of one kind that ended in one other place than they must.

    Attributes:
        case: The kind.
        expected: Where they must end.
        found: Where they ended.
        urls: Of each; of copies of one text all in one.
    """

    case: str
    expected: str
    found: str
    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """All planted problems of a run."""

    cases: tuple[Case, ...]
    missed: tuple[Miss, ...]

    @property
    def n_missed(self) -> int:
        """Returns how many ended elsewhere."""
        return self.n - self.n_caught

    @property
    def n(self) -> int:
        """Returns how many were planted."""
        return sum(case.n for case in self.cases)

    @property
    def n_caught(self) -> int:
        """Returns how many ended where they must."""
        return sum(case.n_caught for case in self.cases)


def planted(truth: Path, opened: Ledger) -> Planted | None:
    """Compares the truth file with the ledger.

    Args:
        truth: The folder `data/truth`.
        opened: The ledger of the same run.

    Returns:
        None if nothing was planted.
    """
    if not (truth / manifest.NAME).is_file():
        return None
    paths = manifest.load(truth, "demo").paths()
    rows = pa.concat_tables([pq.read_table(path) for path in paths]).to_pylist()
    if not rows:
        return None
    ends = _ends(opened, sorted({row["doc_id"] for row in rows}))
    return compare(rows, ends)


def _ends(opened: Ledger, doc_ids: Sequence[str]) -> dict[str, list[End]]:
    """Returns by id every decision on it, then its fate, as (stage, reason)."""
    wanted = pa.array(doc_ids, pa.string())
    ends: dict[str, list[End]] = defaultdict(list)
    for place in opened.places:
        source = opened.decisions(place.stage)
        if source is not None:
            for row in source.to_table(filter=pc.field("doc_id").isin(wanted)).to_pylist():
                ends[row["doc_id"]].append((row["stage"], row["reason"]))
    for fates in opened.fates():
        for row in fates.filter(pc.is_in(fates["doc_id"], wanted)).to_pylist():
            ends[row["doc_id"]].append((row["stage"], row["reason"]))
    return ends


def compare(rows: Sequence[Row], ends: Mapping[str, Sequence[End]]) -> Planted:
    """Returns how many cases ended as they must, and each that did not.

    Args:
        rows: Rows of the truth file.
        ends: By id every (stage, reason) written down about it, its fate last.
    """
    n: Counter[tuple[str, str]] = Counter()
    caught: Counter[tuple[str, str]] = Counter()
    missed: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for members in _items(rows):
        kind = (members[0]["case"], _expected(members[0]))
        found = [ends.get(row["doc_id"], ()) for row in members]
        n[kind] += 1
        if _is_caught(members, found):
            caught[kind] += 1
        else:
            missed[(*kind, _found(found))].append(" and ".join(row["url"] for row in members))
    cases = (Case(name=c, expected=e, n=n[c, e], n_caught=caught[c, e]) for c, e in sorted(n))
    return Planted(
        cases=tuple(cases), missed=tuple(_miss(*key, missed[key]) for key in sorted(missed))
    )


def _items(rows: Sequence[Row]) -> list[list[Row]]:
    """Returns what is judged together: the members of a group, every other row alone."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row["group"]:
            groups[row["case"], row["group"]].append(row)
    return [*groups.values(), *([row] for row in rows if not row["group"])]


def _is_caught(members: Sequence[Row], found: Sequence[Sequence[End]]) -> bool:
    stage, reason = members[0]["expect_stage"], members[0]["expect_reason"]
    if reason == ledger.KEPT:
        return all(bool(ends) and ends[-1][1] == ledger.KEPT for ends in found)
    others = [ends for ends in found if (stage, reason) not in ends]
    if members[0]["group"]:  # exactly one goes on, it does not matter which
        return len(others) == 1 and _went_past(stage, others[0])
    return not others


def _went_past(stage: str, ends: Sequence[End]) -> bool:
    """Returns whether a document is kept, or was dropped only after a stage."""
    order = [place.stage for place in ledger.PLACES]
    if not ends:
        return False
    last, reason = ends[-1]
    return reason == ledger.KEPT or order.index(last) > order.index(stage)


def _expected(row: Row) -> str:
    if row["expect_reason"] == ledger.KEPT:
        return "kept"
    one_of = "all but one " if row["group"] else ""
    return f"{one_of}{row['expect_stage']}: {row['expect_reason']}"


def _found(found: Sequence[Sequence[End]]) -> str:
    """Returns where the members of an item ended, each place once."""
    return " and ".join(sorted({": ".join(e[-1]) if e else "no trace of it" for e in found}))


def _miss(case: str, expected: str, found: str, urls: Sequence[str]) -> Miss:
    shown = tuple(sorted(visible(url) for url in urls))
    return Miss(case=case, expected=expected, found=found, urls=shown)

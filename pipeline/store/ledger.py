"""The fate of every link: which stage it reached last, and why it went no further.

    data/links ─ data/fetches ─ data/pages ─┬─ data/clean ─ data/unique ─ data/corpus ─ data/tokens
        │            │              │       │      │             │             │            │
        └ decisions  └ decisions    └ dec.  │      └ decisions   └ decisions   └ decisions  └ kept
                             data/documents ┘

Decisions:
- A document ends at the first decision *after* the last folder that has a row of it. A drop that
  speaks of something else with the same id (a further submission of a kept link, an older capture
  of a kept page) is therefore no end.
- A document that has neither a row nor a decision in the next finished folder is `unaccounted`:
  a bug of a step, never hidden.
- Folders that are not finished yet count as not run, so a fate can be asked for at any time.
- Only ids and reasons are read, in slices of the id's range, so that 45 million links need no more
  memory than the slice does; rows sorted by `doc_id` let Parquet skip the rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.store import manifest, records
from pipeline.store.manifest import Manifest

KEPT = "kept"
UNACCOUNTED = "unaccounted"
ROWS_PER_SLICE = 4_000_000  # 1 million took 350 MB, and 15 s on a busy 2-core machine

FATES = pa.schema(
    [records.DECISIONS.field(name) for name in ("doc_id", "stage", "reason", "detail")]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one stage leaves its rows; an entry begins its own way, no row comes to it."""

    stage: str
    folder: str
    is_entry: bool = False
    subfolders: tuple[str, ...] = ("",)
    format: str = "parquet"


PLACES = (
    Place(stage="links", folder="links"),
    Place(stage="crawl", folder="fetches"),
    Place(stage="extract", folder="pages"),
    Place(stage="documents", folder="documents", is_entry=True),
    Place(stage="clean", folder="clean"),
    Place(stage="dedup", folder="unique", subfolders=("train", "valid")),
    Place(stage="decontaminate", folder="corpus", subfolders=("train", "valid")),
    Place(stage="encode", folder="tokens", subfolders=("train", "valid"), format="ipc"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What one finished stage says about one document."""

    stage: str
    has_row: bool
    decisions: tuple[records.Drop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The finished folders, in the order of the graph."""

    places: tuple[Place, ...]
    manifests: tuple[Manifest, ...]

    def fates(self, rows_per_slice: int = ROWS_PER_SLICE) -> Iterator[pa.Table]:
        """Yields the fate of every document as tables of `FATES`, in the order of `doc_id`.

        `reason` is `kept` for a document that the last finished stage has, else the reason of the
        drop, or `unaccounted` with the stage that should have said something.

        Args:
            rows_per_slice: Bounds the memory; the result does not depend on it.
        """
        most = max((m.counts.n_in for m in self.manifests), default=0)
        n = max(1, -(-most // rows_per_slice))
        edges = [f"{0x10000 * i // n:04x}" for i in range(n)] + ["g"]  # after any hex digit
        for low, high in pairwise(edges):
            yield self._slice((pc.field("doc_id") >= low) & (pc.field("doc_id") < high))

    def visits(self, doc_id: str) -> tuple[Visit, ...]:
        """Returns what each finished stage says about a document, in the order of the graph."""
        wanted = pc.field("doc_id") == doc_id
        return tuple(
            Visit(
                stage=place.stage,
                has_row=self._ids(level, wanted).num_rows > 0,
                decisions=tuple(
                    records.Drop(row["reason"], row["detail"])
                    for row in self._decisions(level, wanted).to_pylist()
                ),
            )
            for level, place in enumerate(self.places)
        )

    def rows(self, stage: str, columns: Sequence[str], doc_ids: Sequence[str]) -> pa.Table:
        """Returns columns of a stage's rows for a few documents; no rows if it has not run."""
        level = self._level(stage)
        if level is None:
            return pa.table({name: pa.array([], pa.string()) for name in columns})
        wanted = pc.field("doc_id").isin(pa.array(doc_ids, pa.string()))
        return self._dataset(level).to_table(columns=list(columns), filter=wanted)

    def dataset(self, stage: str) -> ds.Dataset | None:
        """Returns all rows of a stage for streaming; None if it has not run."""
        level = self._level(stage)
        return None if level is None else self._dataset(level)

    def decisions(self, stage: str) -> ds.Dataset | None:
        """Returns all decisions of a stage for streaming; None if it has not run."""
        level = self._level(stage)
        return None if level is None else self._decisions_dataset(level)

    def _level(self, stage: str) -> int | None:
        stages = [place.stage for place in self.places]
        return stages.index(stage) if stage in stages else None

    def _dataset(self, level: int) -> ds.Dataset:
        place = self.places[level]
        return ds.dataset(_row_files(place, self.manifests[level]), format=place.format)

    def _decisions_dataset(self, level: int) -> ds.Dataset:
        files = [str(path) for path in self.manifests[level].paths("decisions")]
        return ds.dataset(files, format="parquet", schema=records.DECISIONS)

    def _ids(self, level: int, wanted: pc.Expression) -> pa.Table:
        """Returns the ids that went on from a stage, with the stage's place in the graph."""
        if self.places[level].stage == "crawl":  # has a row for every link, fetched or not
            wanted = wanted & (pc.field("outcome") == "fetched")
        ids = self._dataset(level).to_table(columns=["doc_id"], filter=wanted)
        return ids.append_column("level", _repeat(level, ids.num_rows))

    def _decisions(self, level: int, wanted: pc.Expression) -> pa.Table:
        found = self._decisions_dataset(level).to_table(columns=FATES.names, filter=wanted)
        return found.append_column("level", _repeat(level, found.num_rows))

    def _slice(self, wanted: pc.Expression) -> pa.Table:
        """Returns the fates of the documents in one range of ids."""
        levels = range(len(self.places))
        if not levels:
            return FATES.empty_table()
        seen = pa.concat_tables([self._ids(level, wanted) for level in levels])
        reached = seen.group_by("doc_id").aggregate([("level", "max")])
        said = pa.concat_tables([self._decisions(level, wanted) for level in levels])
        entries = [level for level in levels if self.places[level].is_entry]
        ended = _ends(said.join(reached, "doc_id", join_type="left outer"), entries)
        alive = reached.join(ended.select(["doc_id"]), "doc_id", join_type="left anti")
        return pa.concat_tables([ended, self._survivors(alive)]).sort_by("doc_id")

    def _next(self, level: int) -> int:
        """Returns which stage should say something about a stage's row: the next, else itself."""
        behind = [i for i, place in enumerate(self.places) if i > level and not place.is_entry]
        return behind[0] if behind else level

    def _survivors(self, alive: pa.Table) -> pa.Table:
        """Returns fates for documents that nobody dropped after their last row."""
        level = alive["level_max"]
        owes = pa.array([self._next(i) for i in range(len(self.places))], pa.int8()).take(level)
        is_kept = pc.equal(owes, level)
        stages = pa.array([place.stage for place in self.places])
        columns = [
            alive["doc_id"],
            stages.take(owes.combine_chunks()),
            pc.if_else(is_kept, KEPT, UNACCOUNTED),
            pc.if_else(is_kept, "", "no row and no decision"),
        ]
        return pa.table(columns, schema=FATES)


def load(data: Path) -> Ledger:
    """Opens the ledger of a data folder.

    Args:
        data: The folder that holds `links`, `fetches`, ... as `docs/data_format.md` names them.

    Raises:
        ManifestError: If a finished folder is damaged.
    """
    finished = [
        (place, manifest.load(data / place.folder, place.stage))
        for place in PLACES
        if (data / place.folder / manifest.NAME).is_file()
    ]
    filled = [(place, told) for place, told in finished if _row_files(place, told)]
    return Ledger(places=tuple(p for p, _ in filled), manifests=tuple(m for _, m in filled))


def _row_files(place: Place, told: Manifest) -> list[str]:
    return [str(path) for sub in place.subfolders for path in told.paths(sub)]


def _repeat(level: int, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(level, pa.int8()), n)


def _ends(said: pa.Table, entries: list[int]) -> pa.Table:
    """Returns the first decision after the last row of each document.

    A drop where documents enter says nothing about one that came by another way.
    """
    at_entry = pc.is_in(said["level"], pa.array(entries, pa.int8()))
    said = said.filter(pc.invert(pc.and_(at_entry, pc.is_valid(said["level_max"]))))
    is_end = pc.or_kleene(
        pc.is_null(said["level_max"]), pc.greater(said["level"], said["level_max"])
    )
    order = [(name, "ascending") for name in ("doc_id", "level", "reason", "detail")]
    first = (
        said.filter(is_end)
        .sort_by(order)
        .group_by("doc_id", use_threads=False)
        .aggregate([(name, "first") for name in FATES.names[1:]])
    )
    return first.rename_columns(FATES.names).cast(FATES)

"""What the stage tells of all its shards: recurring lines, the paper's observations, histograms."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.store.manifest import Manifest
from pipeline.text import boilerplate, natural, rules

_N_EXAMPLES = 5


def recurring(cleaned: Manifest, found: boilerplate.Found) -> list[dict[str, Any]]:
    """Returns the lines that recur most often, as they stand in one of their documents."""
    top = sorted(
        (row for path in found.tops for row in pq.read_table(path).to_pylist()),
        key=lambda row: (-row["n_documents"], row["line"]),
    )[: boilerplate.N_TOP]
    wanted = pa.array([row["line"] for row in top], pa.uint64())
    shown: dict[int, dict[str, Any]] = {}
    for path in cleaned.paths("boilerplate"):
        lines = pq.read_table(path, partitioning=None)
        for row in lines.filter(pc.is_in(lines["key"], wanted)).to_pylist():
            shown.setdefault(row["key"], {"host": row["host"], "line": row["line"]})
    return [
        {**shown[row["line"]], "n_documents": row["n_documents"], "n_host": row["n_host"]}
        for row in top
        if row["line"] in shown
    ]


def noticed(cleaned: Manifest) -> dict[str, Any]:
    """Returns what the GPT-2 paper would notice in the kept documents, with a few examples."""
    examples: dict[str, list[dict[str, str]]] = {kind: [] for kind in natural.KINDS}
    for path in cleaned.paths("noticed"):
        for row in pq.read_table(path, partitioning=None).to_pylist():
            examples[row["kind"]].append({"doc_id": row["doc_id"], "text": row["text"]})
            examples[row["kind"]].sort(key=lambda e: e["doc_id"])
            del examples[row["kind"]][_N_EXAMPLES:]
    prefix = "foreign."
    foreign = {k.removeprefix(prefix): n for k, n in cleaned.tally.items() if k.startswith(prefix)}
    return {
        **{kind: cleaned.tally.get(f"noticed.{kind}", 0) for kind in natural.KINDS},
        "foreign_bytes": dict(sorted(foreign.items(), key=lambda item: (-item[1], item[0]))),
        "examples": examples,
    }


def histograms(tally: Mapping[str, int], limits: tuple[rules.Bound, ...]) -> dict[str, Any]:
    """Returns for each limited figure its histogram over the judged documents, and its limits.

    Args:
        tally: Sums under `histogram.<figure>.<bin>`.
        limits: What may pass.
    """
    found: dict[str, Any] = {}
    for bound in limits:
        edges = rules.edges(bound.figure)
        counts = [tally.get(f"histogram.{bound.figure}.{i:02d}", 0) for i in range(len(edges))]
        entry = found.setdefault(bound.figure, {"edges": edges, "counts": counts, "limits": {}})
        entry["limits"][bound.reason] = bound.limit
    return found

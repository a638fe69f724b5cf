"""Scores once more, without the examples that the training text overlaps.

    data/overlap: set, example_id, n_8grams, n_left ──> which examples count ──> Result.among

Decisions:
- What counts is what a model was trained on: the 8-grams that are left after removal.
- An example of fewer than 8 words has no 8-gram; it cannot be judged, stays, and is counted.
- Of a running text, articles or blocks are left out; what they say stays as context of the others.
- The score of the whole set stays as it is; this one stands beside it.

Paper: GPT-2, section 4: LAMBADA without the examples with any overlap, perplexity 8.7 instead of
8.6 and accuracy 62.9 % instead of 63.2 %.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from model.tasks.forms import Example
from model.tasks.results import Result
from pipeline.store import manifest, records

Counts = Mapping[tuple[str, str], tuple[int, int]]
"""By set and example_id: an example's 8-grams, and how many of them the training text holds."""

NOT_STUDIED = "not looked for in the corpus; run `dvc repro decontaminate`"
NOTHING_LEFT = "every example is above max_overlap_frac"


def read(folder: Path) -> Counts:
    """Returns the counts of every example that was looked for.

    Raises:
        ManifestError: If the folder is missing or unfinished.
    """
    (path,) = manifest.load(folder, "decontaminate").paths()
    columns = ("set", "example_id", "n_8grams", "n_left")
    table = pq.read_table(path, schema=records.EXAMPLES, columns=list(columns))
    names, ids, sizes, left = (table[name].to_pylist() for name in columns)
    return dict(zip(zip(names, ids, strict=True), zip(sizes, left, strict=True), strict=True))


def again(
    result: Result, name: str, examples: Sequence[Example], counts: Counts, max_frac: float
) -> dict[str, Any]:
    """Returns a result's figures without overlapping examples, or why there are none.

    Args:
        result: Of the whole set.
        name: The set.
        examples: What was scored, in order.
        counts: What the training text holds of them.
        max_frac: Share of an example's 8-grams that it may hold; more leaves the example out.
    """
    found = [counts.get((name, each.example_id)) for each in examples]
    known = [pair for pair in found if pair is not None]
    if len(known) < len(found):
        return {"absent": NOT_STUDIED}
    sizes, left = np.array(known, np.int64).reshape(-1, 2).T
    chosen = left <= max_frac * sizes
    told = {
        "n_examples": int(chosen.sum()),
        "n_overlapping": int((~chosen).sum()),
        "n_too_short": int((sizes == 0).sum()),
        "mean_overlap_frac": round(float((left / np.maximum(sizes, 1)).mean()), 6),
    }
    if not chosen.any():
        return told | {"absent": NOTHING_LEFT}
    return told | result.among(chosen)

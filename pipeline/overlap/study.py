"""The steps that the study of evaluation sets and that of generated text have in common.

    texts by set ──index──> 8-grams, filter ──scan── documents ──table──> by set, by example

`name` is the study's: its shards lie in `.shards/<name>-<step>/`, apart from those of another.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import intermediate
from pipeline.engine.tasks import Engine
from pipeline.overlap import evalgrams, scan, table
from pipeline.overlap.table import Layout
from pipeline.store import manifest
from pipeline.store.manifest import Manifest
from pipeline.store.shards import Shard

LIBRARIES = ("numpy", "pyarrow", "xxhash")

Parts = Sequence[tuple[Path, Path]]


def step(name: str, module: ModuleType, config: object) -> Step:
    """Returns the identity of a step of a study."""
    return Step(name=name, code=module.__name__, config=config, libraries=LIBRARIES)


def index(name: str, sets: Sequence[Path], max_fp: float, engine: Engine) -> Shard:
    """Returns the index of Parquet files of texts (set, example_id, text)."""
    work = partial(evalgrams.write, max_fp=max_fp)
    described = step(f"{name}-index", evalgrams, {"max_fp": max_fp})
    return intermediate(described, [sets], work, engine).shards[0]


def scan_shards(name: str, parts: Parts, indexed: Shard, engine: Engine) -> tuple[Shard, ...]:
    """Returns what shards of (training, validation) documents share with an index."""
    tasks = [(*files, *map(indexed.path, evalgrams.FILES)) for files in parts]
    return intermediate(step(f"{name}-scan", scan, None), tasks, scan.write, engine).shards


def tabulate(
    name: str, files: table.Files, indexed: Shard, output: Path, engine: Engine
) -> Manifest:
    """Fills `output` with the overlap of each example, and the table of sets beside it."""
    layout = Layout.of(files)
    task = [*map(indexed.path, evalgrams.FILES), *(path for paths in files for path in paths)]
    work = partial(table.write, layout=layout)
    made = intermediate(step(f"{name}-table", table, layout), [task], work, engine)
    return manifest.link_shards(output, name, made.shards)

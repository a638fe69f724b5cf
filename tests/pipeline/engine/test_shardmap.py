"""The shard contract: identity, resume, conservation, same bytes, on Ray and in one process."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine import shardmap
from pipeline.engine.identity import Step
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, shards
from pipeline.store.errors import ManifestError, ShardError
from pipeline.store.records import Drop
from pipeline.store.shards import ShardDraft

N_SHARDS = 9


class ShuffledEngine:
    """Runs tasks in a random order: what finishes first must not matter."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        order = list(range(len(items)))
        self._random.shuffle(order)
        for index in order:
            yield index, function(items[index])


def step(config: object = None) -> Step:
    return Step(name="halve", code="pipeline.store.records", config=config or {"keep": 2})


def halve(inputs: tuple[Path, ...], draft: ShardDraft, keep: int = 2) -> None:
    """Keeps every second row; drops the others."""
    kept = []
    for path in inputs:
        for row in pq.read_table(path).to_pylist():
            draft.count_in()
            if row["n"] % keep == 0:
                draft.count_out()
                kept.append(row)
            else:
                draft.drop(records.doc_id(str(row["n"])), Drop("odd", str(row["n"])))
    draft.write_table("part.parquet", pa.Table.from_pylist(kept, pa.schema([("n", pa.int64())])))


def lose_one(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    halve(inputs, draft)
    draft.count_in()


def make_inputs(folder: Path, n_shards: int = N_SHARDS) -> list[list[Path]]:
    folder.mkdir(exist_ok=True)
    for index in range(n_shards):
        rows = pa.table({"n": list(range(index * 100, index * 100 + 50 + index))})
        shards.write_table(folder / f"part-{index:05d}.parquet", rows)
    return [[path] for path in sorted(folder.glob("part-*.parquet"))]


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): shards.sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_shard_map_shuffled_completion_gives_same_bytes(
    workspace: Path, inline: Engine, seed: int
) -> None:
    tasks = make_inputs(workspace / "in")
    shardmap.shard_map(step(), tasks, halve, workspace / "a", inline)
    (workspace / ".shards").rename(workspace / "other-store")
    shardmap.shard_map(step(), tasks, halve, workspace / "b", ShuffledEngine(seed))
    assert digests(workspace / "a") == digests(workspace / "b")


def test_shard_map_on_ray_gives_bytes_of_one_process(
    workspace: Path, inline: Engine, ray_engine: Engine
) -> None:
    tasks = make_inputs(workspace / "in")
    shardmap.shard_map(step(), tasks, halve, workspace / "a", inline)
    (workspace / ".shards").rename(workspace / "other-store")
    made = shardmap.shard_map(step(), tasks, halve, workspace / "b", ray_engine)
    assert digests(workspace / "a") == digests(workspace / "b")
    assert made.counts.n_in == made.counts.n_out + made.counts.dropped["odd"]
    assert made.n_shards == N_SHARDS


def test_shard_map_run_again_reuses_every_shard(workspace: Path, inline: Engine) -> None:
    tasks = make_inputs(workspace / "in")
    assert shardmap.intermediate(step(), tasks, halve, inline).n_reused == 0
    assert shardmap.intermediate(step(), tasks, halve, inline).n_reused == N_SHARDS


def test_shard_map_one_added_input_computes_one_shard(workspace: Path, inline: Engine) -> None:
    shardmap.intermediate(step(), make_inputs(workspace / "in"), halve, inline)
    again = shardmap.intermediate(
        step(), make_inputs(workspace / "in", N_SHARDS + 1), halve, inline
    )
    assert again.n_reused == N_SHARDS
    assert len(again.shards) == N_SHARDS + 1


def test_shard_map_changed_config_reuses_nothing(workspace: Path, inline: Engine) -> None:
    tasks = make_inputs(workspace / "in")
    shardmap.intermediate(step(), tasks, halve, inline)
    changed = shardmap.intermediate(step({"keep": 5}), tasks, partial(halve, keep=5), inline)
    assert changed.n_reused == 0


def test_shard_map_after_output_was_removed_relinks_equal_bytes(
    workspace: Path, inline: Engine
) -> None:
    tasks = make_inputs(workspace / "in")
    shardmap.shard_map(step(), tasks, halve, workspace / "out", inline)
    before = digests(workspace / "out")
    for path in sorted((workspace / "out").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    shardmap.shard_map(step(), tasks, halve, workspace / "out", inline)
    assert digests(workspace / "out") == before


def test_shard_map_damaged_shard_in_store_is_made_again(workspace: Path, inline: Engine) -> None:
    tasks = make_inputs(workspace / "in")
    made = shardmap.shard_map(step(), tasks, halve, workspace / "out", inline)
    victim = next((workspace / ".shards" / "halve").glob("*/part.parquet"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    again = shardmap.shard_map(step(), tasks, halve, workspace / "out", inline)
    assert again.root == made.root
    assert digests(workspace / "out")[manifest.NAME] == shards.sha256_file(
        workspace / "out" / manifest.NAME
    )
    for name, info in again.files.items():
        assert shards.sha256_file(workspace / "out" / name) == info.sha256


def test_shard_map_lost_document_stops_the_stage(workspace: Path, inline: Engine) -> None:
    tasks = make_inputs(workspace / "in")
    with pytest.raises(ShardError, match=r"halve shard \d \(part-.*do not add up \(1 unaccounted"):
        shardmap.shard_map(step(), tasks, lose_one, workspace / "out", inline)
    assert not (workspace / "out" / manifest.NAME).exists()


def test_shard_map_input_with_other_bytes_than_written_is_refused(
    workspace: Path, inline: Engine
) -> None:
    tasks = make_inputs(workspace / "in")
    made = shardmap.shard_map(step(), tasks, halve, workspace / "mid", inline)
    victim = made.paths()[3]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.unlink()
    victim.write_bytes(data)
    later = Step(name="later", code="pipeline.store.records", config={})
    with pytest.raises(ManifestError, match=r"part-00003.parquet has SHA-256"):
        shardmap.shard_map(later, [[p] for p in made.paths()], halve, workspace / "out", inline)


def test_shard_map_error_on_ray_names_shard_and_cause(workspace: Path, ray_engine: Engine) -> None:
    tasks = make_inputs(workspace / "in")
    tasks[4][0].write_bytes(b"no parquet")
    with pytest.raises(ShardError, match=r"halve shard 4 \(part-00004.parquet\)"):
        shardmap.shard_map(step(), tasks, halve, workspace / "out", ray_engine)


def test_intermediate_prunes_other_shards_and_drafts(workspace: Path, inline: Engine) -> None:
    tasks = make_inputs(workspace / "in")
    store = workspace / ".shards" / "halve"
    (store / "tmp-1-left-by-a-killed-worker").mkdir(parents=True)
    shardmap.intermediate(step(), tasks, halve, inline)
    kept = shardmap.intermediate(step(), tasks[:4], halve, inline)
    assert sorted(p.name for p in store.iterdir()) == sorted(s.fingerprint for s in kept.shards)


def test_sidecar_describes_its_shard(workspace: Path, inline: Engine) -> None:
    tasks = make_inputs(workspace / "in")
    shardmap.shard_map(step(), tasks, halve, workspace / "out", inline)
    told = json.loads((workspace / "out" / "part-00002.json").read_bytes())
    rows = pq.read_table(workspace / "out" / "part-00002.parquet").num_rows
    decisions = pq.read_table(workspace / "out" / "decisions" / "part-00002.parquet")
    assert told["counts"]["n_out"] == rows == told["files"]["part.parquet"]["rows"]
    assert told["counts"]["dropped"] == {"odd": decisions.num_rows}
    assert told["inputs"] == [shards.sha256_file(tasks[2][0])]
    assert decisions.schema.names == records.DECISIONS.names

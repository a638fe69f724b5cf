"""Verify on a workspace with a stage of its own: what is equal passes, what differs is named."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine import verify
from pipeline.engine.identity import ROOT
from pipeline.engine.workspace import run_stage
from pipeline.store import manifest, shards
from pipeline.store.errors import ManifestError, ShardError
from pipeline.store.shards import Counts, FileInfo

ALL = verify.Config(share=1.0, seed=1)
STAGE = """
from pathlib import Path
import pyarrow.parquet as pq
from pipeline.engine import shardmap
from pipeline.engine.identity import Step
from pipeline.engine.tasks import InlineEngine

def write(inputs, draft):
    table = pq.read_table(inputs[0])
    draft.count_in(table.num_rows)
    draft.count_out(table.num_rows)
    draft.write_table("part.parquet", table)

if __name__ == "__main__":
    paths, config = sorted(Path("data/in").glob("part-*.parquet")), Path("setting").read_text()
    copy = Step(name="copy", code="pipeline.store.records", config=config)
    made = shardmap.intermediate(copy, [[path] for path in paths], write, InlineEngine()).shards
    paths = [[shard.path("part.parquet")] for shard in made]
    step = Step(name="again", code="pipeline.store.records", config=config)
    shardmap.shard_map(step, paths, write, Path("data/out"), InlineEngine())
"""


@pytest.fixture
def ran(workspace: Path) -> Path:
    """A workspace in which stage `again` has copied five shards twice."""
    for package in ("pipeline", "crawl", "model"):
        (workspace / package).symlink_to(ROOT / package)
    (workspace / "stages").mkdir()
    (workspace / "stages" / "again.py").write_text(STAGE)
    (workspace / "setting").write_text("1")
    folder = workspace / "data" / "in"
    folder.mkdir(parents=True)
    files = {}
    for index in range(5):
        path = folder / f"part-{index:05d}.parquet"
        shards.write_table(path, pa.table({"n": list(range(index, index + 9))}))
        files[path.name] = FileInfo(
            n_bytes=path.stat().st_size, sha256=shards.sha256_file(path), rows=9
        )
    manifest.write(folder, "in", files, Counts(n_in=0, n_out=0, dropped={}), {}, 5)
    run_stage("again", workspace, "test")
    return workspace


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, shards.sha256_file(path))
        for path in folder.rglob("*")
        if path.is_file()
    }


def forge(path: Path, data: bytes) -> None:
    path.unlink()  # a hard link
    path.write_bytes(data)


def test_verify_of_all_shards_finds_them_equal_and_leaves_no_trace(ran: Path) -> None:
    before = snapshot(ran / "data") | snapshot(ran / ".shards")
    assert verify.run(Path(), {"again": ["out"]}, ALL) == {
        "again": {"n_checked": 10, "n_equal": 10}
    }
    assert snapshot(ran / "data") | snapshot(ran / ".shards") == before


@pytest.mark.parametrize(("seed", "share"), [(1, 0.01), (2, 0.4), (3, 0.7)])
def test_verify_checks_at_least_one_shard_of_each_step(ran: Path, seed: int, share: float) -> None:
    told = verify.run(Path(), {"again": ["out"]}, verify.Config(share=share, seed=seed))["again"]
    drawn = {
        step: sum(
            verify._draw(seed, step, path.name) < share for path in Path(".shards", step).iterdir()
        )
        for step in ("copy", "again")
    }
    assert told["n_checked"] == told["n_equal"] == sum(max(1, n) for n in drawn.values())


def test_verify_output_with_other_bytes_than_were_written_is_named(ran: Path) -> None:
    victim = ran / "data" / "out" / "part-00003.parquet"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    forge(victim, bytes(data))
    with pytest.raises(ShardError, match=r"out/part-00003.parquet has other bytes than were wri"):
        verify.run(Path(), {"again": ["out"]}, ALL)


def test_verify_shard_that_the_stage_does_not_make_is_named(ran: Path) -> None:
    """All digests on disk are consistent; only making the shard anew shows that it is wrong."""
    (sidecar,) = [
        path
        for path in (ran / ".shards" / "again").glob("*/shard.json")
        if pq.read_table(path.with_name("part.parquet"))["n"][0].as_py() == 2
    ]
    part = sidecar.with_name("part.parquet")
    part.unlink()
    shards.write_table(part, pa.table({"n": [77] * 9}))
    told = json.loads(sidecar.read_bytes())
    told["files"]["part.parquet"] = shards.info_json(
        FileInfo(n_bytes=part.stat().st_size, sha256=shards.sha256_file(part), rows=9)
    )
    forge(sidecar, shards.to_json(told))
    run_stage("again", ran, "test")  # links what the store holds
    with pytest.raises(ShardError) as caught:
        verify.run(Path(), {"again": ["out"]}, ALL)
    assert f".shards/again/{told['fingerprint']} is not what is made of the same inputs" in str(
        caught.value
    )
    assert "part-00003" not in str(caught.value)


def test_verify_after_a_changed_setting_says_what_to_run(ran: Path) -> None:
    (ran / "setting").write_text("2")
    with pytest.raises(ShardError, match=r"part-00000.json: made from other.*`dvc repro again`"):
        verify.run(Path(), {"again": ["out"]}, ALL)


def test_verify_without_the_store_makes_everything_anew(ran: Path) -> None:
    for step in ("copy", "again"):
        (ran / ".shards" / step).rename(ran / f"away-{step}")
    told = verify.run(Path(), {"again": ["out"]}, verify.Config(share=0.2, seed=1))
    assert told == {"again": {"n_checked": 5, "n_equal": 5}}


def test_verify_of_an_unfinished_output_names_the_command(ran: Path) -> None:
    (ran / "data" / "out" / manifest.NAME).unlink()
    with pytest.raises(ManifestError, match=r"unfinished.*dvc repro again"):
        verify.run(Path(), {"again": ["out"]}, ALL)


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_config_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"share is .*; expected 0 < x <= 1"):
        verify.Config(share=share, seed=1)

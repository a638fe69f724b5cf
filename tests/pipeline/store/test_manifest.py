"""A folder is read only when it is whole; the message says what is wrong and what mends it."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.engine import shardmap
from pipeline.engine.identity import Step
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, shards
from pipeline.store.errors import ManifestError, ShardError
from pipeline.store.shards import Counts, ShardDraft


def fill(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    draft.count_in(3)
    draft.count_out(3)
    draft.write_table("train.parquet", pa.table({"n": [1, 2]}))
    draft.write_table("valid.parquet", pa.table({"n": [3]}))


@pytest.fixture
def folder(workspace: Path, inline: Engine) -> Path:
    step = Step(name="fill", code="pipeline.store.records", config={})
    shardmap.shard_map(step, [[], []], fill, workspace / "out", inline)
    return workspace / "out"


def test_load_whole_folder_gives_paths_by_shard(folder: Path) -> None:
    loaded = manifest.load(folder, "fill")
    assert [p.name for p in loaded.paths("train")] == ["part-00000.parquet", "part-00001.parquet"]
    assert loaded.paths() == ()
    assert loaded.counts == Counts(n_in=6, n_out=6, dropped={})


def test_load_missing_folder_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"nowhere does not exist; run `dvc repro fill`"):
        manifest.load(tmp_path / "nowhere", "fill")


def test_load_unfinished_folder_names_the_command(folder: Path) -> None:
    (folder / manifest.NAME).unlink()
    with pytest.raises(ManifestError, match=r"out is unfinished .*; run `dvc repro fill`"):
        manifest.load(folder, "fill")


def test_load_truncated_shard_says_sizes(folder: Path) -> None:
    victim = folder / "valid" / "part-00001.parquet"
    size = victim.stat().st_size
    os.truncate(victim, size - 7)
    with pytest.raises(ManifestError, match=f"has {size - 7} bytes; {size} were written; remove"):
        manifest.load(folder, "fill")


def test_load_missing_shard_is_refused(folder: Path) -> None:
    (folder / "train" / "part-00000.parquet").unlink()
    with pytest.raises(ManifestError, match=r"part-00000.parquet is missing"):
        manifest.load(folder, "fill")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1}'])
def test_load_damaged_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / manifest.NAME).write_text(text)
    with pytest.raises(ManifestError, match=r"manifest.json cannot be read"):
        manifest.load(folder, "fill")


def test_link_shards_removes_what_another_run_left(
    workspace: Path, folder: Path, inline: Engine
) -> None:
    step = Step(name="fill", code="pipeline.store.records", config={})
    shardmap.shard_map(step, [[]], fill, folder, inline)
    loaded = manifest.load(folder, "fill")
    on_disk = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert on_disk == {*loaded.files, manifest.NAME}
    assert loaded.n_shards == 1


def test_manifest_holds_no_time_host_or_absolute_path(folder: Path) -> None:
    for path in [folder / manifest.NAME, folder / "part-00000.json"]:
        text = path.read_text()
        assert str(folder) not in text
        assert os.uname().nodename not in json.dumps(list(json.loads(text).values())[:3])


def test_write_with_lost_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ShardError, match=r"5 in, 3 out and 1 dropped do not add up \(1 unaccounted"
    ):
        manifest.write(tmp_path, "fill", {}, Counts(n_in=5, n_out=3, dropped={"a": 1}), {}, 1)


def test_write_atomic_leaves_nothing_beside(tmp_path: Path) -> None:
    shards.write_atomic(tmp_path / "a" / "b.json", b"1")
    shards.write_atomic(tmp_path / "a" / "b.json", b"2")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.json"]
    assert (tmp_path / "a" / "b.json").read_bytes() == b"2"

"""The WARC file that we ship gives the committed root: on every machine, however it is computed.

`extract` to `decontaminate` run as the stages that users run, with the committed params.yaml. A
change of a step that changes texts changes the root: `make golden` records it, after a look at the
output.
"""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.identity import ROOT
from pipeline.store import manifest, records, shards
from pipeline.store.shards import Counts, FileInfo
from tests.fixtures.small_web import FILE, PASSAGE

GOLDEN = Path(__file__).with_name("small_warc.json")
STAGES = ["extract", "documents", "clean", "dedup", "decontaminate"]


def members(data: bytes) -> Iterator[bytes]:
    """The records of a WARC file; what cannot be read goes with the one before."""
    heads = _gzip_heads(data)
    starts = [0, *(i for i in heads if zlib.decompressobj(31).decompress(data[i:], 5) == b"WARC/")]
    for start, stop in zip(starts, [*starts[1:], len(data)], strict=True):
        yield data[start:stop]


def _gzip_heads(data: bytes) -> Iterator[int]:
    start = data.find(b"\x1f\x8b\x08", 1)
    while start > 0:
        yield start
        start = data.find(b"\x1f\x8b\x08", start + 1)


def lay_out(folder: Path, n_files: int) -> Path:
    """Fills a workspace: the shipped WARC in `n_files` files, an evaluation set, parameters."""
    warcs = folder / "data" / "warc"
    warcs.mkdir(parents=True)
    parts: list[list[bytes]] = [[] for _ in range(n_files)]
    whole = list(members(FILE.read_bytes()))
    for number, record in enumerate(whole):  # runs of records: captures of one page stay together
        parts[number * n_files // len(whole)].append(record)
    files = {}
    for number, part in enumerate(parts):
        name = f"part-{number:05d}.warc.gz"
        (warcs / name).write_bytes(b"".join(part))
        digest = shards.sha256_file(warcs / name)
        size = (warcs / name).stat().st_size
        files[name] = FileInfo(n_bytes=size, sha256=digest, rows=0)
    manifest.write(warcs, "crawl", files, Counts(n_in=0, n_out=0, dropped={}), {}, n_files)
    (folder / "data" / "eval").mkdir()
    row = {"set": "mill", "split": "test", "example_id": "0", "text": PASSAGE, "fields": "{}"}
    table = pa.Table.from_pylist([row], records.EVAL)
    shards.write_table(folder / "data" / "eval" / "mill.parquet", table)
    for name in ("params.yaml", "removal.txt"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder / name)
    return folder


def build() -> dict[str, Any]:
    """Runs the stages in the current folder; returns the root and all counts."""
    figures = {stage: importlib.import_module(f"stages.{stage}").main() for stage in STAGES}
    counts = {stage: told["counts"] for stage, told in figures.items()}
    return {"root": figures["decontaminate"]["root"], "counts": counts}


def command(folder: Path, *before: str, **environment: str) -> subprocess.Popen[str]:
    """Starts `build` in a process of its own, behind another command's words."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "tests.rules.test_small_warc", "build", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    told, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


@pytest.fixture
def in_one_process(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OUTBOUND_ENGINE", "inline")
    return workspace


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(GOLDEN.read_bytes())
    return told


def test_small_warc_gives_the_committed_root(in_one_process: Path, golden: dict[str, Any]) -> None:
    lay_out(in_one_process, 1)
    assert build() == golden, "look at the output, then `make golden`"
    dropped = {(stage, reason) for stage, c in golden["counts"].items() for reason in c["dropped"]}
    assert {
        ("extract", "damaged_record"),
        ("extract", "superseded"),
        ("extract", "not_html"),
        ("clean", "language"),
        ("clean", "too_short"),
        ("dedup", "duplicate_exact"),
        ("dedup", "duplicate_near"),
        ("decontaminate", "contaminated"),
    } <= dropped, "the file no longer holds what it is meant to hold"
    passage = PASSAGE.split(",")[0]
    parts = manifest.load(Path("data/corpus"), "decontaminate").paths("train")
    texts = [text for path in parts for text in pq.read_table(path)["text"].to_pylist()]
    assert texts
    assert not any(passage in text for text in texts)


@pytest.mark.parametrize("n_files", [2, 3])
def test_small_warc_in_several_files_gives_the_same_root(
    in_one_process: Path, golden: dict[str, Any], n_files: int
) -> None:
    lay_out(in_one_process, n_files)
    assert build() == golden


@pytest.mark.slow
def test_small_warc_on_four_workers_gives_the_same_root(
    tmp_path: Path, golden: dict[str, Any]
) -> None:
    """In one Ray for all stages, as `stages.repro` runs them."""
    session = [sys.executable, "-m", "pipeline.engine.session"]
    folder = lay_out(tmp_path / "w", 3)
    assert finish(command(folder, *session, OUTBOUND_WORKERS="4")) == golden


@pytest.mark.slow
def test_small_warc_after_two_kills_gives_the_same_root(
    tmp_path: Path, golden: dict[str, Any]
) -> None:
    """Killed with -9 as soon as a step has finished its first shard of three, then another one."""
    folder = lay_out(tmp_path / "w", 3)
    for step in ("extract", "dedup-signatures"):
        victim = command(folder, OUTBOUND_ENGINE="inline")
        store = folder / ".shards" / step
        while not any(store.glob("*/shard.json")):
            assert victim.poll() is None, victim.communicate()[1]
            time.sleep(0.01)
        os.killpg(victim.pid, signal.SIGKILL)
        victim.communicate()
        assert not (folder / "data" / "corpus").exists()
    assert finish(command(folder, OUTBOUND_ENGINE="inline")) == golden


if __name__ == "__main__":
    mode, place = sys.argv[1], Path(sys.argv[2])
    os.chdir(place if mode == "build" else lay_out(place / "small", 1))
    if mode == "build":
        print(json.dumps(build()))
    else:
        os.environ["OUTBOUND_ENGINE"] = "inline"
        GOLDEN.write_bytes(shards.to_json(build()))

"""kill -9 at random moments, damaged inputs, wrong parameters, a full disk, Ctrl-C."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray

from pipeline.engine.identity import ROOT
from pipeline.store import shards
from tests.e2e.conftest import Project

pytestmark = pytest.mark.e2e

IMPORTS_S = 2.0  # about what a stage's process does before its own clock starts
# Stage -> its output folder. Twenty kills in all.
KILLS = {"links": 2, "extract": 6, "clean": 3, "dedup": 5, "decontaminate": 2, "encode": 2}
# A run to the end is one process, which goes on from what workers have left; the first is workers.
INLINE = {"OUTBOUND_ENGINE": "inline"}
OUTPUT = {
    "links": "data/links",
    "extract": "data/pages",
    "clean": "data/clean",
    "dedup": "data/unique",
    "decontaminate": "data/corpus",
    "encode": "data/tokens",
}


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): shards.sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def wipe(project: Project, stage: str) -> None:
    """Removes a stage's output, as DVC does before it runs the stage, and all finished shards."""
    for folder in [project.root / OUTPUT[stage], project.root / ".shards"]:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.fixture(scope="module")
def ray_address(ray_engine: object) -> str:
    assert ray_engine
    return str(ray.get_runtime_context().gcs_address)


def start(project: Project, stage: str, address: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=project.root,
        env=project.environment(RAY_ADDRESS=address, **more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Waits for a stage; returns its exit code and what it said."""
    _, told = process.communicate(timeout=300)
    return process.returncode, told


def kill_once(
    project: Project, stage: str, address: str, seconds: float, chance: random.Random
) -> float:
    """Kills a stage with -9 while it runs; tries again when it was done before that.

    Returns:
        How long the stage takes, as last seen: the machine may be busier or idler than it was.
    """
    while True:
        wipe(project, stage)
        begun = time.monotonic()
        victim = start(project, stage, address)
        try:
            victim.wait(seconds * chance.uniform(0.3, 0.95))
        except subprocess.TimeoutExpired:
            os.killpg(victim.pid, signal.SIGKILL)
            finish(victim)
            subprocess.run(["rm", "-rf", str(project.root / OUTPUT[stage])], check=True)
            return seconds
        finish(victim)
        seconds = time.monotonic() - begun


@pytest.mark.timeout(2400)  # forty runs of a stage, each with new worker processes
def test_twenty_kills_leave_the_same_bytes_and_keep_finished_shards(
    finished: Project, tmp_path: Path, ray_address: str
) -> None:
    project = finished.clone(tmp_path / "killed")
    chance = random.Random(20)
    reused = 0
    for stage, n_kills in KILLS.items():
        expected = digests(project.root / OUTPUT[stage])
        took = project.root / "metrics" / "timings" / f"{stage}.json"
        seconds = IMPORTS_S + json.loads(took.read_bytes())["seconds"]
        for kill in range(n_kills):
            seconds = kill_once(project, stage, ray_address, seconds, chance)
            code, told = finish(start(project, stage, ray_address, **(INLINE if kill else {})))
            assert code == 0, told
            reused += sum(int(n) for n in re.findall(r"(\d+) of \d+ shards kept", told))
            assert digests(project.root / OUTPUT[stage]) == expected, stage
    assert reused > 0


def test_graph_killed_with_kill_9_continues(
    finished: Project, tmp_path: Path, ray_address: str
) -> None:
    project = finished.clone(tmp_path / "graph")
    expected = digests(project.root / "data" / "unique")
    wipe(project, "clean")
    wipe(project, "dedup")
    repro = [sys.executable, "-m", "dvc", "repro"]
    command = [*repro, "--force", "--single-item", "clean", "dedup"]  # else both are copied
    environment = project.environment(RAY_ADDRESS=ray_address)
    victim = subprocess.Popen(command, cwd=project.root, env=environment, start_new_session=True)
    while not (project.root / ".shards" / "clean-texts").is_dir():
        assert victim.poll() is None, "done before it could be killed"
        time.sleep(0.05)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    again = project.run([*repro, "dedup"], RAY_ADDRESS=ray_address)
    assert again.returncode == 0, again.stderr
    assert digests(project.root / "data" / "unique") == expected


def test_ctrl_c_ends_with_130_and_one_line(
    finished: Project, tmp_path: Path, ray_address: str
) -> None:
    project = finished.clone(tmp_path / "interrupted")
    wipe(project, "extract")
    victim = start(project, "extract", ray_address)
    while not (project.root / ".shards" / "extract").is_dir():
        assert victim.poll() is None
        time.sleep(0.05)
    os.killpg(victim.pid, signal.SIGINT)
    code, told = finish(victim)
    assert code == 130, told
    assert told.strip().splitlines()[-1].startswith("interrupted; finished work is kept")
    assert finish(start(project, "extract", ray_address))[0] == 0


@pytest.mark.parametrize("stage", ["clean", "dedup", "encode"])
def test_one_process_gives_the_bytes_of_two_workers(
    finished: Project, tmp_path: Path, stage: str
) -> None:
    project = finished.clone(tmp_path / "inline")
    expected = digests(project.root / OUTPUT[stage])
    wipe(project, stage)
    done = project.python(f"stages.{stage}", OUTBOUND_ENGINE="inline")
    assert done.returncode == 0, done.stderr
    assert digests(project.root / OUTPUT[stage]) == expected


def test_truncated_input_shard_is_refused_with_remedy(finished: Project, tmp_path: Path) -> None:
    project = finished.clone(tmp_path / "truncated")
    victim = project.root / "data" / "clean" / "part-00002.parquet"
    data = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(data[:-10])
    done = project.python("stages.dedup", OUTBOUND_ENGINE="inline")
    assert done.returncode == 1
    assert re.search(r"^error: .*part-00002.parquet has \d+ bytes; ", done.stderr, re.MULTILINE)
    assert "dvc repro clean" in done.stderr


def test_missing_input_names_the_command(finished: Project, tmp_path: Path) -> None:
    project = finished.clone(tmp_path / "missing")
    subprocess.run(["rm", "-rf", str(project.root / "data" / "pages")], check=True)
    done = project.python("stages.clean", OUTBOUND_ENGINE="inline")
    assert done.returncode == 1
    assert done.stderr == "error: data/pages does not exist; run `dvc repro extract`\n"


def test_wrong_parameter_stops_the_graph_with_one_line(finished: Project, tmp_path: Path) -> None:
    project = finished.clone(tmp_path / "wrong")
    file = project.root / "params.yaml"
    text = re.sub(r"(?m)^  threshold: \S+", "  threshold: 1.7", file.read_text())
    file.unlink()
    file.write_text(text)
    done = project.python("dvc", "repro", "dedup", OUTBOUND_ENGINE="inline")
    assert done.returncode != 0
    assert "error: params.yaml: dedup.threshold is 1.7; expected" in done.stderr


def test_full_disk_is_one_line_and_the_next_run_continues(
    finished: Project, tmp_path: Path
) -> None:
    """The shard store lies on a file system of 96 KiB; nothing of it stays mounted."""
    project = finished.clone(tmp_path / "full")
    wipe(project, "clean")
    store = project.root / ".shards" / "clean"
    store.mkdir(parents=True)
    script = 'mount -t tmpfs -o size=96k tmpfs "$1" && shift && exec "$@"'
    prefix = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", str(store)]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs unshare --mount to make a small file system")
    done = project.run([*prefix, sys.executable, "-m", "stages.clean"], OUTBOUND_ENGINE="inline")
    assert done.returncode == 1, done.stderr
    stated = r"error: clean shard \d+ \(part\.parquet\): no space left on the disk"
    assert re.search(stated, done.stderr)
    again = project.python("stages.clean", OUTBOUND_ENGINE="inline")
    assert again.returncode == 0, again.stderr
    assert digests(project.root / "data" / "clean") == digests(finished.root / "data" / "clean")


def test_whole_graph_leaves_no_process_and_no_absolute_path(finished: Project) -> None:
    for path in (finished.root / "metrics").glob("*.json"):
        assert str(ROOT) not in path.read_text(), path
        json.loads(path.read_bytes())

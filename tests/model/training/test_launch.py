"""The same run however it is started: here, by other launchers, on Ray; and how each ends."""

import atexit
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from torch.distributed import is_initialized as is_member

from model.training import checkpoint, launch, ranks, train
from model.training.engine import Engine, World, join
from model.training.settings import Places
from pipeline.engine.identity import ROOT
from pipeline.store import shards
from pipeline.store.errors import RetryableError
from tests.model.training.small_runs import CONFIG, SHAPE, make_places

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
OURS = ("OUTBOUND_RANKS", "OUTBOUND_LAUNCH", "OUTBOUND_STOP_FILE")
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
DEEPSPEED = ["deepspeed.launcher.runner", "--num_accelerators", "2", "--no_local_rank"]


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("inputs")
    make_places(root)
    return root


def new_project(root: Path, inputs: Path) -> Path:
    """A folder in which `python -m stages.train` runs."""
    (root / "data").mkdir(parents=True)
    for name in ("bpe", "tokens"):
        (root / "data" / name).symlink_to(inputs / name)
    sections = {"model": asdict(SHAPE), "train": asdict(CONFIG)}
    YAML(typ="safe", pure=True).dump(sections, root / "params.yaml")
    return root


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in (*VARIABLES, *OURS, "RAY_ADDRESS")}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    shared = {"PATH": programs, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return {**kept, **shared, "OUTBOUND_WINDOW_LOG": "windows.jsonl", **more}


def start(
    project: Path, command: Sequence[str], python: str = sys.executable, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *command],
        cwd=project,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )


class Run:
    """What a finished run left in a project."""

    def __init__(self, project: Path) -> None:
        (root,) = (project / "models" / "checkpoints").iterdir()
        newest = checkpoint.newest(root)
        assert newest is not None
        self.step = newest.step
        self.losses = [row["train/loss"] for row in newest.facts.rows]
        files = sorted(checkpoint.folder_of(root, newest.step).glob("*.safetensors"))
        self.digests = [shards.sha256_file(path) for path in files]
        log = (project / "windows.jsonl").read_text().splitlines()
        self.windows: dict[int, list[int]] = {}
        for line in sorted(map(json.loads, log), key=lambda line: (line["step"], line["rank"])):
            self.windows.setdefault(line["step"], []).extend(line["windows"])


@pytest.fixture(scope="module")
def alone(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One rank, as `dvc repro train` runs it."""
    project = new_project(tmp_path_factory.mktemp("runs") / "alone", inputs)
    done = start(project, ["-m", "stages.train"], OUTBOUND_RANKS="1")
    assert done.returncode == 0, done.stderr
    return Run(project)


@pytest.fixture(scope="module")
def pair(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two ranks that nobody disturbs, started by torchrun."""
    project = new_project(tmp_path_factory.mktemp("runs") / "torchrun", inputs)
    done = start(project, ["-m", *TORCHRUN, "-m", "stages.train"])
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("train: done") == 1
    assert done.stderr.count("step 5: loss") == 1
    assert (project / "metrics" / "train.json").is_file()
    return Run(project)


def test_torchrun_s_two_ranks_read_the_windows_of_one_and_learn_the_same(
    alone: Run, pair: Run
) -> None:
    assert pair.windows == alone.windows
    assert sorted(pair.windows) == list(range(CONFIG.steps))
    assert pair.losses == pytest.approx(alone.losses, rel=1e-4)


def disturbed(
    places: Places, step: int, act: Callable[[int], None], world: World
) -> Mapping[str, Any]:
    """A rank's work; something happens in each rank while it does one optimizer step."""
    done = Engine.train_step

    def with_act(self: Engine, *args: Any) -> Any:
        if self.step_count == step:
            act(world.rank)
        return done(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "train_step", with_act)
        return train.run(places, SHAPE, CONFIG, world)


def interrupt_launcher(rank: int) -> None:
    """Is Ctrl-C at the launcher; goes on when the launcher has passed it on."""
    if rank == 0:
        os.kill(os.getppid(), signal.SIGINT)
        wait_until(lambda: signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)


def wait_until(happened: Callable[[], bool]) -> None:
    while not happened():
        time.sleep(0.01)


def kill_rank_1(rank: int) -> None:
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def test_run_of_two_ranks_killed_and_interrupted_ends_as_the_undisturbed_one(
    inputs: Path, pair: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 of a rank; Ctrl-C; then DeepSpeed's launcher goes on to the end."""
    project = new_project(workspace / "project", inputs)
    monkeypatch.chdir(project)
    monkeypatch.setenv("OUTBOUND_WINDOW_LOG", "windows.jsonl")
    places = relative_places()
    with pytest.raises(RetryableError, match=r"rank 1 of 2 was ended from outside \(SIGKILL"):
        ranks.run(partial(disturbed, places, 4, kill_rank_1), 2)
    assert Run(project).step == 3
    with pytest.raises(KeyboardInterrupt):
        ranks.run(partial(disturbed, places, 6, interrupt_launcher), 2)
    assert Run(project).step == 7
    done = start(project, ["-m", *DEEPSPEED, "--module", "stages.train"])
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("train: done") == 1
    assert Run(project).digests == pair.digests
    assert Run(project).losses == pair.losses


def relative_places() -> Places:
    """The places of stages.train."""
    return Places(
        tokens=Path("data/tokens"),
        bpe=Path("data/bpe"),
        checkpoints=Path("models/checkpoints"),
        model=Path("models/pretrained"),
        curve=Path("metrics/train"),
    )


# One Ray Train run in a process of its own and on a Ray of its own, whose workers find the code by
# PYTHONPATH; on a cluster they find it because the launcher's folder is the project.
ON_RAY = (
    "import os, sys; from functools import partial; from pathlib import Path\n"
    "from model.training import cluster\n"
    "from pipeline.engine import command\n"
    "from tests.model.training import test_launch as here\n"
    "os.environ['OUTBOUND_TEST_DRIVER'] = str(os.getpid())\n"
    "act = getattr(here, sys.argv[2])\n"
    "work = partial(here.disturbed, here.relative_places(), int(sys.argv[1]), act)\n"
    "run = lambda: cluster.run(work, 2, Path('models/checkpoints')) is None\n"
    "sys.exit(command.guarded(run))\n"
)


def interrupt_driver(rank: int) -> None:
    """Is Ctrl-C at the process that started the workers; goes on when it has passed it on."""
    if rank == 0:
        os.kill(int(os.environ["OUTBOUND_TEST_DRIVER"]), signal.SIGINT)
        wait_until(Path(os.environ["OUTBOUND_STOP_FILE"]).exists)


def kill_once(rank: int) -> None:
    """Kills the second rank's worker at its first try."""
    if rank == 1 and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def spaced_python(tmp_path: Path) -> str:
    """This Python, in an environment whose path holds a blank."""
    root = tmp_path / "an environment"
    venv.create(root, with_pip=False, symlinks=True)
    (packages,) = root.glob("lib/python*/site-packages")
    (packages / "all.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(root / "bin" / "python")


@pytest.mark.slow
def test_ray_train_stopped_and_then_losing_a_worker_ends_as_the_undisturbed_run(
    inputs: Path, pair: Run, workspace: Path, spaced_python: str
) -> None:
    project = new_project(workspace / "project", inputs)
    on_ray = partial(start, project, python=spaced_python, OUTBOUND_WORKERS="2")
    stopped = on_ray(["-c", ON_RAY, "1", "interrupt_driver"])
    assert stopped.returncode == 130, stopped.stderr
    assert Run(project).step == 2
    done = on_ray(["-c", ON_RAY, "10", "kill_once"])
    assert done.returncode == 0, done.stderr
    assert (project / "killed").exists()
    assert done.stderr.count("train: lost a worker") == 1
    assert "Traceback" not in done.stderr
    assert "step 12: loss" in done.stderr
    assert Run(project).digests == pair.digests
    assert Run(project).losses == pair.losses
    assert Run(project).windows.keys() == pair.windows.keys()
    assert not (project / "models" / ".launch").exists()


@pytest.mark.parametrize("told", ["0", "two", "-1"])
def test_launch_refuses_a_rank_count_that_is_none(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOUND_RANKS", told)
    with pytest.raises(ValueError, match="OUTBOUND_RANKS is"):
        launch.run(relative_places(), SHAPE, CONFIG)


def test_launch_refuses_a_way_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOUND_LAUNCH", "slurm")
    with pytest.raises(ValueError, match="OUTBOUND_LAUNCH is 'slurm'; expected ray, or unset"):
        launch.run(relative_places(), SHAPE, CONFIG)


def as_rank_3(monkeypatch: pytest.MonkeyPatch) -> None:
    place = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    for name, value in {**place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)


def test_launch_takes_its_place_in_a_running_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    as_rank_3(monkeypatch)
    assert launch._is_member()
    assert launch._member() == World(3, 1, 8)


def joined(world: World) -> Mapping[str, Any]:
    """A rank's work: it becomes a member."""
    join(world)
    return {"member": is_member()}


def joined_and_told(told: Path, world: World) -> Mapping[str, Any]:
    """The same; says something, and writes a file if its interpreter is taken apart."""
    atexit.register(told.with_suffix(f".{world.rank}").touch)
    print(f"rank {world.rank} was here")
    return joined(world)


def test_rank_of_another_launcher_has_left_the_group_when_its_work_is_done(tmp_path: Path) -> None:
    with ranks.alone():  # sets what a launcher sets
        assert launch.start(joined, tmp_path) == {"member": True}
        assert not is_member()


def test_rank_in_this_process_leaves_the_group_and_another_run_joins_one() -> None:
    for _ in range(2):
        assert ranks.run(joined, 1) == {"member": True}
        assert not is_member()


def test_two_ranks_end_without_taking_their_interpreters_apart(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Else gloo's threads abort some of them; what they have printed is not lost."""
    assert ranks.run(partial(joined_and_told, tmp_path / "told"), 2) == {"member": True}
    assert list(tmp_path.iterdir()) == []
    assert sorted(capfd.readouterr().out.split("\n")) == ["", "rank 0 was here", "rank 1 was here"]


def test_launch_ends_a_stage_with_its_code_and_a_launcher_s_rank_at_once() -> None:
    code = (
        "import atexit; from model.training import launch\n"
        "atexit.register(print, 'taken apart'); print('said'); launch.end(7)"
    )
    place = {"RANK": "0", "WORLD_SIZE": "1"}
    alone, rank = (start(ROOT, ["-c", code], **more) for more in ({}, place))
    assert (alone.returncode, alone.stdout) == (7, "said\ntaken apart\n")
    assert (rank.returncode, rank.stdout) == (7, "said\n")


@pytest.mark.parametrize("name", ["WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_launch_refuses_half_a_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_rank_3(monkeypatch)
    monkeypatch.delenv(name)
    with pytest.raises(ValueError, match=f"{name} is None; expected set, as RANK is"):
        launch.run(relative_places(), SHAPE, CONFIG)


@pytest.mark.parametrize("name", ["OUTBOUND_RANKS", "OUTBOUND_LAUNCH"])
def test_launch_refuses_to_start_ranks_inside_of_another_launcher_s_rank(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else torchrun with 8 ranks and OUTBOUND_RANKS=8 would make 64."""
    as_rank_3(monkeypatch)
    monkeypatch.setenv(name, {"OUTBOUND_RANKS": "8", "OUTBOUND_LAUNCH": "ray"}[name])
    with pytest.raises(ValueError, match=f"{name} is .* expected unset .*RANK is 3"):
        launch.run(relative_places(), SHAPE, CONFIG)

"""The benchmark harness: whole process trees are counted, medians compared, checks decide."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import harness, machine
from benchmarks.harness import Check, Comparison, Contender, Run

_BURN = "import time\nwhile time.process_time() < {}: pass\n"

_IGNORE = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
_LINGER = "import os\ntry: os.wait()\nexcept ChildProcessError: pass\n"


def _python(name: str, code: str) -> Contender:
    return Contender(name=name, command=(sys.executable, "-S", "-c", code))


def _spawn(code: str, *, wait: bool) -> str:
    ending = ".wait()" if wait else ""
    call = f"subprocess.Popen([sys.executable, '-S', '-c', {code!r}])"
    return f"import subprocess, sys\n{call}{ending}\n"


@pytest.mark.parametrize(
    "code",
    [
        _BURN.format(0.4),
        _spawn(_BURN.format(0.4), wait=True),
        _spawn(_BURN.format(0.4), wait=False),  # an orphan
        _spawn(_spawn(_BURN.format(0.4), wait=False), wait=False),
        _IGNORE + _spawn(_BURN.format(0.6), wait=False) + _LINGER,
    ],
    ids=["itself", "child", "orphan", "grandchild", "child that nobody waits for"],
)
def test_measure_work_anywhere_in_the_tree_is_counted(code: str) -> None:
    run = harness.measure(_python("x", code))
    assert 0.35 < run.cpu_s < 3.0


def test_measure_large_parent_its_memory_is_not_the_contenders() -> None:
    held = bytearray(b"x" * (300 << 20))
    code = "x = bytearray(b'x' * (60 << 20)); import time; time.sleep(.5)"
    run = harness.measure(_python("x", _spawn(code, wait=True)))
    assert 60 << 20 < run.max_rss_bytes < 200 << 20
    del held


def test_measure_process_that_stays_behind_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "_GRACE_S", 0.2)
    run = harness.measure(_python("x", _spawn("import signal; signal.pause()", wait=False)))
    assert run.wall_s < 30


def test_measure_other_children_of_this_process_are_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        harness.measure(_python("x", "pass"))
        assert other.poll() is None
        other.communicate(b"\n")
    assert other.returncode == 0


def test_measure_last_line_is_an_object_it_is_returned() -> None:
    run = harness.measure(_python("x", "print('noise')\nprint('{\"n\": 3}')"))
    assert run.told == {"n": 3}
    assert harness.measure(_python("x", "print('noise')")).told == {}


def test_measure_command_fails_its_last_words_are_told() -> None:
    with pytest.raises(RuntimeError, match="x: exit status 3\nlast words"):
        harness.measure(
            _python("x", "import sys; print('last words', file=sys.stderr); sys.exit(3)")
        )


def test_rounds_contenders_take_turns_in_rotating_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    pair = [_python(n, f"open({str(log)!r}, 'a').write({n!r})") for n in ("a", "b")]
    runs = harness.rounds(pair, 3)
    assert log.read_text() == "abbaab"
    assert [len(of) for of in runs.values()] == [3, 3]


def _runs(*cpu_s: float) -> list[Run]:
    return [Run(cpu_s=s, wall_s=s, max_rss_bytes=1 << 20, told={}) for s in cpu_s]


_COMPARISON = Comparison(
    name="x", work="ten docs", unit="docs per CPU-second", amount=10, target=1.5, inputs="ab"
)
_RUNS = {"ours": _runs(1, 2, 5), "slow": _runs(8, 8, 8), "fast": _runs(2, 4, 4)}


def _told(
    checks: dict[str, Check], capsys: pytest.CaptureFixture[str], results: Path | None = None
) -> tuple[int, Any]:
    result = harness.result(_COMPARISON, _RUNS, "ours", checks)
    status = harness.finish(result, _RUNS, checks, results)
    return status, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_result_several_peers_ratio_is_to_the_best_median(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, told = _told({"f1": Check(0.9, 0.8)}, capsys)
    assert status == 0
    assert (told["ours"], told["peers"]) == (5.0, {"slow": 1.25, "fast": 2.5})
    assert told["ratio"] == 2.0
    assert told["spread"] == [0.8, 2.0]
    assert (told["checks"], told["target"], told["inputs"]) == ({"f1": 0.9}, 1.5, "ab")
    assert set(told) >= {"name", "unit", "commit", "rounds", "date", "work"}
    assert told["against"] == "fast"
    slow = harness.against(_COMPARISON, _RUNS, "ours", "slow")
    assert slow == {"against": "slow", "ratio": 4.0, "spread": [1.6, 8.0], "target": 1.5}


def test_result_check_fails_exit_status_says_so_and_nothing_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _told({"f1": Check(0.7, 0.8)}, capsys, tmp_path)[0] == 1
    assert list(tmp_path.iterdir()) == []


def test_finish_records_what_it_prints_in_place_of_its_own_earlier_result_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results"
    other = harness.record({"name": "y", "case": "small", "ours": 3.0}, folder)
    harness.record({"name": "x", "case": "", "ours": 1.0}, folder)
    _, told = _told({}, capsys, folder)
    assert [path.name for path in folder.iterdir()] == [f"{machine.describe()['name']}.json"]
    assert json.loads(other.read_bytes()) == {
        "machine": machine.describe(),
        "entries": {"x": told, "y/small": {"name": "y", "case": "small", "ours": 3.0}},
    }


def test_commit_is_dirty_for_changed_code_not_for_changed_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(harness, "ROOT", tmp_path)
    result, code = tmp_path / "benchmarks" / "results" / "x.json", tmp_path / "code.py"
    result.parent.mkdir(parents=True)
    result.write_text("{}")
    code.write_text("1")
    assert harness.commit() == ""
    git("init")
    git("add", ".")
    git("commit", "-m", "x")
    head = harness.commit()
    assert len(head) == 40
    result.write_text("{} ")
    assert harness.commit() == head
    code.write_text("2")
    assert harness.commit() == f"{head}-dirty"


def test_versions_are_those_that_are_installed() -> None:
    assert harness.versions("pytest", "no-such-package") == {"pytest": pytest.__version__}


def test_result_no_peer_installed_has_no_ratio() -> None:
    told = harness.result(_COMPARISON, {"ours": _runs(1)}, "ours", {})
    assert (told["ratio"], told["peers"]) == (None, {})


def test_digest_depends_on_contents_and_names_order_only(tmp_path: Path) -> None:
    for name, data in (("b", b"2"), ("a", b"1")):
        (tmp_path / name).write_bytes(data)
    first = harness.digest([tmp_path / "b", tmp_path / "a"])
    assert first == harness.digest([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "a").write_bytes(b"3")
    assert first != harness.digest([tmp_path / "a", tmp_path / "b"])

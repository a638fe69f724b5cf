"""What may fail on a cluster while a step runs: same bytes, or a clear message and the next run."""

import os
import shutil
import signal

import pytest

from tests.cluster.conftest import HEAD, OUTPUT, STEP, WORKER, Cluster, digests
from tests.cluster.machines import MOUNT, Machine, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


def test_worker_killed_in_its_task_is_replaced(extracted: Cluster) -> None:
    expected = digests(extracted.project.root, OUTPUT)
    run = extracted.extract_anew()
    victim = extracted.hold(extracted.worker, run)
    os.kill(victim, signal.SIGKILL)
    assert run.end() == 0, run.told()
    assert "There are 2 retries remaining, so the task will be retried" in run.told()
    assert extracted.finished_shards() == extracted.n_shards()
    assert digests(extracted.project.root, OUTPUT) == expected


def test_driver_killed_goes_on_when_it_is_started_again(extracted: Cluster) -> None:
    expected = digests(extracted.project.root, OUTPUT)
    run = extracted.extract_anew()
    held = extracted.hold(extracted.worker, run)
    parts = ("repro.py", "pipeline.engine.session", "dvc repro", f"stages.{STEP}")
    driver = [pid for pid, name in extracted.head.processes() if any(p in name for p in parts)]
    assert len(driver) >= len(parts)
    for pid in driver:
        os.kill(pid, signal.SIGKILL)
    assert run.end() != 0
    again = extracted.submit("--force", "--single-item", STEP)
    assert again.end() == 0, again.told()
    n = extracted.n_shards()
    assert f"{STEP}: {n - 1} of {n} shards kept from an earlier run" in again.told()
    assert digests(extracted.project.root, OUTPUT) == expected
    assert held not in [pid for pid, _ in extracted.worker.processes()]


def test_network_cut_for_a_while_costs_nothing_but_time(extracted: Cluster) -> None:
    """The machine that is cut off goes on; Ray gives it up and starts its task again elsewhere.

    Nobody closes its connections, so the driver hears of it when Ray's client asks, after a minute.
    """
    expected = digests(extracted.project.root, OUTPUT)
    run = extracted.extract_anew()
    held = extracted.hold(extracted.worker, run)
    extracted.network.cut(extracted.worker)
    os.kill(held, signal.SIGCONT)
    wait_until(lambda: extracted.alive() == [HEAD], run.is_under_way)
    extracted.network.mend(extracted.worker)
    assert run.end() == 0, run.told()
    assert digests(extracted.project.root, OUTPUT) == expected
    extracted.wait_for_both()


def test_machine_lost_in_the_middle_is_done_without_and_may_be_replaced(extracted: Cluster) -> None:
    expected = digests(extracted.project.root, OUTPUT)
    run = extracted.extract_anew()
    extracted.hold(extracted.worker, run)
    extracted.worker.lose()
    assert run.end() == 0, run.told()
    assert digests(extracted.project.root, OUTPUT) == expected
    wait_until(lambda: extracted.alive() == [HEAD])
    extracted.worker = Machine(extracted.network, "spare", WORKER, extracted.shared)
    extracted.wait_for_both()


def test_full_disk_of_one_node_is_named_and_the_next_run_goes_on(extracted: Cluster) -> None:
    expected = digests(extracted.project.root, OUTPUT)
    place = f"{MOUNT}/project/.shards/{STEP}"
    shutil.rmtree(extracted.store)
    extracted.store.mkdir()
    extracted.worker.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", place])
    run = extracted.submit("--force", "--single-item", STEP)
    code = run.end()
    extracted.worker.run(["umount", "--lazy", place])
    assert code != 0
    assert f"no space left on the disk of {place}; free some" in run.told()
    again = extracted.submit("--force", "--single-item", STEP)
    assert again.end() == 0, again.told()
    assert digests(extracted.project.root, OUTPUT) == expected

"""What is said of a machine: its limits are measured, shares are of them."""

from benchmarks import machine
from benchmarks.machine import Limit


def test_describe_names_the_machine_by_processor_and_cores() -> None:
    told = machine.describe()
    assert told["name"] == machine.name(told["processor"], told["cores"], told["gpu"])
    assert f"{told['cores']}-cores" in told["name"]
    assert told["memory_gib"] > 0


def test_limit_tells_the_share_that_was_reached() -> None:
    told = Limit("wire", 8e9, 2e9, "bytes/s").told()
    assert told == {"of": "wire", "most": 8e9, "reached": 2e9, "unit": "bytes/s", "share": 0.25}


def test_limits_are_measured_by_moving_bytes() -> None:
    assert machine.copy_bytes_per_s() > 1e8
    assert machine.loopback_bytes_per_s() > 1e7

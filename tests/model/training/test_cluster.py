"""Where Ray's workers are put; a real run on Ray is in test_launch.py."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.cluster import scaling

CPU_NODES = st.lists(st.fixed_dictionaries({"CPU": st.integers(1, 64).map(float)}), min_size=1)


def test_scaling_takes_one_rank_per_gpu_unless_told() -> None:
    nodes = [{"CPU": 8.0}, {"CPU": 64.0, "GPU": 8.0}, {"CPU": 64.0, "GPU": 8.0}]
    assert scaling(nodes, None).num_workers == 16
    told = scaling(nodes, 4)
    assert (told.num_workers, told.use_gpu) == (4, True)


def test_scaling_without_gpus_takes_one_rank_per_machine_with_all_its_cpus() -> None:
    told = scaling([{"CPU": 8.0}, {"CPU": 4.0}], None)
    assert told.num_workers == 2
    assert told.resources_per_worker == {"CPU": 4}


@given(CPU_NODES, st.data())
def test_scaling_asks_for_no_more_than_fits(
    nodes: list[dict[str, float]], data: st.DataObject
) -> None:
    room = int(sum(node["CPU"] for node in nodes))
    wanted = data.draw(st.integers(1, room))
    told = scaling(nodes, wanted)
    assert told.resources_per_worker is not None
    each = told.resources_per_worker["CPU"]
    assert told.num_workers == wanted
    assert sum(math.floor(node["CPU"] / each) for node in nodes) >= wanted


def test_scaling_refuses_more_ranks_than_there_is_room() -> None:
    with pytest.raises(ValueError, match="OUTBOUND_RANKS is 3; expected at most the cluster's 2"):
        scaling([{"CPU": 2.0}], 3)
    with pytest.raises(ValueError, match="OUTBOUND_RANKS is 9; expected at most the cluster's 8"):
        scaling([{"CPU": 64.0, "GPU": 8.0}], 9)

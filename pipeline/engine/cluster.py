"""Tasks on Ray: the only file that imports it, but for Ray Train.

Decisions:
- Joins the cluster named by RAY_ADDRESS, else starts one for this process and ends it afterwards.
  Starting costs about ten seconds, so `stages.repro` starts one for the whole graph.
- The driver keeps at most two tasks per CPU in flight and receives small results only; no bulk
  data goes through the object store. What a task may hold is a setting (`engine.memory`).
- On several nodes the workspace must be one shared file system; each node proves it first.
- A lost worker is tried again twice; an error of the step itself is never repeated.
"""

import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.engine import memory
from pipeline.engine.tasks import Item, Result
from pipeline.store.errors import RetryableError, ShardError

_IN_FLIGHT_PER_CPU = 2
_LOST_WORKER_RETRIES = 2
_OBJECT_STORE_BYTES = 100 << 20  # results are counts and paths; Ray's own default is 30 % of memory

_LOST = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
)

# Nothing calls home, and Ray's own messages stay out of the stage's output.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_TQDM_PATCH_PRINT": "0",
}


@contextmanager
def connect(interpreter: str | None = None) -> Iterator[str]:
    """Joins or starts Ray and yields the address under which others can join.

    Args:
        interpreter: What starts a worker's Python, as a shell reads it; None: Ray decides.

    Raises:
        ShardError: If a node of the cluster does not see this workspace.
        ConnectionError: If RAY_ADDRESS names a cluster that does not answer.
    """
    os.environ.update({k: v for k, v in _ENVIRONMENT.items() if k not in os.environ})
    address = os.environ.get("RAY_ADDRESS")
    if not address or address.startswith("127."):
        # Ray's own switch for desktops, read when ray.init runs: its servers listen on loopback,
        # and a loopback address is not replaced by one that other machines can reach.
        ray_constants.ENABLE_RAY_CLUSTER = False
    context = ray.init(
        address=address or "local",
        logging_level=logging.ERROR,
        log_to_driver=False,
        runtime_env={"py_executable": interpreter} if interpreter else None,
        **({} if address else _local_cluster()),
    )
    try:
        _check_shared_workspace(Path.cwd())
        yield str(context.address_info["gcs_address"])
    finally:
        ray.shutdown()


def _local_cluster() -> dict[str, Any]:
    """Returns the settings of a Ray of this machine alone, reachable from nowhere else."""
    return {
        "num_cpus": int(os.environ.get("OUTBOUND_WORKERS") or os.cpu_count() or 1),
        "object_store_memory": _OBJECT_STORE_BYTES,
        "include_dashboard": False,
    }


class RayEngine:
    """Runs tasks on the workers of the joined cluster, one CPU each."""

    def __init__(self) -> None:
        """Counts the CPUs of the whole cluster, and reads what a task may hold.

        Raises:
            ValueError: If no node has as much memory for tasks.
        """
        n_cpus = int(ray.cluster_resources().get("CPU", 1))
        self._n_in_flight = max(1, n_cpus * _IN_FLIGHT_PER_CPU)
        self._max_bytes = memory.limit_bytes()
        if self._max_bytes is not None:
            _check_fits(self._max_bytes)

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yields (index, result) as tasks complete; see `Engine.map`.

        Raises:
            ShardError: If a worker dies more often than it is retried.
            Exception: Whatever the function raised first, as it was raised.
        """
        waiting = list(enumerate(items))[::-1]
        call = _call_remotely
        if self._max_bytes is not None:
            call = call.options(memory=self._max_bytes)
        running: dict[Any, int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._n_in_flight:
                    index, item = waiting.pop()
                    running[call.remote(function, item, self._max_bytes)] = index
                done, _ = ray.wait(list(running), num_returns=1, fetch_local=True)
                index = running.pop(done[0])
                yield index, _get(done[0], index)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _call(function: Callable[[Item], Result], item: Item, max_bytes: int | None) -> Result:
    """Runs one task in a worker."""
    with memory.limited(max_bytes):
        return function(item)


_call_remotely = ray.remote(
    num_cpus=1, max_retries=_LOST_WORKER_RETRIES, retry_exceptions=[RetryableError]
)(_call)


def _get(reference: Any, index: int) -> Any:
    """Returns a task's result, or raises what it raised."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if os.environ.get("OUTBOUND_TRACEBACK"):
            print(error, file=sys.stderr)
        raise error.cause from error
    except _LOST as error:
        lost = f"task {index}: its worker died {_LOST_WORKER_RETRIES + 1} times ({error})"
        raise ShardError(f"{lost}; look at memory, then run the same command again") from error


def _check_fits(max_bytes: int) -> None:
    """Raises ValueError unless a node can hold a task; Ray would wait for one for ever."""
    alive: list[dict[str, Any]] = ray.nodes()
    most = max((node["Resources"].get("memory", 0.0) for node in alive if node["Alive"]), default=0)
    if max_bytes > most:
        raise ValueError(
            f"{memory.SETTING} is {max_bytes / 1e9:g}; expected at most {most / 1e9:.1f}, what the "
            "largest node has for tasks"
        )


def _check_shared_workspace(workspace: Path) -> None:
    """Proves that every node reads what this one writes in the workspace."""
    alive: list[dict[str, Any]] = ray.nodes()
    nodes = [node["NodeID"] for node in alive if node["Alive"]]
    if len(nodes) < 2:
        return
    token = workspace / f".shared-{uuid.uuid4().hex}"
    token.write_text(token.name)
    look = _look()
    try:
        asked = {node: look.options(scheduling_strategy=_on(node)).remote(token) for node in nodes}
        blind = [node for node, answer in asked.items() if not _sees_or_is_gone(answer)]
    finally:
        token.unlink()
    if blind:
        raise ShardError(
            f"{len(blind)} of {len(nodes)} Ray nodes do not see {workspace} (first: {blind[0]}); "
            "mount one shared file system at this path on every node"
        )


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node_id=node, soft=False)


def _look() -> Any:
    """Returns the task that tells whether its node reads the token file.

    An inner function travels whole. One of this module would be imported there, and a node without
    the workspace cannot.
    """

    def sees(token: Path) -> bool:
        return token.is_file() and token.read_text() == token.name

    return ray.remote(num_cpus=0)(sees)


def _sees_or_is_gone(answer: Any) -> bool:
    """Returns a node's answer; a node that is lost meanwhile is no longer asked."""
    try:
        return bool(ray.get(answer))
    except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
        return True

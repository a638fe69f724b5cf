"""From scores to what counts: losses, predictions, and the table that figures are made of."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from model.finetune import inputs, metrics
from model.finetune.inputs import Encoded
from model.finetune.tasks import Split, Task
from pipeline.store import records

Floats = npt.NDArray[np.float64]


def loss(encoded: Encoded, scores: Tensor) -> float:
    """Returns the mean cross-entropy in nats of (n, outputs) fp64 scores."""
    wanted = inputs.targets(encoded, range(len(encoded)))
    if encoded.grades is not None:
        wanted = wanted.double()
    return float(torch.nn.functional.cross_entropy(scores, wanted))


def predicted(task: Task, scores: Tensor) -> Floats:
    """Returns (n,) classes or answers, the first of equals; of a graded task expected scores."""
    if task.grades is None:
        return np.asarray(scores.numpy().argmax(axis=1), np.float64)
    expected = torch.softmax(scores, dim=1) @ torch.arange(task.grades, dtype=torch.float64)
    return np.asarray(expected.numpy(), np.float64)


def judged(task: Task, encoded: Encoded, scores: Tensor) -> dict[str, float]:
    """Returns the loss and each of the task's metrics."""
    found = predicted(task, scores)
    told = {"loss": loss(encoded, scores)}
    return told | {m: metrics.value(m, found, encoded.labels) for m in task.metrics}


def table(task: Task, split: Split, encoded: Encoded, scores: Tensor) -> pa.Table:
    """Returns one row per example: `example_id, split, label, predicted, scores`."""
    n_scores = [len(rows) if task.kind == "choice" else task.n_outputs for rows in encoded.rows]
    kept = [row[:n] for row, n in zip(scores.tolist(), n_scores, strict=True)]
    columns = [encoded.ids, [split] * len(encoded), encoded.labels, predicted(task, scores), kept]
    return pa.table(columns, schema=records.PREDICTIONS)

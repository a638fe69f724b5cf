"""What a pre-trained model says of a labelled task without being trained on it.

    sst2     "<text> very" then " positive" or " negative"     the likelier one
    cola     mean log-probability of a token of the sentence   above a threshold: acceptable
    choice   each answer after document and question           highest mean per token

Winograd's substitution is `model.tasks.winograd` (`accuracy_partial`).

Decisions:
- CoLA's threshold is the one with the highest Matthews correlation on the training split; the paper
  thresholds, too, and does not say how. So labels enter there, one number's worth.
- " positive" and " negative" are compared by their whole log-probability: with a vocabulary that
  cuts one of them in two, no single token stands for it.
- Every text stands after `<|endoftext|>`, as in pre-training.

Paper: GPT-1, section 5, "Zero-shot Behaviors", and figure 2 (right).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from model.finetune import metrics
from model.finetune.tasks import Example, Split, Task
from model.score import Request, Scorer
from pipeline.tokens.codec import Codec

Floats = npt.NDArray[np.float64]
Splits = Mapping[Split, Sequence[Example]]

VERY = " very"
FEELINGS = (" negative", " positive")  # in the order of SST-2's labels
MAX_THRESHOLDS = 1000  # that are tried; training sets may have more sentences


def is_known(task: Task) -> bool:
    """Tells whether the paper names a heuristic for a task."""
    return task.kind == "choice" or task.name in ("sst2", "cola")


def predict(task: Task, splits: Splits, scorer: Scorer, coder: Codec) -> Floats:
    """Returns (n,) classes or answers of the scored split.

    Args:
        task: One that `is_known`.
        splits: Its examples.
        scorer: The model.
        coder: Its vocabulary.
    """
    scored = splits[task.scored_split]
    if task.kind == "choice":
        return _answers(scored, scorer, coder)
    if task.name == "sst2":
        return _feelings(scored, scorer, coder)
    labels = [each.label for each in splits["train"]]
    limit = threshold(_means(splits["train"], scorer, coder), labels)
    return (_means(scored, scorer, coder) > limit).astype(np.float64)


def threshold(values: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Returns the limit above which the second class is said, best by Matthews correlation.

    >>> threshold([-4.0, -3.0, -2.0, -1.0], [0, 0, 1, 1])
    -2.5
    """
    known = np.unique(np.asarray(values, np.float64))
    limits = (known[1:] + known[:-1]) / 2
    if len(limits) > MAX_THRESHOLDS:
        limits = np.quantile(known, np.linspace(0, 1, MAX_THRESHOLDS))
    said = [(np.asarray(values) > limit).astype(np.float64) for limit in limits]
    figures = [metrics.value("matthews", each, labels) for each in said]
    return float(limits[int(np.argmax(figures))]) if figures else float(known[0])


def _answers(examples: Sequence[Example], scorer: Scorer, coder: Codec) -> Floats:
    requests = [_request(each, scorer.n_ctx, coder) for each in examples]
    means = [
        [float(each.logprobs.mean()) for each in found] for found in scorer.loglikelihood(requests)
    ]
    return np.array([np.argmax(each) for each in means], np.float64)


def _request(example: Example, n_ctx: int, coder: Codec) -> Request:
    """Returns document and question, and what each answer adds; what is too long loses its end."""
    document, question, *answers = example.texts
    context = coder.encode(f"{document} {question}".strip())
    return Request(
        context=context, continuations=[coder.encode(f" {each}")[:n_ctx] for each in answers]
    )


def _feelings(examples: Sequence[Example], scorer: Scorer, coder: Codec) -> Floats:
    words = [coder.encode(each) for each in FEELINGS]
    requests = [
        Request(context=coder.encode(each.texts[0] + VERY), continuations=words)
        for each in examples
    ]
    totals = [[each.total for each in found] for found in scorer.loglikelihood(requests)]
    return np.array([np.argmax(each) for each in totals], np.float64)


def _means(examples: Sequence[Example], scorer: Scorer, coder: Codec) -> Floats:
    texts = [coder.encode(each.texts[0]) for each in examples]
    return np.array([float(each.mean()) for each in scorer.rolling(texts, scorer.n_ctx)])

"""What a labelled example is, and what a task is: the contract of everything in this package.

    kind          texts of an example                             what the model is asked
    text          (text,)                                         which class
    entailment    (premise, hypothesis)                           which class
    similarity    (one, other), no order between them             which class, or a score
    choice        (document, question, answer 0, answer 1, ...)   which answer

Paper: GPT-1, section 3.3 and figure 1: one input transformation per kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.store.config import require

Kind = Literal["text", "entailment", "similarity", "choice"]
Split = Literal["train", "dev", "test"]
Metric = Literal["accuracy", "f1", "matthews", "pearson", "spearman"]

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
SEGMENTS: dict[Kind, int] = {"text": 1, "entailment": 2, "similarity": 2}  # choice: 4 or more
MIN_CHOICE_SEGMENTS = 4  # document, question, two answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One labelled example.

    Attributes:
        example_id: Unique within its split.
        texts: As the kind of its task says; `question` is "" where a task has none.
        label: Class index; of `choice` the right answer's; of a graded task the score.
    """

    example_id: str
    texts: tuple[str, ...]
    label: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is trained and scored.

    Attributes:
        name: Also the file's name in `data/labelled/`.
        kind: Which input transformation.
        labels: Names of the classes in the order of their indices; empty for choice and graded
            tasks. With two classes, the second is the positive one of F1 and Matthews correlation.
        grades: Of a graded task, how many whole scores there are, 0 to grades - 1: a score between
            two of them becomes a distribution over both, whose expectation it is. Else None.
            Paper: Tai et al., Improved Semantic Representations (2015), section 4.2.
        metrics: The first is the paper's headline.
        scored_split: Which split the metrics are of; `train` is never scored.
        use: What the paper does with it.
        paper: The paper's figures by metric, as fractions.
        paper_split: Which published split these are of, in words.
        comparable: Whether the paper's figures are of the very split that is scored here.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    grades: int | None
    metrics: tuple[Metric, ...]
    scored_split: Split
    use: str
    paper: Mapping[Metric, float]
    paper_split: str
    comparable: bool

    def __post_init__(self) -> None:
        has_classes = self.kind != "choice" and self.grades is None
        require("labels", self.labels, bool(self.labels) == has_classes, "names of the classes")
        require("metrics", self.metrics, bool(self.metrics), "one at least")

    @property
    def n_outputs(self) -> int:
        """Scores per row of the model: one per class or grade; of a choice, one per answer's row.

        >>> from dataclasses import replace
        >>> task = Task(name="x", kind="text", labels=("no", "yes"), grades=None,
        ...             metrics=("accuracy",), scored_split="dev", use="", paper={},
        ...             paper_split="", comparable=False)
        >>> task.n_outputs, replace(task, labels=(), kind="choice").n_outputs
        (2, 1)
        """
        return 1 if self.kind == "choice" else self.grades or len(self.labels)

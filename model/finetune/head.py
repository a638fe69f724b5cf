"""A pre-trained model with a linear head on the state of the extract token.

    rows ──> blocks ──┬─> state at extract ──> dropout ──> (sum of both orders) ──> head ──> scores
                      └─> wte^T ──> auxiliary language model loss

Tensor legend: B examples, K rows of each, T tokens, C n_embd, V vocabulary with the three marks.

Paper: GPT-1, section 3.2: L3 = L2 (classification) + lambda L1 (language model).

Decisions
- Three rows are appended to `wte`, N(0, .02) as in the released code, for start, delimiter and
  extract; they are predicted too. The position table is no part of the output matrix.
  Deviation: in the released code it is, and the dropout is of the table instead of the sum.
- The language model loss is the mean over each row's tokens but the first, then over the rows
  (released code): a long answer counts as much as a short one.
- One mask of the head's dropout serves all rows of an example (released code), so that answers are
  compared under the same one.
- What the head sees as scores is fp32 whatever the module computes in.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.finetune.inputs import ABSENT
from model.finetune.tasks import Kind, Task
from model.gpt import GPT, IGNORE

N_MARKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """What is added to the language model.

    Attributes:
        kind: of the task.
        n_outputs: scores per row: classes or grades; 1 for `choice`.
        dropout: rate of the extract token's state in training.
        lm_coef: weight of the language model loss, lambda; 0 leaves it out.
    """

    kind: Kind
    n_outputs: int
    dropout: float
    lm_coef: float

    @staticmethod
    def of(task: Task, *, dropout: float, lm_coef: float) -> "HeadConfig":
        """Returns a task's."""
        return HeadConfig(
            kind=task.kind, n_outputs=task.n_outputs, dropout=dropout, lm_coef=lm_coef
        )


class Classifier(GPT):
    """A language model that also scores the rows of an example."""

    def __init__(self, config: ModelConfig, head: HeadConfig) -> None:
        """Makes it for `config`, whose vocabulary holds the marks already."""
        super().__init__(config)
        self.head_config = head
        self.head = nn.Linear(config.n_embd, head.n_outputs)

    def scores(self, idx: Tensor, last: Tensor) -> Tensor:
        """Returns (B, classes) or, of a choice, (B, K) fp32 scores, -inf for absent answers.

        Args:
            idx: (B, K, T) int64 token ids.
            last: (B, K) int64; where the extract token is, or `ABSENT`.
        """
        return self._scores(self._states(idx), last)

    def objective(self, idx: Tensor, last: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss in nats: of the classes, and of the language model by its share.

        Args:
            idx: (B, K, T) int64 token ids.
            last: (B, K) int64; where the extract token is, or `ABSENT`.
            targets: (B,) int64 classes, or (B, grades) fp32 distributions.
        """
        states = self._states(idx)
        loss = functional.cross_entropy(self._scores(states, last), targets)
        if self.head_config.lm_coef == 0:
            return loss
        return loss + self.head_config.lm_coef * self._lm_loss(states, idx, last)

    def _states(self, idx: Tensor) -> Tensor:
        return self.hidden(idx.flatten(0, 1)).view(*idx.shape, -1)  # (B, K, T, C)

    def _scores(self, states: Tensor, last: Tensor) -> Tensor:
        at = last.clamp(min=0)[:, :, None, None].expand(-1, -1, 1, states.size(3))
        x = states.gather(2, at).squeeze(2)  # (B, K, C)
        mask = functional.dropout(
            torch.ones_like(x[:, :1]), self.head_config.dropout, self.training
        )
        x = x * mask
        if self.head_config.kind == "choice":
            found: Tensor = self.head(x).squeeze(2).float()  # (B, K)
            return found.masked_fill(last == ABSENT, -torch.inf)
        classes: Tensor = self.head(x.sum(dim=1)).float()  # (B, classes)
        return classes

    def _lm_loss(self, states: Tensor, idx: Tensor, last: Tensor) -> Tensor:
        """Returns the mean over rows of the mean over a row's predicted tokens, nats.

        Only what is predicted reaches the output matrix: no padding. Weights are those of the
        longest row: 1 for its tokens, more for shorter rows', so that they fit in fp16.
        """
        places = torch.arange(idx.size(2), device=idx.device)
        predicts = (places < last.unsqueeze(2)).flatten().nonzero().squeeze(1)  # (N,)
        following = functional.pad(idx[:, :, 1:], (0, 1), value=IGNORE)
        most = last.max()
        per_token = (most / last).unsqueeze(2).expand_as(idx)  # (B, K, T) fp32
        total = self.summed_loss(
            states.flatten(0, 2).index_select(0, predicts),
            following.flatten().index_select(0, predicts),
            per_token.flatten().index_select(0, predicts),
        )
        return total / (most * (last != ABSENT).sum())


def with_marks(config: ModelConfig) -> ModelConfig:
    """Returns a language model's configuration with three more ids."""
    return replace(config, n_vocab=config.n_vocab + N_MARKS)

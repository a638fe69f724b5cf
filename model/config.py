"""Shape of the network.

Decisions
- `Architecture` is the section `model` of params.yaml; `ModelConfig` adds `n_vocab`, which belongs
  to the tokenizer and is read from the token shards, so the two can't disagree.
- One dropout rate for embedding, attention and residual, as in both papers.
- The feed-forward width is 4 `n_embd` and the layer norm epsilon 1e-5 in both papers, so neither is
  a setting.
"""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from pipeline.store.config import require

Norm = Literal["pre", "post"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The network's shape, without its vocabulary.

    Paper: GPT-1 (section 4.1) is `post`, GPT-2 (section 2.3) is `pre`.

    Attributes:
        norm: `pre` normalises each sub-block's input and adds a final norm (GPT-2); `post`
            normalises each residual sum and has no final norm (GPT-1).
        n_layer: number of blocks.
        n_head: attention heads per block; divides `n_embd`.
        n_embd: width of the residual stream.
        n_ctx: context length in tokens.
        dropout: rate in training, 0 <= x < 1.
    """

    norm: Norm
    n_layer: int
    n_head: int
    n_embd: int
    n_ctx: int
    dropout: float

    def __post_init__(self) -> None:
        require("norm", self.norm, self.norm in get_args(Norm), "pre or post")
        for name in ("n_layer", "n_head", "n_embd", "n_ctx"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "x >= 1")
        divides = self.n_embd % self.n_head == 0
        require("n_head", self.n_head, divides, f"a divisor of n_embd = {self.n_embd}")
        require("dropout", self.dropout, 0 <= self.dropout < 1, "0 <= x < 1")

    def with_vocab(self, n_vocab: int) -> "ModelConfig":
        """Returns the full configuration for a tokenizer of `n_vocab` entries."""
        return ModelConfig(n_vocab=n_vocab, **asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig(Architecture):
    """Everything that `model.gpt.GPT` is built from.

    Attributes:
        n_vocab: number of token ids.
    """

    n_vocab: int

    def __post_init__(self) -> None:
        # A slotted dataclass is a second class object, so zero-argument super() can't be used.
        Architecture.__post_init__(self)
        require("n_vocab", self.n_vocab, self.n_vocab >= 2, "x >= 2")

"""Zero-shot evaluation: each present set under each of its protocols, nothing trained on it.

Decisions:
- fp32, whatever the model was trained in.
- A figure is worth its protocol: set, digest of the text, detokenizer, unit, window, stride, what
  stands before the text, dtype, vocabulary and weights are written beside each one.
- A figure of the paper stands beside ours only where split, unit, filter and bytes are the paper's.
  Window, stride and what stands before a text are not in the paper; ours are in the protocol.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from model import hf
from model.score import Scorer, device
from model.tasks import evalsets, lambada, overlap, perplexity, winograd
from model.tasks.forms import Example
from model.tasks.registry import HELDOUT, LASTWORD
from model.tasks.results import Bench, Result
from pipeline.store import shards
from pipeline.store.config import require
from pipeline.text import detokenize
from pipeline.tokens import codec
from pipeline.tokens.arrow import END_OF_TEXT

_SIZES = ("117M", "345M", "762M", "1542M")


def _by_size(*values: float) -> dict[str, float]:
    return dict(zip(_SIZES, values, strict=True))


# Paper: GPT-2, table 3; figure 3 for Winograd.
PAPER: dict[str, dict[str, dict[str, float]]] = {
    "lambada_openai": {
        "perplexity": _by_size(35.13, 15.60, 10.87, 8.63),
        "accuracy_stopword_filter": _by_size(0.4599, 0.5548, 0.6012, 0.6324),
        "accuracy": {"1542M": 0.5266},
    },
    "winograd": {"accuracy_partial": {"1542M": 0.7070}},
    "ptb_detokenized": {"perplexity_word": _by_size(65.85, 47.33, 40.31, 35.76)},
    "wikitext2_detokenized": {"perplexity_word": _by_size(29.41, 22.76, 19.93, 18.34)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How texts are scored.

    Attributes:
        stride_tokens: By how much windows over long texts advance; null for the context length,
            which reads every token once. Smaller gives every token more context, at more cost.
        seed: Of the bootstrap.
        max_overlap_frac: Share of an example's 8-grams that the training text may hold; the second
            score leaves out the examples above it.
    """

    stride_tokens: int | None
    seed: int
    max_overlap_frac: float

    def __post_init__(self) -> None:
        stride = self.stride_tokens
        require("stride_tokens", stride, stride is None or stride >= 1, "x >= 1 or null")
        require("seed", self.seed, self.seed >= 0, "x >= 0")
        frac = self.max_overlap_frac
        require("max_overlap_frac", frac, 0 <= frac <= 1, "0 <= x <= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Figures by protocol, the same without overlapping examples, and the protocols."""

    figures: dict[str, dict[str, float]]
    without_overlap: dict[str, Any]
    protocols: dict[str, Any]


Task = Callable[[str, Sequence[Example], Bench], list[Result]]


def run(pretrained: Path, evaluation: Path, overlaps: Path, config: Config) -> Evaluation:
    """Evaluates a model on every set that is present.

    Args:
        pretrained: Output of `train`, or any folder in its form.
        evaluation: Output of `evalsets`.
        overlaps: What the corpus holds of the examples, from `decontaminate`.
        config: Section `evaluate` of params.yaml.

    Raises:
        FileNotFoundError: If an input is missing.
        ManifestError: If `overlaps` is missing.
        ValueError: If `stride_tokens` exceeds the context length.
    """
    model, shape = hf.load(pretrained)
    coder = codec.load(pretrained / "tokenizer.json")
    stride = config.stride_tokens or shape.n_ctx
    require("stride_tokens", stride, stride <= shape.n_ctx, f"x <= n_ctx = {shape.n_ctx}")
    scorer = Scorer(model.to(device()), coder.vocabulary.eot_id)
    bench = Bench(scorer=scorer, coder=coder, stride=stride, seed=config.seed)
    listed = evalsets.listing(evaluation)
    common = {
        "bos": END_OF_TEXT,
        "dtype": "float32",
        "tokenizer_sha256": coder.vocabulary.tokenizer_sha256,
        "model_sha256": shards.sha256_file(pretrained / "model.safetensors"),
    }
    counts = overlap.read(overlaps)
    results: dict[str, Result] = {}
    again: dict[str, Any] = {}
    for name, task in TASKS.items():
        if listed[name]["present"]:
            examples = evalsets.read(evaluation, name)
            for result in task(name, examples, bench):
                result.protocol.update(common, **_source(result.name, listed[name]))
                results[result.name] = result
                again[result.name] = overlap.again(
                    result, name, examples, counts, config.max_overlap_frac
                )
    absent = {name: each["reason"] for name, each in listed.items() if not each["present"]}
    protocols = {name: result.protocol for name, result in results.items()}
    return Evaluation(
        figures={name: result.figures for name, result in results.items()},
        without_overlap={"max_overlap_frac": config.max_overlap_frac, "scores": again},
        protocols={"absent": absent, "protocols": protocols},
    )


def _source(name: str, listed: Mapping[str, Any]) -> dict[str, Any]:
    """Returns where the text is from, and the paper's figures if its bytes are the published."""
    return {
        "set": listed["set"],
        "split": listed["split"],
        "source": listed["file"] or "validation split",
        "text_sha256": listed["sha256"],
        "digest_known": listed["digest_known"],
        "paper": PAPER.get(name, {}) if listed["digest_known"] else {},
    }


TASKS: dict[str, Task] = {
    HELDOUT: perplexity.documents,
    LASTWORD: lambada.last_word,
    "lambada_openai": lambada.last_word,
    "lambada_plain": lambada.both_forms,
    "winograd": winograd.schemata,
    "ptb": partial(perplexity.running_text, convention=detokenize.PTB),
    "wikitext2": partial(perplexity.running_text, convention=detokenize.WIKITEXT),
}
"""By set; `tests/model/tasks/test_evaluate.py` holds that each known set has one."""

"""Zero-shot evaluation: each present set under each of its protocols, nothing trained on it.

Decisions:
- fp32, whatever the model was trained in.
- A figure is worth its protocol: set, digest of the text, detokenizer, unit, window, stride, what
  stands before the text, what the interval is drawn from, dtype, vocabulary and weights are written
  beside each one.
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
from model.tasks import (
    cloze,
    conversation,
    evalsets,
    harness,
    lambada,
    overlap,
    paper,
    perplexity,
    questions,
    summaries,
    translation,
    winograd,
)
from model.tasks.forms import Example
from model.tasks.kept import Answers
from model.tasks.registry import HELDOUT, LASTWORD
from model.tasks.results import Bench, Result
from pipeline.engine.progress import progress
from pipeline.store import shards
from pipeline.store.config import require
from pipeline.text import detokenize
from pipeline.tokens import codec
from pipeline.tokens.arrow import END_OF_TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How texts are scored.

    Attributes:
        stride_tokens: By how much windows over long texts advance; null for the context length,
            which reads every token once. Smaller gives every token more context, at more cost.
        more_strides_tokens: Further strides for published running texts, from the same pass; null
            for the context length.
        seed: Of the bootstrap, and of what is generated at random.
        max_generated_examples: Examples of a set that are answered by generating, at most, chosen
            by hash; null for all. Sets that are scored without generating are scored whole.
        max_overlap_frac: Share of an example's 8-grams that the training text may hold; the second
            score leaves out the examples above it.
    """

    stride_tokens: int | None
    more_strides_tokens: tuple[int | None, ...]
    seed: int
    max_generated_examples: int | None
    max_overlap_frac: float

    def __post_init__(self) -> None:
        for name, strides in (
            ("stride_tokens", (self.stride_tokens,)),
            ("more_strides_tokens", self.more_strides_tokens),
        ):
            for stride in strides:
                require(name, stride, stride is None or stride >= 1, "x >= 1 or null")
        require("seed", self.seed, self.seed >= 0, "x >= 0")
        limit = self.max_generated_examples
        require("max_generated_examples", limit, limit is None or limit >= 1, "x >= 1 or null")
        frac = self.max_overlap_frac
        require("max_overlap_frac", frac, 0 <= frac <= 1, "0 <= x <= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Figures by protocol, the same without overlapping examples, and the protocols."""

    figures: dict[str, dict[str, float]]
    without_overlap: dict[str, Any]
    protocols: dict[str, Any]


# Of a protocol; null where it has no such thing (a stride, where nothing slides).
MATRIX_COLUMNS = (
    "set", "split", "text_sha256", "detokenizer", "unit", "n_units", "method",
    "window", "stride", "bos", "dtype",
)  # fmt: skip

Task = Callable[[str, Sequence[Example], Bench], list[Result]]


def run(
    pretrained: Path, evaluation: Path, overlaps: Path, store: Path, config: Config
) -> Evaluation:
    """Evaluates a model on every set that is present.

    Args:
        pretrained: Output of `train`, or any folder in its form.
        evaluation: Output of `evalsets`.
        overlaps: What the corpus holds of the examples, from `decontaminate`.
        store: Folder of finished shards of answers; a run that was killed goes on from them.
        config: Section `evaluate` of params.yaml.

    Raises:
        FileNotFoundError: If an input is missing.
        ManifestError: If `overlaps` is missing.
        ValueError: If a stride exceeds the context length, or the vocabulary the model's table.
    """
    model, shape = hf.load(pretrained)
    coder = codec.load(pretrained / "tokenizer.json")
    n_vocab = coder.vocabulary.n_vocab
    if n_vocab > shape.n_vocab:
        raise ValueError(
            f"{pretrained}: the vocabulary has {n_vocab} entries, config.json {shape.n_vocab}; "
            "expected the vocabulary that the model was trained with"
        )
    strides = [each or shape.n_ctx for each in (config.stride_tokens, *config.more_strides_tokens)]
    require("stride_tokens", strides[0], strides[0] <= shape.n_ctx, f"x <= n_ctx = {shape.n_ctx}")
    for each in strides[1:]:
        require("more_strides_tokens", each, each <= shape.n_ctx, f"x <= n_ctx = {shape.n_ctx}")
    answers = Answers(store, pretrained, device())
    bench = Bench(
        scorer=Scorer(model.to(device()), coder.vocabulary.eot_id, answers),
        coder=coder,
        stride=strides[0],
        more_strides=tuple(strides[1:]),
        seed=config.seed,
        max_generated=config.max_generated_examples,
    )
    listed = evalsets.listing(evaluation)
    common = {
        "bos": END_OF_TEXT,
        "resampled": "examples",
        "dtype": "float32",
        "tokenizer_sha256": coder.vocabulary.tokenizer_sha256,
        "model_sha256": shards.sha256_file(pretrained / "model.safetensors"),
    }
    counts = overlap.read(overlaps)
    results: dict[str, Result] = {}
    again: dict[str, Any] = {}
    present = [name for name in TASKS if listed[name]["present"]]
    with progress("evaluate", len(present), "sets") as shown:
        for name in present:
            examples = evalsets.read(evaluation, name)
            for result in (each for task in TASKS[name] for each in task(name, examples, bench)):
                result.protocol.update(common | _source(listed[name]) | result.protocol)
                result.protocol["paper"] = paper.beside(result.name, result.protocol)
                results[result.name] = result
                again[result.name] = overlap.again(
                    result, name, examples, counts, config.max_overlap_frac
                )
            shown.update()
        if answers.n_found:
            n_shards = answers.n_found + answers.n_made
            shown.note(f"evaluate: {answers.n_found} of {n_shards} shards kept from an earlier run")
    answers.prune()
    absent = {name: each["reason"] for name, each in listed.items() if not each["present"]}
    protocols = {name: result.protocol for name, result in results.items()}
    return Evaluation(
        figures={name: result.figures for name, result in results.items()},
        without_overlap={"max_overlap_frac": config.max_overlap_frac, "scores": again},
        protocols={"absent": absent, "protocols": protocols, "matrix": _matrix(results)},
    )


def _source(listed: Mapping[str, Any]) -> dict[str, Any]:
    """Returns where the text is from."""
    return {
        "set": listed["set"],
        "split": listed["split"],
        "source": listed["file"] or "validation split",
        "text_sha256": listed["sha256"],
        "digest_known": listed["digest_known"],
    }


def _matrix(results: Mapping[str, Result]) -> list[dict[str, Any]]:
    """Returns one row per figure, with what another one must share to be comparable."""
    return [
        {"protocol": name, "figure": figure, "value": value}
        | {key: result.protocol.get(key) for key in MATRIX_COLUMNS}
        | {"paper": result.protocol["paper"].get(figure, {})}
        for name, result in results.items()
        for figure, value in sorted(result.figures.items())
        if not figure.startswith("n") and not figure.endswith(("_low", "_high"))
    ]


TASKS: dict[str, tuple[Task, ...]] = {
    HELDOUT: (perplexity.documents,),
    LASTWORD: (lambada.last_word,),
    "lambada_openai": (lambada.openai_forms, harness.last_word),
    "lambada_plain": (lambada.both_forms, harness.last_word),
    "winograd": (winograd.schemata, harness.schemata),
    "ptb": (partial(perplexity.running_text, convention=detokenize.PTB),),
    "wikitext2": (
        partial(perplexity.running_text, convention=detokenize.WIKITEXT, rows="articles"),
        harness.pages,
    ),
    "wikitext103": (
        partial(perplexity.running_text, convention=detokenize.WIKITEXT, rows="articles"),
        harness.pages,
    ),
    "one_billion": (partial(perplexity.sentences, convention=detokenize.ONE_BILLION),),
    "enwik8": (perplexity.characters,),
    "text8": (perplexity.characters,),
    "cbt_cn_valid": (cloze.questions,),
    "cbt_cn_test": (cloze.questions,),
    "cbt_ne_valid": (cloze.questions,),
    "cbt_ne_test": (cloze.questions,),
    "coqa": (conversation.turns,),
    "cnn_dailymail": (summaries.articles,),
    "cnn_dailymail_sample": (summaries.articles,),
    "wmt14_en_fr": (partial(translation.segments, into_french=True),),
    "wmt14_fr_en": (partial(translation.segments, into_french=False),),
    "nq_open": (questions.open_domain,),
}
"""By set; `tests/model/tasks/test_evaluate.py` holds that each known set has some."""

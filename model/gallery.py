"""What the model writes: a gallery for people, and continuations to measure.

    prompts ──────────────────────────> samples.json, samples.txt    by every method
    held-out documents: beginning ────> texts.parquet                one continuation each
                        what follows ─>                              as long, by their authors

Decisions:
- Continuations start from held-out documents and stop after as many tokens as the text that they
  are compared with has, so that both have an equal chance to repeat the training text.
- `texts.parquet` has the schema of an evaluation set, so generated text is looked for in the corpus
  as evaluation sets are. Its sets: `generated`, `held_out`, and `gallery_<method>`.

Paper: GPT-2, section 4 and figure 5: samples that continue WebText test documents, top-k with
k = 40, beside the test documents themselves.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from model import hf
from model.gpt import GPT
from model.sample import Sequel, Settings, generate
from model.tasks import evalsets
from model.tasks.forms import Example
from model.tasks.registry import HELDOUT
from pipeline.store import records, shards
from pipeline.store.config import require
from pipeline.tokens import codec
from pipeline.tokens.codec import Codec

TEXTS = "texts.parquet"
GENERATED = "generated"
REFERENCE = "held_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuations:
    """Continuations of held-out documents.

    Attributes:
        n_documents: At most so many documents, one continuation each; those that are too short are
            left out.
        prompt_tokens: Tokens of a document's beginning.
        n_new_tokens: Tokens that follow it, at most.
        method: Name of the settings.
    """

    n_documents: int
    prompt_tokens: int
    n_new_tokens: int
    method: str

    def __post_init__(self) -> None:
        require("n_documents", self.n_documents, self.n_documents >= 0, "x >= 0")
        require("prompt_tokens", self.prompt_tokens, self.prompt_tokens >= 0, "x >= 0")
        require("n_new_tokens", self.n_new_tokens, self.n_new_tokens >= 1, "x >= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The gallery of samples.

    Attributes:
        seed: Decides every draw.
        n_new_tokens: At most so many per sample; `<|endoftext|>` ends one earlier.
        n_samples: Per prompt and method; greedy methods give one.
        prompts: Texts to continue; an empty one asks for a document from its beginning.
        methods: Settings by name.
        continuations: What is compared with held-out text.
    """

    seed: int
    n_new_tokens: int
    n_samples: int
    prompts: tuple[str, ...]
    methods: dict[str, Settings]
    continuations: Continuations

    def __post_init__(self) -> None:
        require("n_new_tokens", self.n_new_tokens, self.n_new_tokens >= 1, "x >= 1")
        require("n_samples", self.n_samples, self.n_samples >= 1, "x >= 1")
        require("methods", self.methods, bool(self.methods), "at least one")
        method = self.continuations.method
        require(
            "continuations.method", method, method in self.methods, f"one of {sorted(self.methods)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A model that writes, its vocabulary, and the seed of every draw."""

    model: GPT
    coder: Codec
    seed: int

    def write(
        self, planned: Sequence[tuple[str, Sequence[int], Settings]], n_new: int
    ) -> list[list[int]]:
        """Returns the new ids of each plan: a name that seeds its draws, prompt ids, settings."""
        end = self.coder.vocabulary.eot_id
        sequels = [
            Sequel(prompt=(end, *prompt), settings=settings, seed=self.draw(name))
            for name, prompt, settings in planned
        ]
        return generate(self.model, sequels, n_new, end)

    def draw(self, name: str) -> int:
        """Returns 53 bits of a hash: an integer that every JSON reader keeps whole."""
        return xxhash.xxh3_64_intdigest(f"{self.seed}\n{name}".encode()) >> 11


def run(pretrained: Path, evaluation: Path, output: Path, config: Config) -> dict[str, Any]:
    """Fills `samples/`: `samples.json` and `texts.parquet` for programs, `samples.txt` for people.

    Args:
        pretrained: Output of `train`.
        evaluation: Output of `evalsets`; its held-out documents are continued.
        output: Folder to fill.
        config: Section `sample` of params.yaml.

    Returns:
        The stage's figures.
    """
    model, _ = hf.load(pretrained)
    writer = Writer(model=model, coder=codec.load(pretrained / "tokenizer.json"), seed=config.seed)
    shown = _gallery(writer, config)
    texts = [_text(f"gallery_{each['method']}", each) for each in shown]
    texts += _continue(writer, _documents(evaluation), config)
    shards.write_atomic(output / "samples.json", shards.to_json({"samples": shown}))
    shards.write_atomic(output / "samples.txt", "\n".join(map(_shown, shown)).encode())
    shards.write_table(output / TEXTS, pa.Table.from_pylist(texts, records.EVAL))
    return {
        "n_samples": len(shown),
        "n_tokens": sum(sample["n_tokens"] for sample in shown),
        "n_ended": sum(sample["ended"] for sample in shown),
        "n_continuations": sum(row["set"] == GENERATED for row in texts),
    }


def _gallery(writer: Writer, config: Config) -> list[dict[str, Any]]:
    planned = _plan(writer, config)
    coder = writer.coder
    made = writer.write(
        [
            (_name(each), coder.encode(each["prompt"]).tolist(), config.methods[each["method"]])
            for each in planned
        ],
        config.n_new_tokens,
    )
    return [
        sample
        | {
            "text": coder.decode(new),
            "n_tokens": len(new),
            "ended": len(new) < config.n_new_tokens,
        }
        for sample, new in zip(planned, made, strict=True)
    ]


def _documents(evaluation: Path) -> list[Example]:
    """Returns the held-out documents; none where the validation split holds none."""
    if not evalsets.listing(evaluation)[HELDOUT]["present"]:
        return []
    return evalsets.read(evaluation, HELDOUT)


def _continue(writer: Writer, documents: Sequence[Example], config: Config) -> list[dict[str, Any]]:
    """Returns rows of continuations, and of what the authors wrote at their place.

    document   E a b c d e f g h i j       prompt_tokens 3, n_new_tokens 4
    prompt     E a b c
    held_out           d e f g
    generated          x y z w
    """
    how = config.continuations
    start, end = how.prompt_tokens, how.prompt_tokens + how.n_new_tokens
    encoded = [(each.example_id, writer.coder.encode(each.text).tolist()) for each in documents]
    chosen = [(name, ids) for name, ids in encoded if len(ids) >= end][: how.n_documents]
    settings = config.methods[how.method]
    planned = [(f"continuation\n{name}", ids[:start], settings) for name, ids in chosen]
    made = writer.write(planned, how.n_new_tokens)
    rows = []
    for (name, ids), new in zip(chosen, made, strict=True):
        prompt = writer.coder.decode(ids[:start])
        for which, written in ((GENERATED, new), (REFERENCE, ids[start:end])):
            text = writer.coder.decode(written)
            rows.append(_row(which, name, text, {"prompt": prompt, "n_tokens": len(written)}))
    return rows


def _text(which: str, sample: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a sample of the gallery as a row."""
    fields = {"prompt": sample["prompt"], "n_tokens": sample["n_tokens"]}
    return _row(which, f"{sample['seed']:016x}", sample["text"], fields)


def _row(which: str, name: str, text: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "set": which,
        "split": "sample",
        "example_id": name,
        "text": text,
        "fields": json.dumps(fields, sort_keys=True, ensure_ascii=False),
    }


def _plan(writer: Writer, config: Config) -> list[dict[str, Any]]:
    """Returns what is to be generated for the gallery, each with a seed of its own."""
    planned: list[dict[str, Any]] = [
        {"prompt": prompt, "method": name, "index": index, "settings": asdict(settings)}
        for prompt in config.prompts
        for name, settings in config.methods.items()
        for index in range(1 if settings.top_k == 1 else config.n_samples)
    ]
    return [each | {"seed": writer.draw(_name(each))} for each in planned]


def _name(sample: Mapping[str, Any]) -> str:
    return f"{sample['method']}\n{sample['index']}\n{sample['prompt']}"


def _shown(sample: Mapping[str, Any]) -> str:
    """Returns a sample as people read it; `│` ends the prompt, `∎` stands for `<|endoftext|>`."""
    settings = ", ".join(f"{k} {v}" for k, v in sample["settings"].items() if v is not None)
    title = f"=== {sample['method']} {sample['index']} ({settings})"
    return f"{title}\n{sample['prompt']}│{sample['text']}{'∎' if sample['ended'] else ' …'}\n"

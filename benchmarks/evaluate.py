"""Zero-shot scores: this project's scorer and lm-evaluation-harness, on the same exported model.

Three cases, each with scores that must be equal in the same run:

    lambada    passages, the last word                            lm-eval's lambada_openai
    wikitext   pages, every token, windows side by side           lm-eval's wikitext
    cloze      20 sentences and ten candidates for the rest       lm-eval's multiple choice, and
                                                                  each candidate alone, by us

Ours runs as `evaluate` does, with no setting to choose. lm-eval runs at the best of a sweep of
batch sizes, printed. Encoding, model and figures are measured; imports, weights and reading of
files are not. Same threads for both.

Texts are those that OUTBOUND_TEST_DATA holds (eval/lambada, eval/wikitext-2, eval/cbt); without it,
or with --small, words drawn by Zipf's law. --model is an exported model (models/pretrained);
without it, weights are random, of GPT-2 small's shape with --shape gpt2-small: what a scorer costs
does not depend on what they say.

Run: python -m benchmarks.evaluate [--small] [--model FOLDER | --shape gpt2-small] [--threads N]
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import evaluators, harness, resident, training
from benchmarks.harness import Check, Comparison, Run
from benchmarks.machine import Limit
from benchmarks.resident import Resident
from model import hf
from model.config import ModelConfig
from model.gpt import GPT, init_weights
from model.tasks import harness as protocols
from model.tasks.evalsets import READERS
from model.tasks.forms import Example
from pipeline.tokens import bpe, codec

_DATA = "OUTBOUND_TEST_DATA"
_PEER = "lm-eval 0.4.13"
_BATCHES = (1, 4, 8, 16, 32)
_CLOSE = 1e-4  # relative, of perplexities
_SIDES = (1024, 2048)  # of the square matrices whose product is the limit
_TARGETS = {"lambada": 3.0, "wikitext": 1.5, "cloze": 5.0}
_UNITS = {"lambada": "passages", "wikitext": "pages", "cloze": "questions"}
# Examples of a case: for a small model, for GPT-2 small's shape, for --small.
_SIZES = {"lambada": (600, 16, 6), "wikitext": (4, 1, 2), "cloze": (2, 1, 2)}
_SHAPES = {
    "gpt2-small": (12, 12, 768, 1024),
    "medium": (6, 8, 256, 1024),
    "tiny": (2, 2, 32, 256),
}
# What must be equal: our figure, theirs.
_EQUAL = {
    "lambada": (("perplexity", "perplexity,none"), ("accuracy", "acc,none")),
    "wikitext": (
        ("perplexity_word", "word_perplexity,none"),
        ("bits_per_byte", "bits_per_byte,none"),
    ),
    "cloze": (("accuracy", "acc,none"),),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A process and what it is asked in each round."""

    name: str
    process: Resident
    request: str

    def steps(self, _n: int) -> Run:
        """Scores the case once."""
        return self.process.ask(self.request)


def main(given: argparse.Namespace) -> int:
    """Runs the cases and returns the exit status."""
    shape = "tiny" if given.small else given.shape
    size = 2 if given.small else 1 if shape == "gpt2-small" else 0
    with tempfile.TemporaryDirectory(prefix="bench-evaluate-") as name:
        folder = Path(name)
        model = given.model or make_model(folder, shape)
        examples = make_cases(folder / "cases", size)
        settings = {}
        for who in ("outbound", "lm_eval"):
            settings[who] = folder / f"{who}.json"
            about = {"who": who, "model": str(model), "cases": str(folder / "cases")}
            settings[who].write_text(json.dumps({**about, "n_threads": given.threads}))
        n = 1 if given.small else given.rounds
        with resident.started(settings, "benchmarks.evaluators") as (ours, theirs):
            cases = [case for case in _TARGETS if given.case in (None, case)]
            tried = [_case(case, examples[case], (ours, theirs), n) for case in cases]
        inputs = harness.digest([model / "model.safetensors", *(folder / "cases").glob("*.json")])
        limit = _limit(model, examples["wikitext"], given) if "wikitext" in cases else None
    about = "the exported default" if given.model else f"a model of shape {shape}"
    return _finish(tried, f"{about}, {given.threads} threads", inputs, limit, given.results)


def _limit(model: Path, pages: Sequence[Example], given: argparse.Namespace) -> tuple[float, float]:
    """Returns operations that read each token once, and the most of them in a CPU-second."""
    coder = codec.load(model / "tokenizer.json")
    n_tokens = sum(len(coder.encode(protocols.detokenize(page.text))) for page in pages)
    forward = training.operations_per_token(hf.read_config(model / "config.json")) / 3
    torch.set_num_threads(given.threads)
    sides = (256,) if given.small else _SIDES
    return n_tokens * forward, training.matrix_peak("cpu", sides, torch.float32)


class Tried(NamedTuple):
    """A case: its name, number of examples, seconds of lm-eval by batch size, runs, check."""

    case: str
    amount: int
    swept: dict[int, float]
    runs: dict[str, list[Run]]
    check: Check


def _case(
    case: str, examples: Sequence[Example], processes: tuple[Resident, Resident], n: int
) -> Tried:
    ours, theirs = processes
    asked = {"case": case, "batch": 0, "alone": False}
    costs = _sweep(case, theirs, _BATCHES if n > 1 else _BATCHES[1:3])
    batch = min(costs, key=lambda each: costs[each])
    turns = [
        Turn(name="outbound", process=ours, request=json.dumps(asked)),
        Turn(name=_PEER, process=theirs, request=json.dumps({**asked, "batch": batch})),
    ]
    if case == "cloze":
        alone = json.dumps({**asked, "alone": True})
        turns.append(Turn(name="each candidate alone", process=ours, request=alone))
    for turn in turns:
        turn.steps(1)  # warm
    runs = resident.rounds(turns, n, 1)
    return Tried(case, len(examples), costs, runs, _scores_equal(case, runs))


def _sweep(case: str, theirs: Resident, batches: Sequence[int]) -> dict[int, float]:
    """Returns the CPU seconds that lm-eval costs by batch size; prints them."""
    costs = {}
    for batch in batches:
        asked = json.dumps({"case": case, "batch": batch, "alone": False})
        costs[batch] = theirs.ask(asked).cpu_s
        print(
            f"sweep  {case:<10} {_PEER} batch {batch:<4} {costs[batch]:8.2f} CPU-s", file=sys.stderr
        )
    return costs


def _scores_equal(case: str, runs: Mapping[str, Sequence[Run]]) -> Check:
    """Returns 1 where all figures of all rounds are equal, perplexities to `_CLOSE`."""
    ours = [run.told["scores"] for run in runs["outbound"]]
    theirs = [run.told["scores"] for run in runs[_PEER]]
    pairs = [(a[x], b[y]) for x, y in _EQUAL[case] for a in ours for b in theirs]
    if case == "cloze":
        alone = [run.told["scores"] for run in runs["each candidate alone"]]
        pairs += [(a[x], b[x]) for x in ("accuracy", "nll") for a in ours for b in alone]
    return Check(float(np.mean([np.isclose(a, b, rtol=_CLOSE, atol=1e-6) for a, b in pairs])), 1.0)


def _finish(
    tried: Sequence[Tried],
    about: str,
    inputs: str,
    limit: tuple[float, float] | None,
    results: Path | None,
) -> int:
    """Prints each case's table and, as the last line, all of them; returns the exit status.

    Args:
        tried: The cases.
        about: The model and the threads.
        inputs: Digest of what all of them read.
        limit: Of wikitext, if it is one of the cases, as `_limit` returns it.
        results: Folder for the results.
    """
    status, cases = 0, {}
    for each in tried:
        comparison = Comparison(
            name="evaluate",
            case=each.case,
            work=f"{each.amount:,} {_UNITS[each.case]}, {about}",
            unit=f"{_UNITS[each.case]} per CPU-second",
            amount=each.amount,
            target=_TARGETS[each.case],
            inputs=inputs,
        )
        checks = {"scores_equal": each.check}
        told = harness.result(comparison, each.runs, "outbound", checks)
        if limit and each.case == "wikitext":
            reached = told["ours"] / each.amount * limit[0]
            told["limit"] = Limit("fp32 product", limit[1], reached, "FLOP per CPU-second").told()
        told["versions"] = harness.versions("lm_eval", "transformers", "torch")
        told["swept"] = {
            f"{_PEER} batch {size}": round(each.amount / s, 3) for size, s in each.swept.items()
        }
        cases[each.case] = told
        status |= harness.finish(told, each.runs, checks, results)
    first = next(iter(cases.values()))
    print(json.dumps({**first, "cases": cases}, sort_keys=True, allow_nan=False))
    return status


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────


def make_model(folder: Path, shape: str) -> Path:
    """Exports random weights with the published vocabulary where it is there, else a small one."""
    published = _data() / "tokenizer" / "gpt2"
    if shape == "gpt2-small" and published.is_dir():
        merges = bpe.adopt(published, 50_257)
    else:
        merges = bpe.train(iter([_drawn(400)]), 600, 2)
    bpe.write(folder / "bpe", merges)
    n_layer, n_head, n_embd, n_ctx = _SHAPES[shape]
    config = ModelConfig(
        norm="pre", dropout=0.0, n_layer=n_layer, n_head=n_head, n_embd=n_embd, n_ctx=n_ctx,
        n_vocab=bpe.N_FIXED + len(merges),
    )  # fmt: skip
    model = GPT(config)
    init_weights(model, torch.Generator().manual_seed(1))
    hf.save(folder / "model", model, folder / "bpe", config.n_vocab - 1)
    return folder / "model"


def make_cases(folder: Path, size: int) -> dict[str, list[Example]]:
    """Writes what both sides read; returns the examples."""
    own = evaluators.task_files()
    (folder / "examples").mkdir(parents=True)
    sentences = _sentences(size)
    passages, pages = (_texts(case, size) for case in ("lambada", "wikitext"))
    cases = {
        "lambada": [
            _example(i, text, target=text.rsplit(" ", 1)[1]) for i, text in enumerate(passages)
        ],
        "wikitext": [_example(i, text) for i, text in enumerate(pages)],
        "cloze": [_question(i, sentences) for i in range(_SIZES["cloze"][size])],
    }
    rows = [{"text": each.text} for each in cases["lambada"]]
    evaluators.write_task(folder, "lambada", own / "lambada" / "lambada_openai.yaml", rows)
    rows = [{"page": each.text} for each in cases["wikitext"]]
    evaluators.write_task(folder, "wikitext", own / "wikitext" / "wikitext.yaml", rows)
    questions = [{"context": each.text, **each.fields} for each in cases["cloze"]]
    evaluators.write_choices(folder, "cloze", questions)
    for name, examples in cases.items():
        path = folder / "examples" / f"{name}.json"
        path.write_text(json.dumps([asdict(each) for each in examples]), encoding="utf-8")
    return cases


def _example(index: int, text: str, **fields: Any) -> Example:
    return Example(example_id=f"{index:05d}", text=text, fields=fields)


def _question(index: int, sentences: Sequence[str]) -> Example:
    """Twenty sentences and half of one; ten candidates and its other half."""
    start = 21 * index
    words = sentences[start + 20].split()
    cut = max(1, len(words) // 2)
    context = " ".join([*sentences[start : start + 20], *words[:cut]])
    names = dict.fromkeys([words[cut % len(words)], *(s.split()[0] for s in sentences[start:])])
    rest = " ".join(words[cut + 1 :])
    choices = [f"{name} {rest}".strip() for name in list(names)[:10]]
    rng = np.random.default_rng(index)
    order = rng.permutation(len(choices)).tolist()
    return _example(index, context, choices=[choices[i] for i in order], answer=order.index(0))


def _texts(case: str, size: int) -> list[str]:
    form, file = {
        "lambada": ("lambada_json", "lambada/lambada_test.jsonl"),
        "wikitext": ("wikitext", "wikitext-2/wiki.test.tokens"),
    }[case]
    n, path = _SIZES[case][size], _data() / "eval" / file
    if size < 2 and path.is_file():
        examples, _ = READERS[form](path.read_text(encoding="utf-8"))  # type: ignore[index]
        return [each.text for each in examples[:n]]
    return _drawn(n)


def _sentences(size: int) -> list[str]:
    path = _data() / "eval" / "cbt" / "cbt_test.txt"
    n = 21 * _SIZES["cloze"][size] + 40
    if size < 2 and path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()[2 : n * 2]
        return [line.strip() for line in lines if len(line.split()) > 3][:n]
    return [text[:80].rsplit(" ", 1)[0] for text in _drawn(n)]


def _drawn(n: int) -> list[str]:
    """Returns texts of 60 words whose frequencies fall as those of words do."""
    rng = np.random.default_rng(1)
    names = ["".join(rng.choice(list("etaoinshrdlu"), rng.integers(2, 9))) for _ in range(2000)]
    return [" ".join(names[i] for i in rng.zipf(1.3, 60) % len(names)) for _ in range(n)]


def _data() -> Path:
    return Path(os.environ.get(_DATA) or os.devnull)


if __name__ == "__main__":
    arguments = harness.parser(__doc__)
    arguments.add_argument("--model", type=Path, help="an exported model")
    arguments.add_argument("--shape", choices=sorted(_SHAPES), default="medium")
    arguments.add_argument("--case", choices=sorted(_TARGETS), help="one of them only")
    arguments.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    harness.main(main, arguments)

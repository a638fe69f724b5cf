"""lm-evaluation-harness's protocols: equal to the program's own scores, on the same files.

The program runs in a process of its own (it imports transformers, datasets and much else), offline,
on task files that take its own tasks and read local files instead.
"""

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.evaluators import task_files, write_task
from model import hf
from model.gpt import GPT
from model.score import Scorer
from model.tasks import evalsets, harness
from model.tasks.forms import Example
from model.tasks.registry import SETS
from model.tasks.results import Bench, Result
from pipeline.tokens import bpe, codec
from tests.model.small_models import random_model

N_EXAMPLES = 500
MERGES = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("i", "n"), ("Ġ", "a"), ("Ġ", "w"), ("o", "u")]
N_VOCAB = 256 + len(MERGES) + 1
THE = 256 + MERGES.index(("Ġt", "he"))

PROGRAM = """
import json, sys
import lm_eval
from lm_eval.tasks import TaskManager
tasks, model, output = sys.argv[1:]
found = lm_eval.simple_evaluate(
    model="hf", model_args=f"pretrained={model},dtype=float32", device="cpu", batch_size=32,
    tasks=sorted(path.stem for path in __import__("pathlib").Path(tasks).glob("*.yaml")),
    task_manager=TaskManager(include_path=tasks, include_defaults=False),
    log_samples=False, bootstrap_iters=0,
)
open(output, "w").write(json.dumps(found["results"]))
"""


def lm_eval_folder() -> Path:
    """Returns where the program's own task files are."""
    try:
        return task_files()
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("lm_eval is not installed: pip install -r requirements/lock-dev.txt")


def examples_of(real_data: Path, name: str) -> list[Example]:
    known = next(each for each in SETS if each.name == name)
    path = real_data / "eval" / known.files[0][0]
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    examples, _ = evalsets.READERS[known.form](path.read_bytes().decode())
    return examples


def cut_at_the(examples: Sequence[Example]) -> list[Example]:
    """Returns passages that end with the word that the model of these tests likes to say."""
    places = [(each, each.text.rfind(" the ")) for each in examples]
    return [
        Example(example_id=each.example_id, text=each.text[: at + 4], fields={"target": "the"})
        for each, at in places
        if at > 0
    ]


def fond_of_the() -> GPT:
    """A random model that says " the" about every second time; which time, the context decides."""
    model = random_model(n_vocab=N_VOCAB, n_ctx=64)
    with torch.no_grad():
        model.wte.weight[THE] *= 6
    return model


def winograd_row(example: Example) -> dict[str, Any]:
    fields = example.fields
    before = fields["before"] + " " if fields["before"] else ""
    return {
        "text": f"{before}[MASK]{fields['after']}",
        "pronoun": "[MASK]",
        "pronoun_loc": len(before),
        "options": fields["candidates"],
        "label": fields["answer"],
    }


@pytest.fixture(scope="module")
def both(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Result], dict[str, dict[str, float]]]:
    """Our scores in the program's protocols, and its own, on one exported model."""
    own, root = lm_eval_folder(), tmp_path_factory.mktemp("harness")
    passages = examples_of(real_data, "lambada_openai")
    sets = {
        "lambada_openai": [*passages[:N_EXAMPLES], *cut_at_the(passages[:100])],
        "lambada_plain": examples_of(real_data, "lambada_plain")[:N_EXAMPLES],
        "winograd": examples_of(real_data, "winograd"),
        "wikitext2": examples_of(real_data, "wikitext2")[:4],
    }
    bpe.write(root / "bpe", MERGES)
    hf.save(root / "pretrained", fond_of_the(), root / "bpe", N_VOCAB - 1)
    tasks = root / "tasks"
    tasks.mkdir()
    for name, task in (("lambada_openai", "lambada_openai"), ("lambada_plain", "lambada_standard")):
        rows = [{"text": each.text} for each in sets[name]]
        write_task(tasks, name, own / "lambada" / f"{task}.yaml", rows)
    rows = [winograd_row(each) for each in sets["winograd"]]
    write_task(tasks, "winograd", own / "wsc273" / "default.yaml", rows)
    pages = [{"page": each.text} for each in sets["wikitext2"]]
    write_task(tasks, "wikitext2", own / "wikitext" / "wikitext.yaml", pages)
    output = root / "results.json"
    quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(root / "home")}
    command = [sys.executable, "-c", PROGRAM, str(tasks), str(root / "pretrained"), str(output)]
    done = subprocess.run(
        command, env=os.environ | quiet, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    coder = codec.load(root / "pretrained" / "tokenizer.json")
    bench = Bench(
        scorer=Scorer(hf.load(root / "pretrained")[0], N_VOCAB - 1),
        coder=coder,
        stride=16,
        more_strides=(),
        seed=0,
        max_generated=None,
    )
    ours = [
        *harness.last_word("lambada_openai", sets["lambada_openai"], bench),
        *harness.last_word("lambada_plain", sets["lambada_plain"], bench),
        *harness.schemata("winograd", sets["winograd"], bench),
        *harness.pages("wikitext2", sets["wikitext2"], bench),
    ]
    return {each.name: each for each in ours}, json.loads(output.read_text())


@pytest.mark.parametrize("name", ["lambada_openai", "lambada_plain"])
def test_last_words_equal_the_program_s(both: Any, name: str) -> None:
    ours, theirs = both[0][f"{name}_harness"].figures, both[1][name]
    assert ours["n"] >= N_EXAMPLES
    assert name == "lambada_plain" or ours["accuracy"] > 0.01
    assert ours["perplexity"] == pytest.approx(theirs["perplexity,none"], rel=1e-4)
    assert ours["accuracy"] == pytest.approx(theirs["acc,none"], abs=1e-6)


def test_schemata_equal_the_program_s(both: Any) -> None:
    ours, theirs = both[0]["winograd_harness"].figures, both[1]["winograd"]
    assert ours["n"] == 273
    assert ours["accuracy_partial"] == pytest.approx(theirs["acc,none"], abs=1e-6)


def test_pages_equal_the_program_s(both: Any) -> None:
    ours, theirs = both[0]["wikitext2_harness"].figures, both[1]["wikitext2"]
    for mine, their in (
        ("perplexity_word", "word_perplexity"),
        ("perplexity_byte", "byte_perplexity"),
        ("bits_per_byte", "bits_per_byte"),
    ):
        assert ours[mine] == pytest.approx(theirs[f"{their},none"], rel=1e-4)

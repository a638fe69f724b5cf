"""One side of the evaluation benchmark: a process that scores the same examples again and again.

    settings.json: who, model folder, folder of the cases, threads
    stdin:  {"case": "lambada", "batch": 32, "alone": false}     stdout: CPU, wall, scores

Both sides hold model and examples before they are asked, and do the same in a turn: encode the
texts, run the model, compute the figures. lm-eval's own task files say what its scores are; its
requests are built in the turn, as ours are, and its rows are read before.
"""

import importlib.metadata
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model import hf, score
from model.score import Request, Scorer
from model.tasks import harness
from model.tasks.cloze import is_best
from model.tasks.forms import Example
from model.tasks.results import Bench
from pipeline.tokens import codec

Turn = Callable[[dict[str, Any]], dict[str, float]]


def task_files() -> Path:
    """Returns where the program's own task files are.

    Raises:
        PackageNotFoundError: If it is not installed.
    """
    distribution = importlib.metadata.distribution("lm_eval")
    return Path(str(distribution.locate_file("lm_eval"))) / "tasks"


def write_task(folder: Path, name: str, include: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes a task that takes one of the program's own and reads rows from a local file."""
    lines = [f"include: {include}", "tag: []", "dataset_name: null", "training_split: null"]
    _write(folder, name, [*lines, "validation_split: null"], rows)


def write_choices(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Writes a task of contexts with choices, of which the likeliest counts."""
    lines = [
        "output_type: multiple_choice",
        'doc_to_text: "{{context}}"',
        "doc_to_choice: choices",
        "doc_to_target: answer",
        'target_delimiter: " "',
        "metric_list:",
        "  - metric: acc",
    ]
    _write(folder, name, lines, rows)


def _write(folder: Path, name: str, lines: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    data = folder / f"{name}.json"
    data.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    told = [*lines, f"task: {name}", "dataset_path: json", "dataset_kwargs:", "  data_files:"]
    told += [f"    test: {data}", "test_split: test"]
    (folder / f"{name}.yaml").write_text("\n".join(told) + "\n", encoding="utf-8")


def _outbound(model: Path, cases: Path) -> Turn:
    network, shape = hf.load(model)
    coder = codec.load(model / "tokenizer.json")
    bench = Bench(
        scorer=Scorer(network, coder.vocabulary.eot_id),
        coder=coder,
        stride=shape.n_ctx,
        more_strides=(),
        seed=0,
        max_generated=None,
    )
    examples = {
        path.stem: [Example(**row) for row in json.loads(path.read_bytes())]
        for path in sorted((cases / "examples").glob("*.json"))
    }
    shared = score.MIN_SAVED

    def turn(asked: dict[str, Any]) -> dict[str, float]:
        name, mine = asked["case"], examples[asked["case"]]
        score.MIN_SAVED = sys.maxsize if asked["alone"] else shared
        if name == "cloze":
            return _cloze(mine, bench)
        task = harness.last_word if name == "lambada" else harness.pages
        return task(name, mine, bench)[0].figures

    return turn


def _cloze(examples: Sequence[Example], bench: Bench) -> dict[str, float]:
    """Scores choices after a context, as lm-eval's multiple choice reads them."""
    requests = []
    for each in examples:
        context = bench.coder.encode(each.text)
        wholes = [bench.coder.encode(f"{each.text} {one}") for one in each.fields["choices"]]
        rests = [whole[len(context) :] for whole in wholes]
        requests.append(Request(context=context, continuations=rests))
    found = bench.scorer.loglikelihood(requests, begins=False)
    totals = [[one.total for one in each] for each in found]
    answers = [each.fields["answer"] for each in examples]
    hits = [is_best(mine, answer) for mine, answer in zip(totals, answers, strict=True)]
    return {"accuracy": float(np.mean(hits)), "nll": -float(np.sum(totals))}


def _lm_eval(model: Path, cases: Path) -> Turn:
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(cases / "hf")}
    lm_eval: Any = importlib.import_module("lm_eval")
    tasks: Any = importlib.import_module("lm_eval.tasks")
    models: Any = importlib.import_module("lm_eval.models.huggingface")
    lm = models.HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=1)
    manager = tasks.TaskManager(include_path=str(cases), include_defaults=False)
    names = sorted(path.stem for path in cases.glob("*.yaml"))
    loaded = {name: manager.load([name]) for name in names}

    def turn(asked: dict[str, Any]) -> dict[str, float]:
        lm.batch_size_per_gpu = asked["batch"]
        told = lm_eval.evaluate(
            lm=lm, task_dict=loaded[asked["case"]], bootstrap_iters=0, log_samples=False
        )
        figures = told["results"][asked["case"]]
        return {k: v for k, v in figures.items() if isinstance(v, float)}

    return turn


def main() -> None:
    """Answers until stdin ends."""
    settings = json.loads(Path(sys.argv[1]).read_bytes())
    torch.set_num_threads(settings["n_threads"])
    make = {"outbound": _outbound, "lm_eval": _lm_eval}[settings["who"]]
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    turn = make(Path(settings["model"]), Path(settings["cases"]))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        wall, cpu = time.monotonic(), time.process_time()
        scores = turn(json.loads(line))
        usage = resource.getrusage(resource.RUSAGE_SELF)
        told = {
            "cpu_s": time.process_time() - cpu,
            "wall_s": time.monotonic() - wall,
            "max_rss_bytes": usage.ru_maxrss * 1024,
            "scores": scores,
        }
        print(json.dumps(told), file=answers, flush=True)


if __name__ == "__main__":
    main()

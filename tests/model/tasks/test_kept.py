"""Answers that are kept: a killed evaluation goes on, and its figures are equal to the bit."""

import json
import os
import random
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model import hf, score
from model.sample import GREEDY
from model.score import Request, Scorer
from model.tasks import evalsets, evaluate
from model.tasks.evaluate import Config
from model.tasks.kept import Answers
from model.tasks.registry import SETS
from pipeline.store.shards import ShardDraft
from pipeline.tokens import bpe
from tests.model.small_models import random_model
from tests.model.tasks import published_lines
from tests.model.tasks.unique_folder import ROWS, make_overlap, make_unique

EOT = 259
CONFIG = Config(
    stride_tokens=8,
    more_strides_tokens=(),
    seed=1,
    max_generated_examples=None,
    max_overlap_frac=0.0,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    root = tmp_path_factory.mktemp("kept")
    bpe.write(root / "bpe", [("Ġ", "t"), ("h", "e"), ("Ġt", "he")])
    hf.save(root / "pretrained", random_model(n_vocab=260), root / "bpe", EOT)
    config = evalsets.Config(
        mirror=str(published_lines.write(root / "mirror")),
        extra=None,
        accept=tuple(known.name for known in SETS),
        heldout_documents=4,
        lastword_per_document=1,
        lastword_min_words=15,
    )
    evalsets.run(make_unique(root / "unique", [ROWS]), root / "eval", config)
    make_overlap(root / "overlap", {})
    return root / "pretrained", root / "eval", root / "overlap"


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "N_SHARD", 300)
    monkeypatch.setattr(score, "N_POSITIONS", 128)


def shards_in(folder: Path) -> dict[str, int]:
    """Finished shards, and when each was made."""
    return {
        path.name: (path / "part.npy").stat().st_mtime_ns
        for path in folder.iterdir()
        if not path.name.startswith("tmp-")
    }


def die_at(n: int, where: str) -> Callable[..., object]:
    """Returns a method of a draft that kills its process when it is called the n-th time."""
    method, calls = getattr(ShardDraft, where), [0]

    def dying(*arguments: object) -> object:
        calls[0] += 1
        if calls[0] == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*arguments)

    return dying


@pytest.mark.parametrize("where", ["commit", "_describe", "write_bytes"])
def test_killed_evaluation_goes_on_and_its_figures_are_equal_to_the_bit(
    folders: tuple[Path, Path, Path], tmp_path: Path, small_shards: None, where: str
) -> None:
    whole = evaluate.run(*folders, tmp_path / "whole", CONFIG)
    n_shards = len(shards_in(tmp_path / "whole"))
    assert n_shards > 15
    store, rng = tmp_path / "killed", random.Random(where)
    before: dict[str, int] = {}
    for _ in range(2):
        child = os.fork()
        if not child:  # pragma: no cover
            try:
                setattr(ShardDraft, where, die_at(rng.randint(2, n_shards // 3), where))
                evaluate.run(*folders, store, CONFIG)
            finally:
                os._exit(1)
        rng.random()
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        now = shards_in(store)
        assert before.items() <= now.items()
        before = now
    assert 0 < len(before) < n_shards
    again = evaluate.run(*folders, store, CONFIG)
    assert again == whole
    assert json.dumps(asdict(again), sort_keys=True) == json.dumps(asdict(whole), sort_keys=True)
    after = shards_in(store)
    assert before.items() <= after.items()  # none was made anew
    assert set(after) == set(shards_in(tmp_path / "whole"))
    assert not [path for path in store.iterdir() if path.name.startswith("tmp-")]


def test_second_evaluation_reads_nothing_and_another_stride_only_what_slides(
    folders: tuple[Path, Path, Path], tmp_path: Path, small_shards: None
) -> None:
    first = evaluate.run(*folders, tmp_path, CONFIG)
    made = shards_in(tmp_path)
    assert evaluate.run(*folders, tmp_path, replace(CONFIG, max_overlap_frac=0.5)).figures == (
        first.figures
    )
    assert shards_in(tmp_path) == made
    evaluate.run(*folders, tmp_path, replace(CONFIG, stride_tokens=4))
    now = shards_in(tmp_path)
    shared = now.keys() & made.keys()
    assert 0 < len(shared) < len(made)
    assert {name: now[name] for name in shared} == {name: made[name] for name in shared}


def questions(scorer: Scorer) -> list[list[float]]:
    rng = np.random.default_rng(0)
    requests = [
        Request(context=rng.integers(0, 49, 60).tolist(), continuations=[[1, 2], [3], [4, 5, 6]])
        for _ in range(5)
    ]
    found = scorer.loglikelihood(requests, muted=[3])
    generated = scorer.generate([[1, 2, 3], [4]], GREEDY, 5, seed=1)
    return [
        *(one.logprobs.tolist() for each in found for one in each),
        *(values.tolist() for values in scorer.rolling([[1] * 100, [2, 3]], 5)),
        *([float(i) for i in ids] for ids in generated),
    ]


def test_kept_answers_are_those_that_were_computed(
    folders: tuple[Path, Path, Path], tmp_path: Path, small_shards: None
) -> None:
    model, _ = hf.load(folders[0])
    plain = questions(Scorer(model, EOT))
    for n_made in (True, False):
        answers = Answers(tmp_path, folders[0], CPU)
        assert questions(Scorer(model, EOT, answers)) == plain
        assert (answers.n_made > 0) == n_made


def test_damaged_answers_are_computed_again(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    model, _ = hf.load(folders[0])
    plain = questions(Scorer(model, EOT, Answers(tmp_path, folders[0], CPU)))
    for path in tmp_path.glob("*/part.npy"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    answers = Answers(tmp_path, folders[0], CPU)
    assert questions(Scorer(model, EOT, answers)) == plain
    assert answers.n_found == 0
    assert answers.n_made > 0


def test_answers_of_other_weights_device_or_torch_are_not_found(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = hf.load(folders[0])
    questions(Scorer(model, EOT, Answers(tmp_path / "store", folders[0], CPU)))
    hf.save(tmp_path / "other", random_model(n_vocab=260, seed=7), folders[0].parent / "bpe", EOT)
    others = [
        Answers(tmp_path / "store", tmp_path / "other", CPU),
        Answers(tmp_path / "store", folders[0], torch.device("cuda")),
    ]
    monkeypatch.setattr("pipeline.engine.identity.version", lambda _: "another")
    others.append(Answers(tmp_path / "store", folders[0], CPU))
    for answers in others:
        questions(Scorer(model, EOT, answers))
        assert answers.n_found == 0


def test_key_says_what_competes_and_what_ends_a_text(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    model, _ = hf.load(folders[0])
    answers = Answers(tmp_path, folders[0], CPU)
    scorer = Scorer(model, EOT, answers)
    request = [Request(context=[1], continuations=[[2]])]
    scorer.loglikelihood(request)
    scorer.loglikelihood(request, muted=[2])
    scorer.generate([[1]], GREEDY, 5, seed=1)
    scorer.generate([[1]], GREEDY, 5, seed=2)
    scorer.generate([[1]], GREEDY, 5, seed=1, stops=lambda _: True, stops_key="at once")
    assert (answers.n_found, answers.n_made) == (0, 5)


def test_finished_evaluation_removes_what_it_did_not_ask_for(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "tmp-1-left-behind").mkdir()
    answers = Answers(tmp_path, folders[0], CPU)
    answers("one", lambda: np.ones(3))
    answers = Answers(tmp_path, folders[0], CPU)
    answers("two", lambda: np.ones(3))
    answers.prune()
    assert len(list(tmp_path.iterdir())) == 1

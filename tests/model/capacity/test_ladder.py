"""Losses by document against a slow reading; what kept figures depend on. Training: tests/e2e."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from model.capacity import ladder
from model.score import Scorer
from model.tasks import evaluate
from pipeline.store import manifest, shards
from pipeline.store.shards import Counts
from pipeline.tokens.arrow import TokenShards, Vocabulary, open_shards, write_shard
from tests.model.small_models import random_model, slow_logprobs

EOT = 49


@pytest.fixture
def tokens(tmp_path: Path) -> TokenShards:
    """Seven documents in two shards; one is empty, one is longer than the context of 32."""
    chance = np.random.default_rng(1)
    texts = [[*chance.integers(0, EOT, n).tolist(), EOT] for n in (5, 40, 0, 3, 8, 2, 6)]
    vocabulary = Vocabulary("digest", 50, EOT)
    for name, part in (("a", texts[:3]), ("b", texts[3:])):
        ids = [f"{name}{number:015x}" for number in range(len(part))]
        write_shard(tmp_path / f"{name}.arrow", ids, part, [9] * len(part), vocabulary)
    return open_shards([tmp_path / "a.arrow", tmp_path / "b.arrow"])


def test_losses_are_those_of_a_slow_reading(tokens: TokenShards) -> None:
    model = random_model()
    found = ladder.losses(Scorer(model, EOT), tokens, most=100)
    stream = tokens.slice(0, tokens.n_tokens).tolist()
    starts = [0, *[i + 1 for i, token in enumerate(stream) if token == EOT]]
    texts = [stream[a : b - 1] for a, b in pairwise(starts)]
    assert ladder.lengths_of(tokens, most=100).tolist() == [5, 40, 0, 3, 8, 2, 6]
    for nats, text in zip(found, texts, strict=True):
        if len(text) <= 32:  # one window
            slow = slow_logprobs(model, [EOT, *text], len(text))
            assert nats == pytest.approx(-sum(slow), abs=1e-4)


def test_losses_are_of_documents_evenly_spaced(tokens: TokenShards) -> None:
    scorer = Scorer(random_model(), EOT)
    everything = ladder.losses(scorer, tokens, most=7)
    assert ladder.losses(scorer, tokens, most=3) == pytest.approx(
        [everything[i] for i in (0, 2, 4)]
    )
    assert ladder.lengths_of(tokens, most=3).tolist() == [5, 0, 8]


@pytest.fixture
def bench(tmp_path: Path) -> ladder.Bench:
    """A workspace with evaluation sets and overlaps, as far as identities read them."""
    overlap = tmp_path / "data" / "overlap"
    overlap.mkdir(parents=True)
    manifest.write(overlap, "decontaminate", {}, Counts(n_in=0, n_out=0, dropped={}), {}, 0)
    shards.write_atomic(tmp_path / "data" / "eval" / "sets.json", b'{"sets": []}\n')
    config = evaluate.Config(
        stride_tokens=4,
        more_strides_tokens=(),
        seed=1,
        max_overlap_frac=0.0,
        max_generated_examples=None,
    )
    answers = tmp_path / "answers"
    return ladder.Bench(
        root=tmp_path, override=_never, answers=answers, evaluate=config, documents=9
    )


def _never(*_: object) -> None:
    raise AssertionError


def test_identity_of_kept_figures_depends_on_all_that_decides_them(bench: ladder.Bench) -> None:
    told = {
        "as it is": ladder._identity("run", bench),
        "another run": ladder._identity("other", bench),
        "documents": ladder._identity("run", replace(bench, documents=8)),
        "protocol": ladder._identity(
            "run", replace(bench, evaluate=replace(bench.evaluate, stride_tokens=8))
        ),
    }
    shards.write_atomic(bench.root / "data" / "eval" / "sets.json", b'{"sets": [1]}\n')
    told["sets"] = ladder._identity("run", bench)
    assert len(set(told.values())) == len(told)

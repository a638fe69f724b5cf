"""What the embedded default came to; runs where `make repro` has left its outputs."""

import json

import numpy as np
import pytest

from model import hf
from model.score import Scorer, device
from model.tasks import evalsets
from model.tasks.registry import HELDOUT
from pipeline.engine.identity import ROOT
from pipeline.tokens import arrow, codec
from tests.model.kneser_ney import KneserNey

pytestmark = pytest.mark.e2e

MODEL = ROOT / "models" / "pretrained"
TOKENS = ROOT / "data" / "tokens"
EVAL = ROOT / "data" / "eval"
ORDER = 5
STRIDE = 16


def test_model_predicts_held_out_pages_better_than_a_5_gram_on_the_same_tokens() -> None:
    """By more than chance: the whole interval of a paired bootstrap over documents is below 0."""
    if not (MODEL.is_dir() and TOKENS.is_dir() and EVAL.is_dir()):
        pytest.skip("no default run here; `make repro` makes one")
    network, _ = hf.load(MODEL)
    coder = codec.load(MODEL / "tokenizer.json")
    eot = coder.vocabulary.eot_id
    texts = [example.text for example in evalsets.read(EVAL, HELDOUT)]
    ids = [coder.encode(text) for text in texts]
    scored = Scorer(network.to(device()), eot).rolling(ids, STRIDE)
    ours = np.array([-values.sum() for values in scored])  # (documents,) nats

    trained = arrow.open_shards(sorted((TOKENS / "train").glob("*.arrow")))
    ngrams = KneserNey(trained.slice(0, trained.n_tokens), trained.n_vocab, ORDER)
    start = np.array([eot])
    theirs = np.array(
        [-np.log(ngrams.probability(np.concatenate([start, each]))[1:]).sum() for each in ids]
    )
    n_bytes = np.array([len(text.encode()) for text in texts])

    picks = np.random.default_rng(0).integers(len(ids), size=(2000, len(ids)))  # (rounds, docs)
    gained = (ours - theirs)[picks].sum(axis=1) / n_bytes[picks].sum(axis=1) / np.log(2)
    low, high = np.quantile(gained, [0.005, 0.995])
    told = json.dumps({"bits per byte less": [round(-high, 4), round(-low, 4)]})
    assert high < 0, f"{told}: model {ours.sum() / n_bytes.sum() / np.log(2):.4f} bits per byte"

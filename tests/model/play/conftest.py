"""A finished run with two models, hostile text in titles and documents, and its playground."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from model import hf
from model.play import checkpoints, server
from model.play.corpus import Corpus, Places
from model.sample import GREEDY, Settings
from model.training import checkpoint
from model.training.checkpoint import Facts
from pipeline.engine.tasks import InlineEngine
from pipeline.store.shards import sha256_file
from pipeline.tokens import bpe, codec, encode, ngrams
from tests.model.small_models import random_model
from tests.pipeline.report.world import Document, make_world

CONFIG = server.Config(
    port=0,
    n_models=2,
    n_others=5,
    max_new_tokens=50,
    max_text_bytes=20_000,
    n_documents=3,
)
PLAN = {"global_batch_tokens": 64, "seed": 1, "steps": 400}


@dataclass(frozen=True)
class Run:
    """Where everything lies, and what the corpus holds."""

    root: Path
    documents: tuple[Document, ...]
    places: Places

    @property
    def models(self) -> Path:
        return self.root / "models"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("playground")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        world = make_world(root)
        kept = tuple(d for d in world.documents if not d.end)
        bpe.write(root / "data" / "bpe", bpe.train(iter([[d.text for d in kept]]), 450, 2))
        tokens = root / "data" / "tokens"
        encode.run(root / "data" / "corpus", root / "data" / "bpe", tokens, InlineEngine())
        ngrams.make(tokens, root / "data" / "ngrams", InlineEngine())
        _write_models(root)
    places = Places(
        data=root / "data",
        ngrams=root / "data" / "ngrams",
        checkpoints=root / "models" / "checkpoints",
        settings={"model": {"n_ctx": 32}, "train": PLAN},
        scan=lambda _path: {},
    )
    return Run(root=root, documents=kept, places=places)


def _write_models(root: Path) -> None:
    """Writes the pretrained model and, in place of the world's, a checkpoint of other weights."""
    folder = root / "data" / "bpe"
    vocabulary = codec.load(folder / "tokenizer.json").vocabulary
    first, second = (random_model(n_vocab=vocabulary.n_vocab, seed=seed) for seed in (0, 1))
    hf.save(root / "models" / "pretrained", first, folder, vocabulary.eot_id)
    config = second.config
    names = ("norm", "n_layer", "n_head", "n_embd", "n_ctx", "dropout")
    about = {
        "model": {name: getattr(config, name) for name in names},
        "train": PLAN,
        "tokens_root": "another",
        "tokenizer_sha256": sha256_file(folder / "tokenizer.json"),
    }
    weights = {name: p.detach().clone() for name, p in second.named_parameters()}
    shutil.rmtree(root / "models" / "checkpoints")  # the world's one has no tensors
    facts = Facts(step=100, rows=(), valid_loss=4.5, guard={}, loss_scale=None, segments=())
    checkpoint.save(root / "models/checkpoints/0123456789abcdef", facts, lambda _: weights, about)


@pytest.fixture(scope="session")
def playground(finished: Run) -> Iterator[server.Playground]:
    entries = checkpoints.listing(finished.models, [])
    shelf = checkpoints.Shelf(
        entries={entry.name: entry for entry in entries},
        tokenizers=(finished.root / "data" / "bpe",),
        n_kept=CONFIG.n_models,
        device=torch.device("cpu"),
    )
    with ThreadPoolExecutor(server.N_THREADS) as pool:
        yield server.Playground(
            config=CONFIG,
            shelf=shelf,
            corpus=Corpus(finished.places),
            methods={"greedy": GREEDY, "top_k": Settings(temperature=1.0, top_k=5, top_p=None)},
            method="top_k",
            prompts=("", "The pool keeps one"),
            pool=pool,
        )

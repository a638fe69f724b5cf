"""Models by name: what is listed, what is loaded, what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from model import hf
from model.play.checkpoints import Shelf, listing
from pipeline.store.errors import CheckpointError
from tests.model.play.conftest import Run

STEP = "01234567/step-00000100"


def shelf_of(models: Path, tokenizer: Path, n_kept: int = 2) -> Shelf:
    entries = {entry.name: entry for entry in listing(models, [])}
    device = torch.device("cpu")
    return Shelf(entries=entries, tokenizers=(tokenizer,), n_kept=n_kept, device=device)


@pytest.fixture
def models(finished: Run, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(finished.models, tmp_path / "models")
    return tmp_path / "models"


def test_listing_names_the_pretrained_model_checkpoints_and_given_folders(finished: Run) -> None:
    given = finished.models / "pretrained"
    found = listing(finished.models, [given])
    names = [entry.name for entry in found]
    assert names == ["pretrained", STEP, "models/pretrained"]
    assert found[1].note == "100 steps, validation loss 4.500"


def test_listing_of_nothing_is_empty_and_a_folder_without_model_is_refused(tmp_path: Path) -> None:
    assert listing(tmp_path / "absent", []) == []
    with pytest.raises(FileNotFoundError, match="holds no model: config"):
        listing(tmp_path / "absent", [tmp_path])


def test_checkpoint_answers_as_its_weights_do(finished: Run, models: Path) -> None:
    shelf = shelf_of(models, finished.root / "data" / "bpe")
    loaded, (other, _) = shelf.get(STEP), hf.load(models / "pretrained")
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert not torch.equal(loaded.model(ids), other(ids))
    assert loaded.n_parameters == sum(p.numel() for p in other.parameters())


def test_name_outside_of_the_list_is_refused(finished: Run, models: Path) -> None:
    shelf = shelf_of(models, finished.root / "data" / "bpe")
    for name in ("../pretrained", str(models / "pretrained"), ""):
        with pytest.raises(ValueError, match="expected one of pretrained, 01234567"):
            shelf.get(name)


def test_few_models_stay_and_a_changed_one_is_read_again(finished: Run, models: Path) -> None:
    shelf = shelf_of(models, finished.root / "data" / "bpe", n_kept=1)
    first = shelf.get("pretrained")
    assert shelf.get("pretrained") is first
    shelf.get(STEP)
    again = shelf.get("pretrained")
    assert again is not first
    weights = models / "pretrained" / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    assert shelf.get("pretrained") is not again


def test_damaged_weights_and_another_tokenizer_are_refused(finished: Run, models: Path) -> None:
    folder = models / "checkpoints" / "0123456789abcdef" / "step-00000100"
    with pytest.raises(ValueError, match="was trained with the tokenizer"):
        shelf_of(models, models).get(STEP)
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(weights)
    shelf = shelf_of(models, finished.root / "data" / "bpe")
    with pytest.raises(CheckpointError, match="digest of weights differs"):
        shelf.get(STEP)
    (folder / "checkpoint.json").write_text(json.dumps({"step": 1}))
    with pytest.raises(CheckpointError, match="cannot be read"):
        listing(models, [])

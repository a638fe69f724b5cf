"""The labelled step: what is present is one schema, what is absent is listed, nothing is fatal."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model.finetune import labelled
from model.finetune.labelled import Config
from model.finetune.published import TASKS
from model.finetune.tasks import Task
from pipeline.store.shards import sha256_file
from tests.model.finetune import sites
from tests.model.finetune.test_readers import MRPC, QUOTED

CONFIG = Config(
    mirror=None,
    accept=(),
    max_documents=1000,
    n_sites=4,
    per_document=3,
    max_words=40,
    max_train=60,
    max_scored=20,
)
TRAIN, VALID = sites.rows(4, 30), sites.rows(4, 6, first=500)


@pytest.fixture(scope="module")
def unique(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sites.write(tmp_path_factory.mktemp("corpus") / "unique", TRAIN, VALID)


def mirror(folder: Path, files: dict[str, str]) -> str:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return str(folder)


def test_without_a_mirror_the_default_s_own_are_there_and_others_are_listed(
    unique: Path, tmp_path: Path
) -> None:
    figures = labelled.run(unique, tmp_path, CONFIG)
    told = labelled.listing(tmp_path)
    assert set(told) == {"site", "continuation", *(each.task.name for each in TASKS)}
    assert [name for name, each in told.items() if each["present"]] == ["continuation"]
    assert told["site"]["reason"] == "the corpus gives too few examples"
    assert {told[each.task.name]["reason"] for each in TASKS} == {"no mirror folder is named"}
    assert figures == {
        "n_examples": {"continuation": told["continuation"]["n_examples"]},
        "paper": {},
        "absent": {name: each["reason"] for name, each in told.items() if name != "continuation"},
    }
    assert sum(told["continuation"]["n_by_label"]["train"].values()) == 60


def test_examples_and_task_come_back_as_they_were_written(unique: Path, tmp_path: Path) -> None:
    labelled.run(unique, tmp_path, CONFIG)
    table = pq.read_table(tmp_path / "continuation.parquet")
    assert table.schema.equals(labelled.SCHEMA)
    splits = labelled.read(tmp_path, "continuation")
    assert {split: len(found) for split, found in splits.items()} == labelled.listing(tmp_path)[
        "continuation"
    ]["n_examples"]
    task = labelled.task(labelled.listing(tmp_path)["continuation"])
    assert isinstance(task, Task)
    assert (task.kind, task.n_outputs, task.scored_split) == ("choice", 1, "test")
    assert all(isinstance(each.texts, tuple) for each in splits["test"])


def test_bytes_depend_on_documents_and_not_on_shards(tmp_path: Path) -> None:
    made = []
    for name, order, n_shards in (("a", 1, 1), ("b", -1, 3)):
        source = sites.write(tmp_path / name, TRAIN[::order], VALID[::order], n_shards)
        labelled.run(source, tmp_path / f"out-{name}", CONFIG)
        made.append([sha256_file(p) for p in sorted((tmp_path / f"out-{name}").iterdir())])
    assert made[0] == made[1]


def test_documents_are_limited_by_part(unique: Path, tmp_path: Path) -> None:
    few = labelled.run(unique, tmp_path, replace(CONFIG, max_documents=40))
    assert set(few["n_examples"]) == {"continuation"}
    splits = labelled.read(tmp_path, "continuation")
    found = {
        each.example_id.partition("-")[0] for split in ("train", "dev") for each in splits[split]
    }
    assert len(found) <= 40


def test_file_with_other_bytes_stops_the_stage_and_names_the_remedy(
    unique: Path, tmp_path: Path
) -> None:
    files = {"mrpc/msr_paraphrase_train.txt": MRPC, "mrpc/msr_paraphrase_test.txt": MRPC}
    folder = mirror(tmp_path / "mirror", files)
    with pytest.raises(ValueError, match=r"61a88818ec384d84.*labelled\.accept: \[mrpc\]"):
        labelled.run(unique, tmp_path / "out", replace(CONFIG, mirror=folder))


def test_accepted_task_is_used_and_marked(unique: Path, tmp_path: Path) -> None:
    heading, line = MRPC.splitlines()
    more = "\n".join([heading, *[line] * 10])
    files = {"mrpc/msr_paraphrase_train.txt": more, "mrpc/msr_paraphrase_test.txt": MRPC}
    config = replace(CONFIG, mirror=mirror(tmp_path / "mirror", files), accept=("mrpc",))
    figures = labelled.run(unique, tmp_path / "out", config)
    told = labelled.listing(tmp_path / "out")
    assert told["mrpc"]["present"]
    assert not told["mrpc"]["digest_known"]
    assert told["mrpc"]["n_examples"] == {"train": 5, "dev": 5, "test": 1}
    assert told["mrpc"]["n_scored_with_trained_text"] == 1
    assert figures["paper"] == {}  # other bytes
    assert told["sst2"]["reason"] == "not in the mirror folder"


def test_folder_of_passages_is_read(unique: Path, tmp_path: Path) -> None:
    lines = QUOTED["race"].splitlines()
    files = {
        f"race/{split}/{level}/{i}.txt": line
        for split in ("train", "dev", "test")
        for level, some in (("middle", lines[1:2]), ("high", lines[::2]))
        for i, line in enumerate(some, start=1)
    }
    config = replace(CONFIG, mirror=mirror(tmp_path / "mirror", files), accept=("race",))
    labelled.run(unique, tmp_path / "out", config)
    found = labelled.read(tmp_path / "out", "race")["train"]
    assert [each.example_id for each in found] == ["middle1.txt-0", "high1.txt-0", "high2.txt-0"]


def test_accepted_first_part_may_be_the_whole(unique: Path, tmp_path: Path) -> None:
    lines = "gj04\t1\t\tHe ran.\ngj04\t0\t*\tHe run.\n"
    files = {"cola/train.tsv": lines, "cola/dev.tsv": lines}
    folder = mirror(tmp_path / "mirror", files)
    labelled.run(unique, tmp_path / "out", replace(CONFIG, mirror=folder, accept=("cola",)))
    assert labelled.listing(tmp_path / "out")["cola"]["n_examples"] == {"train": 2, "dev": 2}
    labelled.run(unique, tmp_path / "out", replace(CONFIG, mirror=folder))
    assert not labelled.listing(tmp_path / "out")["cola"]["present"]


@pytest.mark.parametrize("content", ["nothing\n", '\xff"\n', "gj04\t7\t\tHe ran.\n"])
def test_accepted_file_in_another_form_is_named(unique: Path, tmp_path: Path, content: str) -> None:
    files = {"cola/train.tsv": content, "cola/dev.tsv": content}
    config = replace(CONFIG, mirror=mirror(tmp_path / "mirror", files), accept=("cola",))
    with pytest.raises(ValueError, match=r"cola.train\.tsv is not in the form of cola"):
        labelled.run(unique, tmp_path / "out", config)


def test_mirror_that_is_no_folder_is_refused(unique: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"labelled\.mirror: .*nowhere is no folder"):
        labelled.run(unique, tmp_path, replace(CONFIG, mirror=str(tmp_path / "nowhere")))
    with pytest.raises(FileNotFoundError, match="dvc repro labelled"):
        labelled.listing(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("accept", ("nothing",)), ("n_sites", 1), ("max_words", 12), ("per_document", 0)],
)
def test_setting_out_of_range_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        replace(CONFIG, **{name: value})


def test_drawn_dev_split_is_scikit_learn_s() -> None:
    """As the released code draws Story Cloze's: 374 of 1,871."""
    selection = pytest.importorskip("sklearn.model_selection")
    expected = selection.train_test_split(
        list(range(1871)), test_size=374, random_state=labelled.SPLIT_SEED
    )
    assert tuple(map(list, expected)) == labelled.drawn(1871, 374)


def test_published_files_are_all_there(unique: Path, tmp_path: Path, real_data: Path) -> None:
    config = replace(CONFIG, mirror=str(real_data / "finetune"))
    figures = labelled.run(unique, tmp_path, config)
    told = labelled.listing(tmp_path)
    assert figures["n_examples"]["story_cloze"] == {"train": 1497, "dev": 374, "test": 1871}
    assert figures["n_examples"]["mrpc"] == {"train": 3668, "dev": 408, "test": 1725}
    assert figures["paper"] == {  # only those whose labels are public
        "mrpc": {"f1": 0.823},
        "stsb": {"pearson": 0.82},
        "story_cloze": {"accuracy": 0.865},
    }
    present = [each.task.name for each in TASKS if told[each.task.name]["present"]]
    assert len(present) == 8
    assert all(told[name]["digest_known"] for name in present)
    assert all({"train", "dev"} <= set(told[name]["n_examples"]) for name in present)

"""Evaluation sets: what is present is one schema, what is absent is listed, nothing is fatal."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model.tasks import evalsets
from model.tasks.evalsets import Config
from model.tasks.registry import HELDOUT, LASTWORD, SETS
from pipeline.store import records
from pipeline.store.errors import ManifestError
from pipeline.store.records import doc_id
from pipeline.store.shards import sha256_file
from tests.model.tasks.unique_folder import ROWS, make_unique

CONFIG = Config(
    mirror=None,
    extra=None,
    accept=(),
    heldout_documents=5,
    lastword_per_document=2,
    lastword_min_words=15,
)


@pytest.fixture
def unique(tmp_path: Path) -> Path:
    return make_unique(tmp_path / "unique", [ROWS[:4], [], ROWS[4:]])


def test_without_a_mirror_the_default_s_own_sets_are_there_and_others_are_listed(
    unique: Path, tmp_path: Path
) -> None:
    figures = evalsets.run(unique, tmp_path / "eval", CONFIG)
    told = evalsets.listing(tmp_path / "eval")
    assert set(told) == {HELDOUT, LASTWORD, *(each.name for each in SETS)}
    assert [name for name, each in told.items() if each["present"]] == [HELDOUT, LASTWORD]
    assert all(told[each.name]["reason"] == "no mirror folder is named" for each in SETS)
    assert all(told[each.name]["licence"] and told[each.name]["url"] for each in SETS)
    assert figures == {"n_examples": {HELDOUT: 5, LASTWORD: 5}, "n_absent": len(SETS)}
    assert sorted(path.name for path in (tmp_path / "eval").iterdir()) == [
        "heldout.parquet",
        "heldout_lastword.parquet",
        "sets.json",
    ]


def test_every_set_has_the_one_schema(unique: Path, tmp_path: Path) -> None:
    evalsets.run(unique, tmp_path / "eval", CONFIG)
    for path in (tmp_path / "eval").glob("*.parquet"):
        table = pq.read_table(path)
        assert table.schema.equals(records.EVAL)
        assert set(table["set"].to_pylist()) == {path.stem}
        assert all(isinstance(json.loads(f), dict) for f in table["fields"].to_pylist())


def test_heldout_documents_are_whole_and_from_the_validation_part(
    unique: Path, tmp_path: Path
) -> None:
    evalsets.run(unique, tmp_path / "eval", CONFIG)
    found = evalsets.read(tmp_path / "eval", HELDOUT)
    texts = dict(ROWS)
    assert [each.example_id for each in found] == sorted(each.example_id for each in found)
    assert all(each.text == texts[each.example_id] for each in found)


def test_choice_depends_on_ids_and_not_on_the_shards(tmp_path: Path) -> None:
    files = []
    for name, shards in (("a", [ROWS]), ("b", [ROWS[8:], ROWS[:3], ROWS[3:8][::-1]])):
        evalsets.run(make_unique(tmp_path / name, shards), tmp_path / f"eval-{name}", CONFIG)
        files.append([p.read_bytes() for p in sorted((tmp_path / f"eval-{name}").iterdir())])
    assert files[0] == files[1]


def test_documents_added_to_the_split_replace_few_of_those_chosen(tmp_path: Path) -> None:
    more = [(doc_id(f"example.net/{i}"), "text") for i in range(3)]
    for name, rows in (("a", ROWS), ("b", [*ROWS, *more])):
        evalsets.run(make_unique(tmp_path / name, [rows]), tmp_path / f"eval-{name}", CONFIG)
    a, b = ({e.example_id for e in evalsets.read(tmp_path / f"eval-{n}", HELDOUT)} for n in "ab")
    assert len(a - b) <= 3
    assert len(a & b) >= 2


def test_lastword_passages_are_limited_per_document(unique: Path, tmp_path: Path) -> None:
    long = [(name, text + text.replace("lantern", "candle")) for name, text in ROWS]
    source = make_unique(tmp_path / "long", [long])
    for n in (1, 2):
        evalsets.run(source, tmp_path / f"{n}", replace(CONFIG, lastword_per_document=n))
        found = evalsets.read(tmp_path / f"{n}", LASTWORD)
        assert len(found) == 5 * n
        assert all(each.text.endswith(" " + each.fields["target"]) for each in found)


def test_split_without_documents_makes_empty_sets_absent(tmp_path: Path) -> None:
    figures = evalsets.run(make_unique(tmp_path / "unique", [[]]), tmp_path / "eval", CONFIG)
    assert figures["n_examples"] == {}
    assert (
        evalsets.listing(tmp_path / "eval")[HELDOUT]["reason"]
        == "the validation split holds no such text"
    )


def mirror(folder: Path, **files: str) -> Path:
    """Writes files of the mirror's layout; names are those of sets."""
    for known in SETS:
        if known.name in files:
            path = folder / known.files[0][0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[known.name], encoding="utf-8")
    return folder


def test_file_with_other_bytes_stops_the_stage_and_names_the_remedy(
    unique: Path, tmp_path: Path
) -> None:
    folder = mirror(tmp_path / "mirror", ptb=" a b \n")
    with pytest.raises(ValueError, match=r"ptb\.test\.txt.*91a2fa938d84badd.*accept: \[ptb\]"):
        evalsets.run(unique, tmp_path / "eval", replace(CONFIG, mirror=str(folder)))


def test_accepted_bytes_are_used_and_marked(unique: Path, tmp_path: Path) -> None:
    folder = mirror(tmp_path / "mirror", ptb=" a b \n")
    config = replace(CONFIG, mirror=str(folder), accept=("ptb",))
    evalsets.run(unique, tmp_path / "eval", config)
    told = evalsets.listing(tmp_path / "eval")
    assert told["ptb"]["present"]
    assert not told["ptb"]["digest_known"]
    assert told["ptb"]["sha256"] == sha256_file(folder / "ptb" / "ptb.test.txt")
    assert told["winograd"]["reason"] == "not in the mirror folder"
    assert [each.text for each in evalsets.read(tmp_path / "eval", "ptb")] == [" a b \n"]


@pytest.mark.parametrize("content", ["{oops", '{"txt": "a b"}', '{"text": "word"}'])
def test_accepted_file_in_another_form_is_named(unique: Path, tmp_path: Path, content: str) -> None:
    folder = mirror(tmp_path / "mirror", lambada_openai=content)
    config = replace(CONFIG, mirror=str(folder), accept=("lambada_openai",))
    with pytest.raises(
        ValueError, match=r"lambada_test\.jsonl is not in the form of lambada_openai"
    ):
        evalsets.run(unique, tmp_path / "eval", config)


def test_file_that_is_no_utf8_is_named(unique: Path, tmp_path: Path) -> None:
    folder = mirror(tmp_path / "mirror", ptb="")
    (folder / "ptb" / "ptb.test.txt").write_bytes(b"\xff\xfe")
    config = replace(CONFIG, mirror=str(folder), accept=("ptb",))
    with pytest.raises(ValueError, match=r"ptb\.test\.txt is not in the form"):
        evalsets.run(unique, tmp_path / "eval", config)


def test_published_files_are_all_read(unique: Path, tmp_path: Path, real_data: Path) -> None:
    config = replace(CONFIG, mirror=str(real_data / "eval"))
    evalsets.run(unique, tmp_path / "eval", config)
    told = evalsets.listing(tmp_path / "eval")
    present = {known.name for known in SETS if told[known.name]["present"]}
    assert all(told[name]["digest_known"] for name in present)
    assert {name: told[name]["n_examples"] for name in present} == {
        "lambada_openai": 5153,
        "lambada_plain": 5153,
        "winograd": 273,
        "ptb": 89,
        "wikitext2": 60,
        "wmt14_en_fr": 3003,
        "wmt14_fr_en": 3003,
        "nq_open": 3610,
        "cnn_dailymail_sample": 100,
    }


def test_file_whose_digest_nobody_knows_here_must_be_accepted(unique: Path, tmp_path: Path) -> None:
    folder = mirror(tmp_path / "mirror", text8=" anarchism originated")
    with pytest.raises(ValueError, match=r"not known here .*accept: \[text8\]"):
        evalsets.run(unique, tmp_path / "eval", replace(CONFIG, mirror=str(folder)))
    config = replace(CONFIG, mirror=str(folder), accept=("text8",))
    evalsets.run(unique, tmp_path / "eval", config)
    assert not evalsets.listing(tmp_path / "eval")["text8"]["digest_known"]


def test_set_of_two_files_needs_both(unique: Path, tmp_path: Path) -> None:
    folder = mirror(tmp_path / "mirror", wmt14_en_fr='<seg id="1">a</seg>')
    config = replace(CONFIG, mirror=str(folder), accept=("wmt14_en_fr",))
    evalsets.run(unique, tmp_path / "eval", config)
    told = evalsets.listing(tmp_path / "eval")["wmt14_en_fr"]
    assert (told["present"], told["reason"]) == (False, "not in the mirror folder")
    (folder / "wmt14" / "newstest2014-fren-ref.fr.sgm").write_text('<seg id="1">b</seg>')
    evalsets.run(unique, tmp_path / "eval", config)
    told = evalsets.listing(tmp_path / "eval")["wmt14_en_fr"]
    assert told["present"]
    text = b'<seg id="1">a</seg><seg id="1">b</seg>'
    assert told["sha256"] == hashlib.sha256(text).hexdigest()


def test_mirror_that_is_no_folder_is_refused(unique: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"evalsets\.mirror: .*absent is no folder"):
        evalsets.run(unique, tmp_path / "eval", replace(CONFIG, mirror=str(tmp_path / "absent")))


def test_missing_inputs_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="dvc repro dedup"):
        evalsets.run(tmp_path / "absent", tmp_path / "eval", CONFIG)
    with pytest.raises(FileNotFoundError, match="dvc repro evalsets"):
        evalsets.listing(tmp_path / "absent")


@pytest.mark.parametrize(
    "change",
    [
        {"accept": ("imagenet",)},
        {"heldout_documents": 0},
        {"lastword_per_document": 0},
        {"lastword_min_words": 0},
    ],
)
def test_config_out_of_range_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(CONFIG, **change)


def test_digest_is_that_of_the_joined_texts() -> None:
    assert evalsets.digest(["a", "bé"]) == evalsets.digest(["abé"]) != evalsets.digest(["abe"])


def test_set_that_is_gone_from_the_mirror_is_gone_from_the_output(
    unique: Path, tmp_path: Path
) -> None:
    folder = mirror(tmp_path / "mirror", ptb=" a b \n")
    config = replace(CONFIG, mirror=str(folder), accept=("ptb",))
    evalsets.run(unique, tmp_path / "eval", config)
    evalsets.run(unique, tmp_path / "eval", CONFIG)
    assert not (tmp_path / "eval" / "ptb.parquet").exists()


def test_own_sets_are_listed_and_their_training_parts_lie_apart(
    unique: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "extra"
    folder.mkdir()
    (folder / "trivia.jsonl").write_text('{"text": "who was it"}\n{"text": "what was it"}\n')
    (folder / "trivia.train.jsonl").write_text('{"text": "who was she"}\n')
    (folder / "nothing.txt").write_text("\n")
    output = tmp_path / "eval"
    figures = evalsets.run(unique, output, replace(CONFIG, extra=str(folder)))
    told = evalsets.listing(output)
    assert figures["n_examples"]["trivia"] == told["trivia"]["n_examples"] == 2
    assert (told["nothing"]["present"], told["nothing"]["reason"]) == (
        False,
        "the file holds no example",
    )
    assert [each.text for each in evalsets.read(output, "trivia")] == ["who was it", "what was it"]
    (train,) = pq.read_table(output / evalsets.TRAIN_FOLDER / "trivia.parquet").to_pylist()
    assert (train["split"], train["text"]) == ("train", "who was she")
    evalsets.run(unique, output, CONFIG)
    assert not list(output.rglob("trivia*"))


def test_extra_that_is_no_folder_is_refused(unique: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"evalsets\.extra: .*absent is no folder"):
        evalsets.run(unique, tmp_path / "eval", replace(CONFIG, extra=str(tmp_path / "absent")))

"""The paper's table and the overlap of each example, by hand."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine
from pipeline.overlap import decontaminate, evalgrams, forward, table, words
from pipeline.overlap.decontaminate import Config, Outputs
from pipeline.overlap.spans import Cutting
from pipeline.overlap.table import Files, Layout
from pipeline.store import manifest, records, shards
from pipeline.store.errors import ShardError
from pipeline.store.shards import ShardDraft

_UNIQUE, _EVAL, _OVERLAP = Path("data/unique"), Path("data/eval"), Path("data/overlap")
_CONFIG = Config(
    remove="document",
    max_overlap_frac=0.9,
    max_matched_ngrams=9,
    span=Cutting(min_words=8, margin_chars=0, min_piece_chars=1, max_pieces=9),
    filter="reverse",
    max_fp=1e-8,
    forward=forward.Config(partitions=2, max_bytes=10**6),
)
_NINE = "one two three four five six seven eight nine"
_TEN = "alpha beta gamma delta epsilon zeta eta theta iota kappa"


def _run(engine: Engine) -> dict[str, Any]:
    outputs = Outputs(Path("data/corpus"), _OVERLAP)
    return decontaminate.run(_UNIQUE, _EVAL, outputs, _CONFIG, engine)


def _examples() -> list[dict[str, Any]]:
    (path,) = manifest.load(_OVERLAP, "decontaminate").paths()
    read = pq.read_table(path)
    assert read.schema.equals(records.EXAMPLES)
    return read.to_pylist()


def test_examples_have_their_own_counts_and_the_document_that_has_most(
    write_unique, write_eval, inline: Engine
) -> None:
    # Equal examples count each for itself and once in the set.
    write_eval({"s": [_NINE, f"x {_TEN}", "short one", _NINE]})
    write_unique(
        [
            ([f"a {_TEN[:-6]} b", _TEN], []),  # the second is dropped: all of it is found
            ([f"said: {_NINE[:-5]}, and then {_filler(20)}"], [_TEN]),
        ]
    )
    sets = _run(inline)["sets"]["s"]
    assert (sets["n_examples"], sets["n_too_short"]) == (4, 1)
    assert (sets["n_8grams"], sets["n_found"], sets["n_left"]) == (2 + 4, 1 + 3, 1 + 2)
    assert sets["percent"] == round(100 * 4 / 6, 4)
    ids = _ids()
    rows = {row["example_id"]: row for row in _examples()}
    assert [(r["n_8grams"], r["n_found"], r["n_left"]) for r in rows.values()] == [
        (2, 1, 1),
        (4, 3, 2),
        (0, 0, 0),
        (2, 1, 1),
    ]
    told = rows["s-1"]
    assert (told["doc_id"], told["doc_word"], told["example_word"]) == (ids[_TEN], 0, 1)
    assert (told["n_words"], told["text"]) == (10, _TEN)
    assert (rows["s-0"]["n_words"], rows["s-0"]["text"]) == (8, _NINE[:-5])
    assert (rows["s-2"]["doc_id"], rows["s-2"]["n_words"]) == (None, 0)


def _filler(n: int) -> str:
    return " ".join(f"f{i}" for i in range(n))


def _ids() -> dict[str, str]:
    paths = manifest.load(_UNIQUE, "dedup").paths("train")
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    return {row["text"]: row["doc_id"] for row in rows}


def test_equal_runs_in_several_shards_name_the_first_id_in_any_order(
    write_unique, write_eval, shuffled
) -> None:
    write_eval({"s": [f"{_NINE} {_TEN}"]})
    write_unique([([f"a{i} {_filler(40)} {_NINE}"], []) for i in range(5)])
    told = []
    for seed in (1, 2):
        _run(shuffled(seed))
        told.append(_examples())
    assert told[0] == told[1]
    assert told[0][0]["doc_id"] == min(_ids().values())


def test_own_training_part_is_compared_and_never_looked_for(
    write_unique, write_eval, inline: Engine
) -> None:
    write_eval({"ptb": [_NINE, _TEN], "other": [_NINE]})
    folder = _EVAL / decontaminate.TRAIN_FOLDER
    folder.mkdir()
    for name, text in (("ptb", f"{_NINE} {_TEN[:-6]}"), ("gone", _TEN)):
        row = {"set": name, "split": "train", "example_id": "0", "text": text, "fields": "{}"}
        made = pa.Table.from_pylist([row], records.EVAL)
        shards.write_table(folder / f"{name}.parquet", made)
    write_unique([([f"{_filler(50)} unrelated", f"{_filler(60)} nine {_TEN[:-6]} more"], [])])
    sets = _run(inline)["sets"]
    # "one .. eight", "two .. nine"; "alpha .. theta" and "beta .. iota", not "gamma .. kappa".
    assert (sets["ptb"]["n_own_train"], sets["ptb"]["percent_own_train"]) == (4, 80.0)
    assert sets["ptb"]["n_found"] == 2
    assert "n_own_train" not in sets["other"]
    assert set(sets) == {"ptb", "other"}
    assert sets["ptb"]["paper_percent_own_train"] == 2.67


def test_forward_answers_that_lack_an_exact_one_are_refused(
    write_unique, write_eval, inline: Engine, workspace: Path
) -> None:
    write_eval({"s": [_NINE]})
    write_unique([([f"{_NINE} {_filler(40)}"], [])])
    _run(inline)
    (index,) = Path(".shards/decontaminate-index").iterdir()
    (found,) = Path(".shards/decontaminate-scan").glob("*/found.parquet")
    lacking = workspace / "lacking.parquet"
    pq.write_table(pq.read_table(found).slice(1), lacking)
    files = Files(exact=[found], asked=[lacking], left=[found], longest=[], own=[])
    inputs = (*(index / name for name in evalgrams.FILES), *(p for some in files for p in some))
    draft = ShardDraft("table", workspace / "store")
    with pytest.raises(ShardError, match="the forward filter lacks 8-grams of the corpus"):
        table.write(inputs, draft, Layout.of(files))


def test_every_form_is_found_in_full_where_the_corpus_has_it(
    write_unique, write_eval, inline: Engine, real_data: Path
) -> None:
    """Passages, schemas and running text of the published sets, in documents one by one."""
    lines = (real_data / "eval/lambada/lambada_test.jsonl").read_text().splitlines()[:300]
    passages = [json.loads(line)["text"] for line in lines]
    records_ = (real_data / "eval/winograd/wsc273.txt").read_text().rstrip().split("\n\n")
    schemas = [record.split("\n")[0] for record in records_]
    ptb = (real_data / "eval/ptb/ptb.test.txt").read_text()
    write_eval({"lambada": passages, "winograd": schemas, "ptb": [ptb]})
    write_unique(
        [([f"It begins. {text} It ends." for text in passages], []), ([ptb, *schemas], [])]
    )
    sets = _run(inline)["sets"]
    for name, told in sets.items():
        assert told["percent"] == 100.0, name
        assert told["n_8grams"] > 1000
    rows = _examples()
    assert all(row["n_found"] == row["n_8grams"] for row in rows)
    by_id = {row["example_id"]: row for row in rows}
    for i, text in enumerate(passages):
        assert by_id[f"lambada-{i}"]["n_words"] >= len(words.split(text))

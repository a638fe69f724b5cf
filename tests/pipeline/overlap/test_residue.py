"""What is left of removed documents, against sets of plain strings."""

import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.engine.tasks import Engine
from pipeline.overlap import residue
from pipeline.overlap.residue import Residue, Source, read_parquet
from pipeline.store import shards
from pipeline.store.errors import ShardError

VOCABULARY = "the of and to in is that for with as on by this from or are be which".split()


def text(seed: int, n: int = 60) -> str:
    chance = random.Random(seed)
    return " ".join(chance.choice(VOCABULARY) for _ in range(n)).capitalize() + "."


def source(folder: Path, name: str, *parts: dict[str, str]) -> Source:
    paths = []
    for index, part in enumerate(parts):
        path = folder / f"{name}-{index}.parquet"
        schema = pa.schema([("doc_id", pa.string()), ("text", pa.string())])
        columns = {"doc_id": list(part), "text": list(part.values())}
        shards.write_table(path, pa.table(columns, schema=schema))
        paths.append(path)
    return Source(name, paths, read_parquet)


def grams(told: str) -> set[str]:
    words = "".join(c if c.isalnum() else " " for c in told.lower()).split()
    return {" ".join(words[i : i + 8]) for i in range(len(words) - 7)}


PAGES = {f"{n:016x}": text(n) for n in range(12)}
GONE = [f"{n:016x}" for n in (2, 7)]
QUOTE = "a quotation of nine words that two pages hold"


@pytest.fixture
def pages() -> dict[str, str]:
    """Pages 2 and 7 are removed; page 3 quotes what 2 says, and page 8 is a copy of 7."""
    made = dict(PAGES)
    made[f"{2:016x}"] += f" {QUOTE} and more {text(100, 9)}"
    made[f"{3:016x}"] += f" He wrote: '{QUOTE}'."
    made[f"{8:016x}"] = made[f"{7:016x}"]
    return made


def look(folder: Path, engine: Engine, pages: dict[str, str], **results: dict[str, str]) -> Residue:
    half = dict(list(pages.items())[::2])
    rest = {i: t for i, t in pages.items() if i not in half}
    return residue.examine(
        GONE,
        source(folder, "pages", half, rest),
        [source(folder, "clean", {i: t for i, t in pages.items() if i not in GONE})],
        [source(folder, name, part) for name, part in results.items()],
        folder / "scratch",
        engine,
    )


def test_nothing_unique_is_left_where_the_documents_are_gone(
    tmp_path: Path, inline: Engine, pages: dict[str, str]
) -> None:
    kept = {i: t for i, t in pages.items() if i not in GONE}
    found = look(tmp_path, inline, pages, corpus=kept, tokens=kept)
    removed = {g for i in GONE for g in grams(pages[i])}
    others = {g for t in kept.values() for g in grams(t)}
    assert found.n_documents == 2
    assert found.n_ngrams == len(removed)
    assert found.n_unique == len(removed - others)
    assert 0 < found.n_unique < found.n_ngrams
    assert found.remaining == {"corpus": 0, "tokens": 0}
    found.check()
    assert found.sharers == {f"{8:016x}": len(grams(pages[GONE[1]])), f"{3:016x}": 2}
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("how", ["whole", "sentence", "under another id"])
def test_anything_unique_that_is_left_is_counted_and_its_holder_named(
    tmp_path: Path, inline: Engine, pages: dict[str, str], how: str
) -> None:
    kept = {i: t for i, t in pages.items() if i not in GONE}
    words = pages[GONE[0]].split()
    left = {
        "whole": {GONE[0]: pages[GONE[0]]},
        "sentence": {f"{9:016x}": f"{kept[f'{9:016x}']} \n{' '.join(words[20:30]).upper()}!"},
        "under another id": {"f" * 16: pages[GONE[0]]},
    }[how]
    found = look(tmp_path, inline, pages, corpus=kept | left, tokens=kept)
    others = {g for t in kept.values() for g in grams(t)}
    expected = {g for t in left.values() for g in grams(t)} & grams(pages[GONE[0]]) - others
    assert found.remaining == {"corpus": len(expected), "tokens": 0}
    assert found.holders["corpus"] == list(left)
    with pytest.raises(ShardError, match=rf"{len(expected)} in corpus \({next(iter(left))}\)"):
        found.check()


def test_regular_form_of_a_removed_page_counts_as_its_words(tmp_path: Path, inline: Engine) -> None:
    """Cleaning writes `do n't` as `don't`; what the corpus would hold must be looked for too."""
    raw = "I do n't think that it is so bad as they say"
    found = residue.examine(
        ["a"],
        source(tmp_path, "pages", {"a": raw})._replace(read=_both),
        [],
        [source(tmp_path, "corpus", {"b": raw.replace(" n't", "n't")})],
        tmp_path,
        inline,
    )
    assert found.remaining["corpus"] > 0
    assert found.n_ngrams == len(grams(raw) | grams(raw.replace(" n't", "n't")))


def _both(path: Path) -> Iterator[tuple[str, str]]:
    return residue.raw_and_regular(read_parquet, lambda told: told.replace(" n't", "n't"), path)


def test_removed_documents_without_a_page_or_words_leave_nothing(
    tmp_path: Path, inline: Engine
) -> None:
    found = look(tmp_path, inline, {GONE[0]: "Too short.", "b": "Also."}, corpus={"b": "Also."})
    assert (found.n_documents, found.n_ngrams, found.remaining) == (1, 0, {"corpus": 0})
    found.check()


def test_residue_on_ray_is_that_of_one_process(
    tmp_path: Path, inline: Engine, ray_engine: Engine, pages: dict[str, str]
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = look(tmp_path / "a", inline, pages, corpus=pages)
    assert one == look(tmp_path / "b", ray_engine, pages, corpus=pages)
    assert one.remaining["corpus"] == one.n_unique


def test_texts_of_a_labelled_example_are_read_as_one(tmp_path: Path) -> None:
    texts = [["one", "", "two"], ["three"]]
    table = pa.table({"example_id": ["a", "b"], "texts": texts, "label": [0.0, 1.0]})
    shards.write_table(tmp_path / "site.parquet", table)
    found = list(residue.read_labelled(tmp_path / "site.parquet"))
    assert found == [("a", "one\n\ntwo"), ("b", "three")]

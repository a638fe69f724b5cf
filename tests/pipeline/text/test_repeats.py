"""Which of several rows with one id counts."""

import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.tasks import Engine, InlineEngine
from pipeline.text import repeats

Key = tuple[str, str, int]


def read_keys(path: Path) -> pa.Table:
    return pq.read_table(path, schema=repeats.KEYS)


def lost(
    folder: Path, sources: Sequence[Sequence[Key]], n_first: int, engine: Engine
) -> list[set[int]]:
    paths = []
    for i, keys in enumerate(sources):
        rows = [
            {"doc_id": f"{int(d):016x}", "date": t, "n_bytes": n, "row": r}
            for r, (d, t, n) in enumerate(keys)
        ]
        paths.append(folder / f"{i}.parquet")
        pq.write_table(pa.Table.from_pylist(rows, repeats.KEYS), paths[-1])
    found = repeats.lost("test", "pipeline.text.repeats", paths, read_keys, n_first, engine)
    return [repeats.read(files) for files in found]


@pytest.mark.parametrize(
    ("sources", "n_first", "expected"),
    [
        pytest.param([[("1", "", 1)], [("2", "", 1)]], 2, [set(), set()], id="no repeat"),
        pytest.param([[("1", "2016", 9)], [("1", "2017", 1)]], 2, [{0}, set()], id="latest"),
        pytest.param([[("1", "2017", 1)], [("1", "2017", 9)]], 2, [{0}, set()], id="longest"),
        pytest.param([[("1", "", 5)], [("1", "", 5)]], 2, [set(), {0}], id="first source"),
        pytest.param([[("1", "", 5), ("1", "", 5)]], 1, [{1}], id="first row"),
        pytest.param([[("1", "2000", 1)], [("1", "2017", 9)]], 1, [set(), {0}], id="a page"),
    ],
)
def test_lost_rows_are_those_that_the_stated_order_says(
    workspace: Path,
    inline: Engine,
    sources: list[list[Key]],
    n_first: int,
    expected: list[set[int]],
) -> None:
    assert lost(workspace, sources, n_first, inline) == expected


_keys = st.lists(
    st.tuples(st.sampled_from("123"), st.sampled_from(["", "2016", "2017"]), st.integers(0, 2)),
    max_size=6,
)


@settings(max_examples=20, deadline=None)
@given(sources=st.lists(_keys, min_size=1, max_size=5), n_first=st.integers(0, 3))
def test_exactly_one_row_of_each_id_is_left(
    tmp_path_factory: pytest.TempPathFactory, sources: list[list[Key]], n_first: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("repeats"))
        gone = lost(Path.cwd(), sources, n_first, InlineEngine())
    left = [k[0] for i, keys in enumerate(sources) for r, k in enumerate(keys) if r not in gone[i]]
    assert sorted(left) == sorted({key[0] for keys in sources for key in keys})


def test_number_of_ranges_does_not_change_what_is_lost(
    workspace: Path, inline: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(3)
    sources = [
        [
            (str(draw.randrange(2**62)) if draw.random() < 0.5 else str(draw.randrange(9)), "", 1)
            for _ in range(30)
        ]
        for _ in range(9)
    ]
    one = lost(workspace, sources, 9, inline)
    monkeypatch.setattr(repeats, "_SOURCES_PER_RANGE", 2)
    assert lost(workspace, sources, 9, inline) == one
    assert any(one)

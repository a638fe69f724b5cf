"""Token shards: one stream out of several files, mapped and not copied, never mixed."""

from itertools import pairwise
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.store.errors import ShardError
from pipeline.tokens.arrow import TokenShards, Vocabulary, open_shards, write_shard

VOCABULARY = Vocabulary("ab" * 32, 300, 299)


def write(path: Path, *documents: list[int], vocabulary: Vocabulary = VOCABULARY) -> Path:
    ids = [f"{path.stem}-{row}" for row in range(len(documents))]
    write_shard(path, ids, documents, [3 * len(d) for d in documents], vocabulary)
    return path


@pytest.fixture
def three(tmp_path: Path) -> TokenShards:
    """Shards of 4, 0 and 3 tokens."""
    first = write(tmp_path / "a.arrow", [1, 2, 299], [299])
    return open_shards(
        [first, write(tmp_path / "b.arrow"), write(tmp_path / "c.arrow", [7, 8, 299])]
    )


def test_stream_of_three_shards_joins_them_in_order(three: TokenShards) -> None:
    assert three.slice(0, 7).tolist() == [1, 2, 299, 299, 7, 8, 299]
    assert (three.n_tokens, three.n_bytes, three.n_documents) == (7, 21, 3)
    assert (three.tokenizer_sha256, three.n_vocab, three.eot_id) == VOCABULARY


def test_slice_inside_one_shard_is_a_view_of_the_map(three: TokenShards) -> None:
    inside, across = three.slice(1, 4), three.slice(1, 5)
    assert np.shares_memory(inside, three.slice(0, 4))
    assert not inside.flags.owndata
    assert not inside.flags.writeable
    assert not np.shares_memory(across, three.slice(0, 4))
    assert across.tolist() == [2, 299, 299, 7]


def test_slice_inside_one_shard_allocates_no_arrow_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", [5] * 1_000_000)
    before = pa.total_allocated_bytes()
    opened = open_shards([path])
    assert int(opened.slice(0, opened.n_tokens)[-1]) == 5
    assert pa.total_allocated_bytes() - before < 10_000


def test_slice_across_shards_keeps_the_stored_type(three: TokenShards) -> None:
    assert three.slice(0, 7).dtype == three.slice(0, 1).dtype == np.uint16


@pytest.mark.parametrize("bounds", [(-1, 2), (3, 2), (0, 8), (8, 8)])
def test_slice_outside_the_stream_is_refused(three: TokenShards, bounds: tuple[int, int]) -> None:
    with pytest.raises(IndexError, match="a stream of 7 tokens"):
        three.slice(*bounds)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shards=st.lists(
        st.lists(st.lists(st.integers(0, 299), min_size=1, max_size=4), max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_every_slice_of_any_shards_equals_the_slice_of_the_list(
    tmp_path: Path, shards: list[list[list[int]]]
) -> None:
    paths = [write(tmp_path / f"{i}.arrow", *documents) for i, documents in enumerate(shards)]
    stream = [token for documents in shards for document in documents for token in document]
    opened = open_shards(paths)
    for start in range(len(stream) + 1):
        for stop in range(start, len(stream) + 1):
            assert opened.slice(start, stop).tolist() == stream[start:stop]


@pytest.mark.parametrize(
    ("n_vocab", "stored"), [(65_535, pa.uint16()), (65_536, pa.uint32()), (100_000, pa.uint32())]
)
def test_ids_are_stored_as_narrow_as_the_vocabulary_allows(
    tmp_path: Path, n_vocab: int, stored: pa.DataType
) -> None:
    vocabulary = Vocabulary("cd", n_vocab, n_vocab - 1)
    path = write(tmp_path / "a.arrow", [0, n_vocab - 1], vocabulary=vocabulary)
    table = pa.ipc.open_file(path).read_all()
    assert table.schema.field("tokens").type.value_type == stored
    assert open_shards([path]).slice(0, 2).tolist() == [0, n_vocab - 1]


@pytest.mark.parametrize("bad", [300, 65_536 + 5, -1])
def test_id_outside_the_vocabulary_is_not_written(tmp_path: Path, bad: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= id < 300"):
        write(tmp_path / "a.arrow", [1, bad])


def test_file_is_one_plain_record_batch_that_any_arrow_reader_opens(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", [1, 2, 299], [299])
    reader = pa.ipc.open_file(path)
    table = reader.read_all()
    assert reader.num_record_batches == 1
    assert table.to_pydict() == {
        "doc_id": ["a-0", "a-1"],
        "tokens": [[1, 2, 299], [299]],
        "n_bytes": [9, 3],
    }
    assert not any(field.nullable for field in table.schema)
    assert table.schema.metadata == {
        b"format_version": b"1",
        b"tokenizer_sha256": b"ab" * 32,
        b"n_vocab": b"300",
        b"eot_id": b"299",
    }


def test_datasets_loads_the_files_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    paths = [write(tmp_path / f"{name}.arrow", [1, 2, 299], [299]) for name in "ab"]
    found = datasets.load_dataset(
        "arrow", data_files=list(map(str, paths)), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert found["tokens"][:] == [[1, 2, 299], [299]] * 2
    assert found["doc_id"][:] == ["a-0", "a-1", "b-0", "b-1"]


def test_shards_yield_ids_and_lengths_without_a_copy(three: TokenShards) -> None:
    found = [(values.tolist(), lengths.tolist()) for values, lengths in three.shards()]
    assert found == [([1, 2, 299, 299], [3, 1]), ([], []), ([7, 8, 299], [3])]
    first, _ = next(three.shards())
    assert np.shares_memory(first, three.slice(0, 4))


def test_values_lie_in_the_file_as_they_lie_in_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", list(range(100, 164)))
    assert np.arange(100, 164, dtype="<u2").tobytes() in path.read_bytes()


def test_same_documents_give_the_same_bytes_as_lists_and_as_arrays(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", [1, 2, 299])
    other = tmp_path / "other.arrow"
    write_shard(other, ["a-0"], [np.array([1, 2, 299], np.uint32)], [9], VOCABULARY)
    assert path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    "other", [Vocabulary("ff", 300, 299), Vocabulary("ab" * 32, 400, 299)], ids=["digest", "size"]
)
def test_shards_of_two_tokenizers_are_refused_by_name(tmp_path: Path, other: Vocabulary) -> None:
    paths = [write(tmp_path / "a.arrow", [1]), write(tmp_path / "b.arrow", [1], vocabulary=other)]
    with pytest.raises(ShardError, match=r"b\.arrow.*a\.arrow.*expected one tokenizer.*dvc repro"):
        open_shards(paths)


def test_no_shard_and_a_missing_shard_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="dvc repro encode"):
        open_shards([])
    with pytest.raises(FileNotFoundError, match=r"absent\.arrow is missing.*dvc repro encode"):
        open_shards([tmp_path / "absent.arrow"])


def test_truncated_shard_is_refused_at_every_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", list(range(50)))
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(ShardError, match=r"a\.arrow"):
            open_shards([path])


def _foreign_files(folder: Path) -> dict[str, Path]:
    table = pa.ipc.open_file(write(folder / "good.arrow", [1], [2])).read_all()
    pq.write_table(table, folder / "parquet")
    tables = {
        "no_metadata": [table.replace_schema_metadata(None)],
        "two_batches": [table.slice(0, 1), table.slice(1, 1)],
        "no_batch": [],
        "fewer_columns": [table.drop_columns(["n_bytes"])],
        "other_version": [
            table.replace_schema_metadata({**table.schema.metadata, b"format_version": b"9"})
        ],
    }
    for name, parts in tables.items():
        with pa.ipc.new_file(folder / name, (parts or [table])[0].schema) as writer:
            for part in parts:
                writer.write_table(part)
    return {name: folder / name for name in [*tables, "parquet"]}


@pytest.mark.parametrize(
    "name",
    ["parquet", "no_metadata", "two_batches", "no_batch", "fewer_columns", "other_version"],
)
def test_other_file_is_no_token_shard(tmp_path: Path, name: str) -> None:
    with pytest.raises(ShardError, match=rf"{name}.*dvc repro encode"):
        open_shards([_foreign_files(tmp_path)[name]])


def test_windows_over_a_long_stream_cover_it_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    paths = [
        write(tmp_path / f"{i}.arrow", *rng.integers(0, 300, (5, 40)).tolist()) for i in range(6)
    ]
    opened = open_shards(paths)
    edges = [*range(0, opened.n_tokens, 37), opened.n_tokens]
    joined = np.concatenate([opened.slice(a, b) for a, b in pairwise(edges)])
    assert np.array_equal(joined, opened.slice(0, opened.n_tokens))


def test_documents_of_a_stream_say_where_each_begins(three: TokenShards) -> None:
    told = three.documents()
    assert told["doc_id"].to_pylist() == ["a-0", "a-1", "c-0"]
    assert told["start"].to_pylist() == [0, 3, 4]
    assert told["n_tokens"].to_pylist() == [3, 1, 3]
    assert three.slice(4, 7).tolist() == [7, 8, 299]

"""The corpus root: one value for one set of documents, however they lie in files."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine import root
from pipeline.engine.tasks import Engine, InlineEngine
from pipeline.store import manifest, records, shards
from pipeline.store.errors import ManifestError
from pipeline.store.shards import Counts, FileInfo

DOCUMENTS = {records.doc_id(f"example.org/{i}"): f"Text {i} …\n" * (i % 5) for i in range(60)}


def write_corpus(folder: Path, parts: Sequence[dict[str, str]]) -> Path:
    """Writes documents into one train and one validation file per part."""
    files = {}
    for index, part in enumerate(parts):
        for split in ("train", "valid"):
            mine = {i: t for i, t in part.items() if records.is_validation(i) == (split == "valid")}
            path = folder / split / f"part-{index:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            columns = {"doc_id": list(mine), "text": list(mine.values())}
            schema = pa.schema([("doc_id", pa.string()), ("text", pa.string())])
            shards.write_table(path, pa.table(columns, schema=schema))
            files[f"{split}/{path.name}"] = FileInfo(
                n_bytes=path.stat().st_size, sha256=shards.sha256_file(path), rows=len(mine)
            )
    n = sum(map(len, parts))
    manifest.write(
        folder, "decontaminate", files, Counts(n_in=n, n_out=n, dropped={}), {}, len(parts)
    )
    return folder


def expected(documents: dict[str, str]) -> str:
    """The definition, written again."""
    lines = [f"{i} {hashlib.sha256(t.encode()).hexdigest()}\n" for i, t in documents.items()]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


@pytest.mark.parametrize("n_parts", [1, 2, 7, 61])
def test_root_of_any_sharding_and_order_is_the_definition(
    workspace: Path, inline: Engine, n_parts: int
) -> None:
    shuffled = list(DOCUMENTS.items())
    random.Random(n_parts).shuffle(shuffled)
    parts = [dict(shuffled[i::n_parts]) for i in range(n_parts)]
    corpus = write_corpus(workspace / "corpus", parts)
    assert root.run(corpus, inline) == expected(DOCUMENTS)


def test_root_on_ray_is_the_root_of_one_process(workspace: Path, ray_engine: Engine) -> None:
    corpus = write_corpus(workspace / "corpus", [DOCUMENTS])
    assert root.run(corpus, ray_engine) == expected(DOCUMENTS)


@settings(deadline=None, max_examples=15)
@given(
    documents=st.dictionaries(
        st.integers(0, 2**64 - 1).map("{:016x}".format),
        st.text(st.characters(exclude_categories=["Cs"])),
        max_size=12,
    ),
    rows=st.integers(1, 13),
)
def test_digest_in_slices_is_the_definition(
    tmp_path_factory: pytest.TempPathFactory, documents: dict[str, str], rows: int
) -> None:
    folder = tmp_path_factory.mktemp("digests")
    columns = [
        list(documents),
        [hashlib.sha256(t.encode()).hexdigest() for t in documents.values()],
    ]
    schema = pa.schema([("doc_id", pa.string()), ("sha256", pa.string())])
    table = pa.table([pa.array(c, pa.string()) for c in columns], schema=schema)
    half = len(documents) // 2
    for name, part in (("a", table[half:]), ("b", table[:half])):
        shards.write_table(folder / name, part)
    assert root.digest(sorted(folder.iterdir()), rows) == expected(documents)


@pytest.mark.parametrize("change", ["text", "id", "one less"])
def test_root_notices_any_change(workspace: Path, change: str) -> None:
    other = dict(DOCUMENTS)
    victim = sorted(other)[17]
    text = other.pop(victim)
    if change == "text":
        other[victim] = text + " "
    if change == "id":
        other["0" * 16] = text
    corpus = write_corpus(workspace / "corpus", [other])
    assert root.run(corpus, InlineEngine()) != expected(DOCUMENTS)


def test_root_of_damaged_corpus_is_refused(workspace: Path, inline: Engine) -> None:
    corpus = write_corpus(workspace / "corpus", [DOCUMENTS])
    victim = corpus / "train" / "part-00000.parquet"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with pytest.raises(ManifestError, match=r"part-00000.parquet has SHA-256"):
        root.run(corpus, inline)

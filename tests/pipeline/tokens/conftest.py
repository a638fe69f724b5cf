"""A corpus folder as `decontaminate` leaves it, made of prose that every Python carries."""

import ast
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.store import manifest
from pipeline.store.manifest import Counts, FileInfo
from pipeline.store.records import doc_id
from pipeline.store.shards import sha256_file

LIBRARY = Path(textwrap.__file__).parent
MODULES = (
    "argparse ast calendar configparser csv datetime difflib doctest ftplib heapq imaplib inspect "
    "mailbox optparse pickle random shutil statistics string tarfile textwrap zipfile"
)

Shards = Sequence[tuple[Sequence[str], Sequence[str]]]
MakeCorpus = Callable[[Shards], Path]


@pytest.fixture(scope="session")
def prose() -> list[str]:
    """Docstrings of the standard library: several hundred documents, 250 kB."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    trees = [ast.parse((LIBRARY / f"{name}.py").read_bytes()) for name in MODULES.split()]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)]
    texts = [ast.get_docstring(node) or "" for node in nodes]
    return sorted({text for text in texts if len(text) > 80})


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """Writes shards of (train texts, validation texts) as a sealed folder."""

    def make(shards: Shards) -> Path:
        folder = tmp_path / "data" / "corpus"
        files = {}
        for index, parts in enumerate(shards):
            for split, texts in zip(("train", "valid"), parts, strict=True):
                path = folder / split / f"part-{index:05d}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                ids = [doc_id(f"{index}/{split}/{row}") for row in range(len(texts))]
                pq.write_table(
                    pa.table({"doc_id": ids, "text": pa.array(texts, pa.string())}), path
                )
                info = FileInfo(
                    n_bytes=path.stat().st_size, sha256=sha256_file(path), rows=len(texts)
                )
                files[path.relative_to(folder).as_posix()] = info
        total = sum(len(texts) for parts in shards for texts in parts)
        counts = Counts(n_in=total, n_out=total, dropped={})
        manifest.write(folder, "decontaminate", files, counts, {}, len(shards))
        return folder

    return make

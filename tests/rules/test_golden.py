"""A step's bytes may change only together with its fingerprints.

Each data step runs on a fixed input with the settings of the committed params.yaml. Equal
fingerprints with other bytes mean that something decides bytes that the identity leaves out: bump
`pipeline.store.shards.FORMAT_VERSION`, or name the library in the step. Other fingerprints mean
that the step was changed: `make golden` records them, and the diff shows whether bytes changed too.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.engine import shardmap
from pipeline.engine.identity import ROOT, Step
from pipeline.engine.tasks import InlineEngine
from pipeline.overlap import decontaminate, dedup
from pipeline.store import manifest, records, shards
from pipeline.store.shards import ShardDraft
from pipeline.text import clean
from pipeline.tokens import bpe, encode
from stages import params

GOLDEN = Path(__file__).with_name("golden.json")
WORDS = """
the of and to in is that for with as on by this from or are be which an it at when
where reader writer shard corpus token model layer window page link host crawl text
clean unique returns writes reads keeps drops holds counts gives takes makes finds
builds splits joins
""".split()
N_SHARDS, N_PAGES = 3, 24


def number(*keys: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(keys).encode()).digest()[:4])


def sentence(*keys: object) -> str:
    words = [WORDS[number(*keys, i) % len(WORDS)] for i in range(6 + number(*keys) % 9)]
    return " ".join(words).capitalize() + "."


def page(shard: int, index: int) -> dict[str, Any]:
    source = (0, index) if index % 8 == 7 else (shard, index)  # some pages stand in every shard
    text = "\n".join(
        " ".join(sentence(*source, p, s) for s in range(5)) for p in range(2 + index % 4)
    )
    url = f"http://golden.test/{shard}/{index}"
    return {
        "doc_id": records.doc_id(f"golden.test/{shard}/{index}"),
        "url": url,
        "host": "golden.test",
        "domain": "golden.test",
        "created_utc": 1_500_000_000 + number(shard, index) % 1_000_000,
        "captured_on": "2017-12-01",
        "charset": "utf-8",
        "charset_source": "header",
        "html_bytes": len(text),
        "extractor": "trafilatura",
        "text": text.replace("reader", "readerâ€™s") if index % 5 == 0 else text,
    }


def write_pages(inputs: tuple[Path, ...], draft: ShardDraft, shard: int) -> None:
    rows = sorted((page(shard, i) for i in range(N_PAGES)), key=lambda row: row["doc_id"])
    draft.count_in(len(rows))
    draft.count_out(len(rows))
    draft.write_table("part.parquet", pa.Table.from_pylist(rows, records.PAGES))


def measure(folder: Path) -> dict[str, dict[str, str]]:
    """Runs the steps in a folder; returns digests of their fingerprints and of their bytes."""
    os.chdir(folder)
    engine = InlineEngine()
    made = []
    for shard in range(N_SHARDS):
        step = Step(name="pages", code="pipeline.store.records", config={"shard": shard})
        work = write_page_of(shard)
        made += shardmap.intermediate(step, [[]], work, engine).shards
        Path(".shards/pages").rename(f".pages-{shard}")
        made[-1] = shards.load(Path(f".pages-{shard}") / made[-1].fingerprint)
    manifest.link_shards(Path("pages"), "extract", made)
    evaluation = Path("eval")
    evaluation.mkdir()
    rows = [
        {
            "set": "golden",
            "split": "test",
            "example_id": "0",
            "text": page(0, 1)["text"],
            "fields": "{}",
        }
    ]
    shards.write_table(evaluation / "golden.parquet", pa.Table.from_pylist(rows, records.EVAL))
    file = ROOT / "params.yaml"
    clean.run(Path("pages"), Path("clean"), params.load("clean", clean.Config, file), engine)
    dedup.run(Path("clean"), Path("unique"), params.load("dedup", dedup.Config, file), engine)
    settings = params.load("decontaminate", decontaminate.Config, file)
    decontaminate.run(Path("unique"), evaluation, Path("corpus"), settings, engine)
    vocabulary = bpe.Config(source="train", files=None, n_vocab=400, min_pair_count=2)
    bpe.run(Path("corpus"), Path("bpe"), vocabulary)
    encode.run(Path("corpus"), Path("bpe"), Path("tokens"), engine)
    return {
        name: {"fingerprints": fingerprints(name), "bytes": root(Path(folder_name))}
        for name, folder_name in [
            ("clean", "clean"),
            ("dedup", "unique"),
            ("decontaminate", "corpus"),
            ("encode", "tokens"),
        ]
    }


def write_page_of(shard: int) -> shardmap.Work:
    return lambda inputs, draft: write_pages(inputs, draft, shard)


def fingerprints(stage: str) -> str:
    """Digest of the names of all shards that a stage left in the store."""
    found = sorted(
        f"{folder.name}/{shard.name}"
        for folder in Path(".shards").glob(f"{stage}*")
        for shard in folder.iterdir()
    )
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def root(folder: Path) -> str:
    """Digest of the data files of a folder, sidecars left out: those hold the fingerprints."""
    told = json.loads((folder / manifest.NAME).read_bytes())["files"]
    data = sorted(f"{n} {i['sha256']}" for n, i in told.items() if not n.endswith(".json"))
    return hashlib.sha256("\n".join(data).encode()).hexdigest()[:16]


@pytest.mark.parametrize("step", ["clean", "dedup", "decontaminate", "encode"])
def test_bytes_change_only_with_fingerprints(
    step: str, measured: dict[str, dict[str, str]]
) -> None:
    recorded, now = json.loads(GOLDEN.read_bytes())[step], measured[step]
    if now["bytes"] != recorded["bytes"]:
        assert now["fingerprints"] != recorded["fingerprints"], (
            "bytes changed, fingerprints did not"
        )
    assert now == recorded, f"{step} was changed: look at its output, then `make golden`"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Any:
    before = Path.cwd()
    yield measure(tmp_path_factory.mktemp("golden"))
    os.chdir(before)


if __name__ == "__main__":
    GOLDEN.write_bytes(shards.to_json(measure(Path(sys.argv[1]))))

"""A removal from list to proof on the WARC file that we ship: extract to tokens, in one process."""

import importlib
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.store import manifest
from pipeline.store.errors import ShardError
from stages import ledger, removal
from tests.rules.test_small_warc import STAGES, lay_out

LISTED = "twice.test\nhttps://engine-room.test/notes/3\nhttp://engine-room.test/notes/0\n"


def build() -> str:
    """Runs all stages from extract to encode; returns the corpus root."""
    for stage in [*STAGES, "bpe", "encode"]:
        figures = importlib.import_module(f"stages.{stage}").main()
        if stage == "decontaminate":
            root = figures["root"]
    return str(root)


def kept_of(stage: str) -> set[tuple[str, int]]:
    """The shards of a step in the store, as files."""
    return {(p.parent.name, p.stat().st_ino) for p in Path(".shards", stage).glob("*/shard.json")}


@pytest.mark.slow
def test_removal_from_list_to_proof(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOUND_ENGINE", "inline")
    lay_out(workspace, 3)
    text = Path("params.yaml").read_text()
    n_vocab = text.index("  n_vocab: ")
    end = text.index("\n", n_vocab)
    Path("params.yaml").write_text(text[:n_vocab] + "  n_vocab: 600" + text[end:])
    before = build()
    paths = manifest.load(Path("data/pages"), "extract").paths()
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    pages = {row["doc_id"]: row["url"] for row in rows}
    is_gone = [
        doc_id
        for doc_id, url in pages.items()
        if "twice.test" in url or url.endswith(("/notes/3", "/notes/0"))
    ]
    cleaned = {stage: kept_of(stage) for stage in ("extract", "clean", "dedup-signatures")}

    Path("removal.txt").write_text(LISTED)
    with pytest.raises(ShardError, match=r"left: \d+ in data/clean .*run `dvc repro`"):
        list(removal.told(Path("removal.txt")))

    assert build() != before
    told = list(removal.told(Path("removal.txt")))
    assert told[0] == f"removal.txt: {len(is_gone)} documents of data/pages and data/documents"
    assert [line for line in told if "left in" in line] == [
        f"    left in data/{name}: 0"
        for name in ("clean", "unique", "corpus", "tokens", "eval", "labelled")
    ]
    assert "no step read any of them" in told[-1]
    # notes/0 was the survivor of copies on mirror.test; one of those stands in its place.
    stay = [line for line in told if " stays, with " in line]
    assert any("mirror.test" in pages[line.split()[1]] for line in stay)

    # Two of three shards were hit; extract and the third keep everything.
    assert kept_of("extract") == cleaned["extract"]
    for stage, n_kept in (("clean", 1), ("dedup-signatures", 2)):  # the planted controls stay too
        assert len(kept_of(stage) & cleaned[stage]) == n_kept, stage
    fates = list(ledger.of_document(min(is_gone)))
    assert any(line.startswith("clean         dropped: removed (") for line in fates)

    # Without an index beside it the WARC file is read through: the record is found all the same.
    kept = next(doc_id for doc_id in pages if doc_id not in is_gone)
    record = next(line for line in ledger.of_document(kept) if line.startswith("record"))
    assert re.fullmatch(r"record        data/warc/part-0000\d.warc.gz at byte \d+", record)

    Path("removal.txt").write_text("")
    assert build() == before
    assert "removed" not in manifest.load(Path("data/clean"), "clean").counts.dropped

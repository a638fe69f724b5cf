"""The ledger on a whole run: origins, steps, the root, removal; two runs give one corpus."""

import json
import re
import zlib
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from model.training import lineage
from model.training.data import Windows
from pipeline.store import ledger, manifest, origin
from pipeline.store.inquiry import id_of
from pipeline.text import captures
from pipeline.tokens import arrow, codec
from tests.e2e.conftest import Project
from tests.e2e.recipes import follow

pytestmark = pytest.mark.e2e


def root_of(project: Project) -> str:
    told = json.loads((project.root / "metrics" / "decontaminate.json").read_bytes())
    return str(told["root"])


def texts(project: Project, split: str) -> dict[str, str]:
    paths = manifest.load(project.root / "data" / "corpus", "decontaminate").paths(split)
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    return {row["doc_id"]: row["text"] for row in rows}


def test_two_runs_crawl_included_give_equal_roots(
    finished: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The second one in a fresh copy, in one process instead of two workers."""
    second = Project(tmp_path_factory.mktemp("second"))
    assert second.python("stages.configure", "size=tiny").returncode == 0
    done = second.python("stages.repro", "decontaminate", OUTBOUND_ENGINE="inline")
    assert done.returncode == 0, done.stderr[-3000:]
    assert root_of(second) == root_of(finished)
    asked = second.python("stages.ledger", "--root")
    assert asked.stdout == f"{root_of(finished)}\n"


def test_every_kept_document_has_its_record_and_its_submissions(finished: Project) -> None:
    data = finished.root / "data"
    opened = ledger.load(data)
    kept = [*texts(finished, "train"), *texts(finished, "valid")]

    def no_scan(path: Path) -> dict[str, int]:
        raise AssertionError(f"{path} has an index")

    found = origin.origins(opened, data, kept, no_scan)
    scanned = {p: captures.offsets(p) for p in sorted((data / "warc").glob("*.warc.gz"))}
    assert list(found) == kept
    for one in found.values():
        assert scanned[Path(one.warc)][one.doc_id] == one.offset
        with Path(one.warc).open("rb") as file:
            file.seek(one.offset or 0)
            record = zlib.decompressobj(31).decompress(file.read())
        assert f"Outbound-Link: {one.url}\r\n".encode() in record
        assert id_of(one.url) == one.doc_id
        assert one.submissions
        assert max(s["score"] for s in one.submissions) >= 3


def test_steps_of_the_trained_model_read_the_documents_that_the_ledger_names(
    finished: Project,
) -> None:
    """The loader's batches, decoded: every piece of text stands in a document that is named."""
    data = finished.root / "data"
    settings = YAML(typ="safe").load(finished.root / "params.yaml")
    (run,) = lineage.runs(data / "tokens", settings, finished.root / "models" / "checkpoints")
    assert run.name != lineage.AT_HAND, "the run wrote down what it read"
    assert run.checkpoints == (10, 20)
    stream = arrow.open_shards(manifest.load(data / "tokens", "encode").paths("train"))
    coder = codec.load(data / "bpe" / "tokenizer.json")
    windows = Windows(stream, run.plan.n_ctx, settings["train"]["seed"])
    corpus = texts(finished, "train")
    steps = defaultdict(set)
    for step in range(run.plan.steps):
        inputs, targets = windows.batch(windows.ids(step, run.plan.batch_size))
        rows = np.concatenate([inputs.numpy(), targets.numpy()[:, -1:]], axis=1)
        told = run.documents_of(step)
        assert sum(told.values()) == rows.size
        for row in rows:
            for piece in np.split(row, np.flatnonzero(row == stream.eot_id) + 1):
                text = coder.decode(piece[piece != stream.eot_id]).strip("\ufffd")
                assert any(text in corpus[doc_id] for doc_id in told), (step, text)
        for doc_id in told:
            steps[doc_id].add(step)
    told_back = {
        doc_id: {step for epoch in epochs.values() for step in epoch}
        for doc_id, epochs in run.steps_of(sorted(corpus)).items()
    }
    assert told_back == steps
    assert run.steps_of(sorted(texts(finished, "valid"))) == {}


def test_ledger_command_tells_url_step_and_table(finished: Project, tmp_path: Path) -> None:
    asked = finished.python("stages.ledger", "--step", "3", "--out", str(tmp_path / "s.parquet"))
    assert asked.returncode == 0, asked.stderr
    first = re.search(r"doc_id (\w{16})  \d+ tokens  (\S+)", asked.stdout)
    assert first is not None
    rows = pq.read_table(tmp_path / "s.parquet").to_pylist()
    assert first[1] in {row["doc_id"] for row in rows}
    assert all(row["offset"] is not None and row["submissions"] for row in rows)
    told = finished.python("stages.ledger", "--url", first[2]).stdout
    assert "encode        kept" in told
    assert re.search(r"record        data/warc/part-\d{5}.warc.gz at byte \d+", told)
    steps = re.findall(r"epoch \d+: steps ([\d ]+)", told)
    assert 3 in {int(step) for line in steps for step in line.split()}
    unknown = finished.python("stages.ledger", "--url", "http://never.test/x")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("error: doc_id ")
    assert finished.python("stages.ledger").returncode == 2


def test_verify_of_a_run_is_equal_and_plain_repro_leaves_it_alone(
    finished: Project, tmp_path: Path
) -> None:
    project = finished.clone(tmp_path / "verified")
    dry = project.python("dvc", "repro", "--dry").stdout
    assert "verify" not in dry
    done = project.python("stages.verify", OUTBOUND_ENGINE="inline")
    assert done.returncode == 0, done.stderr
    told = json.loads((project.root / "metrics" / "verify.json").read_bytes())
    assert told.pop("documents") == {"n_checked": 0, "n_equal": 0}  # nobody brought any
    assert set(told) == {"links", "extract", "clean", "dedup", "decontaminate", "encode"}
    assert all(0 < stage["n_equal"] == stage["n_checked"] for stage in told.values())


def test_removal_of_a_domain_rebuilds_what_it_touches_and_names_who_saw_it(
    finished: Project, tmp_path: Path
) -> None:
    project = finished.clone(tmp_path / "removed")
    steps_of = trained_documents(project)
    seen = max(steps_of, key=lambda doc_id: len(steps_of[doc_id]))
    (found,) = origins(project, [seen])
    host = urlsplit(found.url).hostname or ""
    (project.root / "asked.txt").write_text(f"{host}\n")
    early = project.python("stages.removal", "asked.txt", OUTBOUND_ENGINE="inline")
    assert early.returncode == 1
    assert "8-grams that only removed documents hold are left" in early.stderr

    done = follow(project, "Take a domain out again", "example.org", host)
    assert done.returncode == 0, done.stderr
    assert "Running stage 'extract'" not in done.stdout
    assert "clean: 7 of 8 shards kept from an earlier run" in done.stderr
    assert "dedup-signatures: 8 of 9 shards kept" in done.stderr  # one holds the planted controls
    assert re.search(r"in no other page\n(    left in data/\w+: 0\n){5}", done.stdout)
    (line,) = re.findall(rf"doc_id {seen}: steps ([\d ]+)", done.stdout)
    assert [int(step) for step in line.split()] == steps_of[seen]
    assert re.search(r"run \w{16}: .* saw them: .*step-00000020", done.stdout)
    assert f"run {lineage.AT_HAND}: no step read any of them" in done.stdout


def trained_documents(project: Project) -> dict[str, list[int]]:
    settings = YAML(typ="safe").load(project.root / "params.yaml")
    checkpoints = project.root / "models" / "checkpoints"
    (run,) = lineage.runs(project.root / "data" / "tokens", settings, checkpoints)
    told = run.steps_of(sorted(texts(project, "train")))
    return {d: sorted({s for e in epochs.values() for s in e}) for d, epochs in told.items()}


def origins(project: Project, doc_ids: list[str]) -> list[origin.Origin]:
    data = project.root / "data"
    return list(origin.origins(ledger.load(data), data, doc_ids, captures.offsets).values())

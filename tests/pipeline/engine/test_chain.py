"""The plan of the whole chain: volumes and costs by hand, what binds, what must not shrink."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine import chain, costs
from pipeline.engine.chain import Asked
from pipeline.engine.costs import Corpus, Costs, Crawl, Node, Stage

STAGE = Stage(
    fixed_cpu_s=10.0,
    cpu_s_per_mb=0.5,
    cpu_s_per_document=0.001,
    fixed_peak_bytes=1e8,
    peak_bytes_per_mb=1e6,
    largest_shard_mb=50.0,
    fixed_disk_bytes=1e6,
    disk_bytes_per_mb=5e5,
)
CRAWL = Crawl(
    cpu_s_per_page=0.002,
    html_bytes_per_page=40_000.0,
    wire_bytes_per_page=10_000.0,
    warc_bytes_per_page=12_000.0,
    fixed_peak_bytes=1e8,
    peak_bytes_per_link=1000.0,
)
CORPUS = Corpus(
    pages_per_link=0.5,
    documents_per_page=0.4,
    bytes_per_document=5000.0,
    bytes_per_token=4.0,
    n_vocab=50_257,
    largest_host_frac=0.01,
    source="this test",
)
NODE = Node(cores=8, memory_gb=64.0, gpus=0, device=None, usd_per_hour=2.0, source="this test")
KNOWN = Costs(
    measured={"stages": {"date": "2026-01-01", "machine": "a machine", "benchmark": "a command"}},
    start_cpu_s=10.0,
    bytes_per_word=900.0,
    stages=dict.fromkeys(("extract", "clean", "dedup", "decontaminate", "bpe", "encode"), STAGE),
    crawl=CRAWL,
    corpora={"webtext": CORPUS},
    nodes={"node": NODE},
)
ASKED = Asked(
    n_links=1_000_000,
    corpus=CORPUS,
    partitions=16,
    max_warc_bytes=10**9,
    hosts=100,
    min_delay_s=2.0,
    stop_after_s=None,
    node=NODE,
    n_nodes=1,
)


def test_volumes_by_hand() -> None:
    found = chain.volumes(ASKED, KNOWN)
    assert (found.pages, found.documents) == (500_000, 200_000)
    assert (found.html_mb, found.page_text_mb, found.text_mb) == (20_000.0, 2_500.0, 1_000.0)
    assert found.tokens == 250_000_000 + 200_000  # each document's end is a token, too
    assert found.warc_bytes == 6_000_000_000
    assert found.warc_files == 16  # 375 MB each
    assert chain.volumes(ASKED._replace(max_warc_bytes=10**8), KNOWN).warc_files == 16 * 4


def test_costs_of_a_stage_by_hand() -> None:
    told = chain.make(ASKED, KNOWN)["stages"]["clean"]
    assert told["cpu_s"] == 10 + 0.5 * 2_500
    assert told["seconds"] == told["cpu_s"] / 8
    assert told["worker_bytes"] == 1e8 + 1e6 * 2_500 / 16
    assert told["disk_bytes"] == 1e6 + 5e5 * 2_500


def test_sums_are_those_of_the_stages() -> None:
    plan = chain.make(ASKED, KNOWN)
    stages = plan["stages"].values()
    assert plan["core_hours"] == pytest.approx(sum(one["cpu_s"] for one in stages) / 3600)
    assert plan["disk_bytes"] == sum(one["disk_bytes"] for one in stages)
    assert plan["days"] == pytest.approx(sum(one["seconds"] for one in stages) / 86_400)
    assert plan["usd"] == pytest.approx(2.0 * 24 * plan["days"])


@pytest.mark.parametrize(
    ("changed", "binding", "seconds"),
    [
        ({"min_delay_s": 2.0}, "largest host", 10_000 * 2.0),
        ({"hosts": 1}, "open hosts", 1_000_000 / (8 * 0.5)),
        ({"min_delay_s": 0.0}, "cores", 1_000_000 * 0.002 / 8),
        ({"stop_after_s": 60.0}, "crawl.stop_after_s", 60.0),
        ({"stop_after_s": 1e9}, "largest host", 10_000 * 2.0),
    ],
)
def test_crawl_lasts_as_long_as_what_binds_it(
    changed: dict[str, Any], binding: str, seconds: float
) -> None:
    crawl = chain.make(ASKED._replace(**changed), KNOWN)["stages"]["crawl"]
    assert (crawl["binding"], crawl["seconds"]) == (binding, pytest.approx(seconds))


def test_more_nodes_do_not_shorten_the_largest_host() -> None:
    one, many = (chain.make(ASKED._replace(n_nodes=n), KNOWN) for n in (1, 2))
    assert one["stages"]["crawl"]["seconds"] == many["stages"]["crawl"]["seconds"]
    assert many["stages"]["clean"]["seconds"] == one["stages"]["clean"]["seconds"] / 2
    assert many["core_hours"] == one["core_hours"]


def test_little_memory_means_fewer_workers_and_none_is_said() -> None:
    small = replace(NODE, memory_gb=0.6)  # two workers of 0.26 GB
    plan = chain.make(ASKED._replace(node=small), KNOWN)
    assert plan["stages"]["clean"]["workers"] == 2
    tiny = chain.make(ASKED._replace(node=replace(NODE, memory_gb=0.2)), KNOWN)
    assert tiny["stages"]["clean"]["workers"] == 1
    lines = list(chain.table(tiny, KNOWN))
    assert "clean does not fit a node's memory: lower crawl.max_warc_bytes" in lines
    words = "bpe also holds every distinct word, 0.90 kB each; bpe.source: files learns none"
    assert words in lines
    assert not [line for line in chain.table(plan, KNOWN) if "clean does not fit" in line]


def test_files_that_leave_no_core_idle_are_the_largest_half() -> None:
    few = ASKED._replace(node=replace(NODE, memory_gb=4.0))

    def idle(max_warc_bytes: int) -> list[str]:
        stages = chain.make(few._replace(max_warc_bytes=max_warc_bytes), KNOWN)["stages"]
        return [n for n, one in stages.items() if n not in ("bpe", "crawl") and one["workers"] < 8]

    plan = chain.make(few, KNOWN)
    enough = plan["max_warc_bytes_for_all_cores"]
    assert idle(ASKED.max_warc_bytes) == ["extract"]
    assert idle(enough) == []
    assert idle(2 * enough) == ["extract"]
    said = f"memory leaves cores idle; crawl.max_warc_bytes: {enough} would use all"
    assert said in list(chain.table(plan, KNOWN))
    wide = chain.make(ASKED, KNOWN)
    assert wide["max_warc_bytes_for_all_cores"] == ASKED.max_warc_bytes
    assert not [line for line in chain.table(wide, KNOWN) if "idle" in line]
    none = chain.make(ASKED._replace(node=replace(NODE, memory_gb=0.2)), KNOWN)
    assert none["max_warc_bytes_for_all_cores"] is None


@pytest.mark.parametrize("changed", [{"n_links": 0}, {"n_nodes": 0}])
def test_figures_out_of_range_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected x >= 1"):
        ASKED._replace(**changed).check()


def plain() -> dict[str, Any]:
    return {"format": costs.FORMAT, **asdict(KNOWN)}


def test_constants_are_read_back(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text(json.dumps(plain()))
    assert costs.load(tmp_path / "costs.json") == KNOWN


@pytest.mark.parametrize(
    "broken",
    [
        b"{",
        json.dumps({**plain(), "format": 0}).encode(),
        json.dumps({**plain(), "crawl": {}}).encode(),
        json.dumps({**plain(), "stages": {"clean": {"cpu_s": 1}}}).encode(),
        json.dumps({k: v for k, v in plain().items() if k != "nodes"}).encode(),
        b"[]",
    ],
)
def test_broken_constants_are_refused_with_a_remedy(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "costs.json").write_bytes(broken)
    with pytest.raises(ValueError, match=r"costs\.json cannot be read .*mend it or run"):
        costs.load(tmp_path / "costs.json")


def test_missing_constants_name_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"benchmarks\.scaling --calibrate"):
        costs.load(tmp_path / "costs.json")

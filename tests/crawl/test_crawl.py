"""The crawl as a stage: from links and an embedded web to two sealed folders."""

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crawl import crawl
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, shards, warc
from pipeline.store.errors import ManifestError
from pipeline.store.shards import Counts, FileInfo
from tests.crawl.site import LIMITS, PACE, TYPES, write_links

CONFIG = crawl.Config(
    source="demo",
    contact=None,
    product="OutboundBot",
    captured_at="2017-12-01T00:00:00Z",
    stop_after_s=None,
    max_warc_bytes=1 << 30,
    ports=(80, 443),
    content_types=TYPES,
    enforced_opt_outs=("noai",),
    max_redirects=3,
    max_url_chars=2083,
    pace=PACE,
    limits=LIMITS,
)
PAGES = [f"http://{host}/{i}" for host in ("a.test", "b.test") for i in range(3)]


def _web(folder: Path, addresses: list[str], status: int = 200) -> Path:
    """Writes an embedded web that answers these addresses."""
    rows = [
        {
            "host": address.split("/")[2],
            "path": "/" + address.split("/", 3)[3],
            "status": status,
            "headers": [{"name": "Content-Type", "value": "text/html"}],
            "body": f"<p>{address}".encode(),
            "behaviour": "",
        }
        for address in addresses
    ]
    return _folder(folder, "demo", [pa.Table.from_pylist(rows, records.WEB)])


def _links(folder: Path, *parts: list[str]) -> Path:
    tables = []
    for addresses in parts:
        table = pq.read_table(write_links(folder / "scratch.parquet", addresses))
        tables.append(table.cast(records.LINKS))
    return _folder(folder, "links", tables)


def _folder(folder: Path, step: str, tables: list[pa.Table]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    files, n_rows = {}, 0
    for index, table in enumerate(tables):
        path = folder / f"part-{index:05d}.parquet"
        shards.write_table(path, table)
        n_rows += table.num_rows
        files[path.name] = FileInfo(
            n_bytes=path.stat().st_size, sha256=shards.sha256_file(path), rows=table.num_rows
        )
    counts = Counts(n_in=n_rows, n_out=n_rows, dropped={})
    manifest.write(folder, step, files, counts, {}, len(tables))
    return folder


@pytest.fixture
def places(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    """Two partitions of links to an embedded web, and where the crawl's outputs go."""
    links = _links(tmp_path / "links", [*PAGES[:3], "http://nowhere.test/x"], PAGES[3:])
    web = _web(tmp_path / "web", PAGES)
    return {"inputs": (links, web), "outputs": (tmp_path / "warc", tmp_path / "fetches")}


def _run(
    places: dict[str, tuple[Path, Path]], engine: Engine, config: crawl.Config = CONFIG
) -> dict[str, Any]:
    return crawl.run(places["inputs"], places["outputs"], config, engine)


def test_crawl_of_the_embedded_web_seals_both_folders(
    places: dict[str, tuple[Path, Path]], inline: Engine
) -> None:
    figures = _run(places, inline)
    assert figures["counts"] == {"n_in": 7, "n_out": 6, "dropped": {"dns": 1}}
    stored, fetched = (manifest.load(folder, "crawl") for folder in places["outputs"])
    assert stored.counts == fetched.counts
    assert stored.n_shards == fetched.n_shards == 2
    assert set(stored.files) == {
        f"part-0000{i}.{kind}" for i in (0, 1) for kind in ("warc.gz", "cdxj", "json")
    }
    rows = [row for path in fetched.paths() for row in pq.read_table(path).to_pylist()]
    assert len(rows) == 7
    assert {row["outcome"] for row in rows if row["host"] == "nowhere.test"} == {"dns"}
    files = [path for path in stored.paths() if path.name.endswith(".warc.gz")]
    bodies = [r.body for path in files for r in warc.read_responses(path)]  # type: ignore[union-attr]
    assert sorted(bodies) == sorted(f"<p>{address}".encode() for address in PAGES)


def test_outputs_name_no_port_and_no_path_of_this_machine(
    places: dict[str, tuple[Path, Path]], inline: Engine, tmp_path: Path
) -> None:
    _run(places, inline)
    for folder in places["outputs"]:
        for path in folder.glob("*.json"):
            told = path.read_text()
            assert str(tmp_path) not in told
    for path in places["outputs"][0].glob("*.warc.gz"):
        for response in warc.read_responses(path):
            assert not re.search(r":\d{4,5}", response.url)  # type: ignore[union-attr]


def test_second_run_asks_nothing_and_changes_nothing(
    places: dict[str, tuple[Path, Path]], inline: Engine
) -> None:
    first = _run(places, inline)
    before = {p: p.read_bytes() for folder in places["outputs"] for p in folder.rglob("part-*.*")}
    stamps = {path: path.stat().st_mtime_ns for path in before}
    assert _run(places, inline) == first
    assert {path: path.read_bytes() for path in before} == before
    assert {path: path.stat().st_mtime_ns for path in before} == stamps


def test_other_pace_and_contact_keep_finished_partitions(
    places: dict[str, tuple[Path, Path]], inline: Engine
) -> None:
    _run(places, inline)
    sidecar = places["outputs"][0] / "part-00000.json"
    before = sidecar.stat().st_mtime_ns
    slower = dataclasses.replace(PACE, min_delay_s=0.001)
    config = dataclasses.replace(CONFIG, pace=slower, contact="mailto:someone@example.org")
    _run(places, inline, config)
    assert sidecar.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("name", "value"), [("max_redirects", 2), ("enforced_opt_outs", ()), ("captured_at", None)]
)
def test_configuration_that_decides_outcomes_begins_anew(
    places: dict[str, tuple[Path, Path]], inline: Engine, name: str, value: object
) -> None:
    _run(places, inline)
    told = json.loads((places["outputs"][0] / "part-00000.json").read_bytes())
    _run(places, inline, dataclasses.replace(CONFIG, **{name: value}))  # type: ignore[arg-type]
    again = json.loads((places["outputs"][0] / "part-00000.json").read_bytes())
    assert told["fingerprint"] != again["fingerprint"]


def test_changed_partition_begins_anew_and_the_other_is_kept(
    places: dict[str, tuple[Path, Path]], inline: Engine, tmp_path: Path
) -> None:
    _run(places, inline)
    stamps = [p.stat().st_mtime_ns for p in sorted(places["outputs"][0].glob("*.json"))[1:]]
    _links(tmp_path / "links", PAGES[:2], PAGES[3:])
    figures = _run(places, inline)
    again = [p.stat().st_mtime_ns for p in sorted(places["outputs"][0].glob("*.json"))[1:]]
    assert figures["counts"] == {"n_in": 5, "n_out": 5, "dropped": {}}
    assert (stamps[0] == again[0], stamps[1] == again[1]) == (False, True)


def test_partition_that_is_no_more_is_removed(
    places: dict[str, tuple[Path, Path]], inline: Engine, tmp_path: Path
) -> None:
    _run(places, inline)
    (tmp_path / "links" / "part-00001.parquet").unlink()
    _links(tmp_path / "links", PAGES[:3])
    _run(places, inline)
    left = [p.name for folder in places["outputs"] for p in folder.glob("**/part-*.*")]
    assert left
    assert not [name for name in left if name.startswith("part-00001")]
    for folder in places["outputs"]:
        manifest.load(folder, "crawl")


def test_web_that_changed_is_crawled_anew(
    places: dict[str, tuple[Path, Path]], inline: Engine, tmp_path: Path
) -> None:
    _run(places, inline)
    _web(tmp_path / "web", PAGES, status=410)
    assert _run(places, inline)["counts"]["dropped"] == {"dns": 1, "http_410": 6}


def test_crawl_without_a_source_fetches_nothing_and_says_so_of_every_link(
    places: dict[str, tuple[Path, Path]], inline: Engine
) -> None:
    figures = _run(places, inline, dataclasses.replace(CONFIG, source="none"))
    assert figures["counts"] == {"n_in": 7, "n_out": 0, "dropped": {"not_fetched": 7}}
    stored, fetched = (manifest.load(folder, "crawl") for folder in places["outputs"])
    rows = [row for path in fetched.paths() for row in pq.read_table(path).to_pylist()]
    assert {(row["outcome"], row["http_status"]) for row in rows} == {("not_fetched", None)}
    files = [path for path in stored.paths() if path.name.endswith(".warc.gz")]
    assert [found for path in files for found in warc.read_responses(path)] == []


def test_crawl_without_links_names_the_remedy(
    places: dict[str, tuple[Path, Path]], inline: Engine, tmp_path: Path
) -> None:
    (tmp_path / "links" / "manifest.json").unlink()
    with pytest.raises(ManifestError, match="dvc repro links"):
        _run(places, inline)


def test_partitions_on_two_workers_give_what_one_process_gives(
    places: dict[str, tuple[Path, Path]], inline: Engine, ray_engine: Engine, tmp_path: Path
) -> None:
    _run(places, inline)
    outputs = (tmp_path / "warc2", tmp_path / "fetches2")
    crawl.run(places["inputs"], outputs, CONFIG, ray_engine)
    for one, other in zip(places["outputs"], outputs, strict=True):
        for path in sorted(one.rglob("*.parquet")):
            assert path.read_bytes() == (other / path.relative_to(one)).read_bytes()
    assert _bodies(places["outputs"][0]) == _bodies(outputs[0])


def _bodies(folder: Path) -> Counter[bytes]:
    paths = sorted(folder.glob("*.warc.gz"))
    return Counter(r.body for path in paths for r in warc.read_responses(path))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "contact", [None, "", "me", "mailto:me", "mailto:me@localhost", "ftp://a.test", "http://x y"]
)
def test_crawl_of_the_internet_without_a_contact_is_refused(contact: str | None) -> None:
    with pytest.raises(ValueError, match=r"contact is .*expected mailto:"):
        dataclasses.replace(CONFIG, source="web", contact=contact)


@pytest.mark.parametrize("contact", ["mailto:me@example.org", "https://example.org/crawler"])
def test_user_agent_names_product_and_contact(contact: str) -> None:
    config = dataclasses.replace(CONFIG, source="web", contact=contact)
    assert config.user_agent == f"OutboundBot/1.0 (+{contact})"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("product", "Bot 2"),
        ("product", ""),
        ("captured_at", "yesterday"),
        ("stop_after_s", 0.0),
        ("max_redirects", -1),
        ("max_url_chars", 3),
    ],
)
def test_config_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{name} is .*expected"):
        dataclasses.replace(CONFIG, **{name: value})  # type: ignore[arg-type]

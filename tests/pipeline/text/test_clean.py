"""The step as a whole: what it leaves, what it re-uses, when it stops."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records
from pipeline.store.errors import ShardError
from pipeline.store.shards import ShardDraft
from pipeline.text import clean
from pipeline.text.guard import Config as Guard
from tests.pipeline.text import configs
from tests.pipeline.text.configs import CLEAN, PROSE

FOOTER = "Subscribe to the weekly letter and never miss a story from the harbour again"


def _page(doc_id: str, text: str, **changes: Any) -> dict[str, Any]:
    page = dict.fromkeys(records.PAGES.names)
    page |= {"url": "http://x.test/a", "host": "x.test", "domain": "x.test", "captured_on": ""}
    page |= {
        "charset": "utf-8",
        "charset_source": "header",
        "extractor": "trafilatura",
        "html_bytes": 1,
        "created_utc": 7,
    }
    return page | {"doc_id": doc_id, "text": text} | changes


def write_pages(folder: Path, *parts: list[dict[str, Any]]) -> Path:
    made = []
    for index, rows in enumerate(parts):
        draft = ShardDraft("extract", folder.parent / "store")
        draft.write_table("part.parquet", pa.Table.from_pylist(rows, records.PAGES))
        draft.count_in(len(rows))
        draft.count_out(len(rows))
        made.append(draft.commit(f"{folder.name}-{index}", ()))
    return manifest.link_shards(folder, "extract", made).folder


@pytest.fixture
def pages(workspace: Path) -> Path:
    rows = [
        _page("0a", PROSE, title="A\u00a0 title"),
        _page("0b", "short", url="http://x.test/short"),
        _page("0c", PROSE.replace("The", "\u200bThe"), host="en.wikipedia.org"),
        _page(
            "0d", PROSE.replace("’", "'") + "\x00\n\n\n\nSo it goes, and that was the end of it."
        ),
    ]
    return write_pages(workspace / "pages", rows)


def scores_of(folder: Path) -> list[dict[str, Any]]:
    paths = manifest.load(folder, "clean").paths("scores")
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_run_folder_of_pages_is_cleaned_counted_and_explained(
    pages: Path, workspace: Path, inline: Engine
) -> None:
    figures = clean.run((pages,), workspace / "clean", CLEAN, inline)
    made = manifest.load(workspace / "clean", "clean")
    table = pq.read_table(made.paths()[0])
    assert table.schema.equals(records.CLEAN)
    rows = table.to_pylist()
    assert [row["doc_id"] for row in rows] == ["0a", "0d"]
    assert (rows[0]["title"], rows[0]["language"], rows[0]["created_utc"]) == ("A title", "en", 7)
    assert rows[0]["language_score"] > 0.9
    assert rows[1]["text"].endswith("liked him.\n\nSo it goes, and that was the end of it.")
    assert rows[1]["n_words"] == len(rows[1]["text"].split())
    assert figures["counts"] == {"n_in": 4, "n_out": 2, "dropped": {"too_short": 1, "wikipedia": 1}}
    (decided,) = made.paths("decisions")
    assert [row["reason"] for row in pq.read_table(decided).to_pylist()] == [
        "too_short",
        "wikipedia",
    ]
    words = figures["histograms"]["words"]
    assert sum(words["counts"]) == 2
    assert words["limits"] == {"gopher_min_words": 50.0, "gopher_max_words": 100_000.0}


def test_run_twice_gives_the_same_bytes_and_other_limits_do_not(
    pages: Path, workspace: Path, inline: Engine
) -> None:
    clean.run((pages,), workspace / "one", CLEAN, inline)
    clean.run((pages,), workspace / "two", CLEAN, inline)
    strict = replace(CLEAN, gopher=replace(configs.GOPHER, min_words=10_000))
    clean.run((pages,), workspace / "three", strict, inline)
    roots = [manifest.load(workspace / name, "clean").root for name in ("one", "two", "three")]
    assert roots[0] == roots[1] != roots[2]


def test_run_scores_of_all_documents_lie_beside_the_clean_ones(
    pages: Path, workspace: Path, inline: Engine
) -> None:
    clean.run((pages,), workspace / "clean", CLEAN, inline)
    scores = {row["doc_id"]: row for row in scores_of(workspace / "clean")}
    reasons = {doc_id: row["reason"] for doc_id, row in scores.items()}
    assert reasons == {"0a": None, "0b": "too_short", "0c": "wikipedia", "0d": None}
    assert scores["0b"]["words"] == 1
    assert scores["0c"]["stop_words"] == scores["0a"]["stop_words"] > 2  # measured though dropped


def test_run_other_limit_measures_nothing_again(
    pages: Path, workspace: Path, inline: Engine
) -> None:
    def shards_of(step: str) -> dict[str, int]:
        folders = (workspace / ".shards" / step).iterdir()
        return {path.name: (path / "shard.json").stat().st_mtime_ns for path in folders}

    clean.run((pages,), workspace / "clean", CLEAN, inline)
    measured = [shards_of(step) for step in ("clean-texts", "clean-scores")]
    decided = shards_of("clean")
    strict = replace(CLEAN, min_chars=10, gopher=replace(configs.GOPHER, min_words=10_000))
    figures = clean.run((pages,), workspace / "clean", strict, inline)
    assert figures["counts"]["dropped"]["gopher_min_words"] == 2
    assert [shards_of(step) for step in ("clean-texts", "clean-scores")] == measured
    assert shards_of("clean").keys().isdisjoint(decided)


def _hosts(n: int) -> list[dict[str, Any]]:
    return [
        _page(f"{host[0]}{i}", f"{_story(i)}\n\n{FOOTER}", host=host, domain=host)
        for host in ("a.test", "b.test")
        for i in range(n)
    ]


def _story(number: int) -> str:
    keeper = ("Anna", "Bruno", "Clara", "David")[number]
    sentences = PROSE.replace("\n", " ").strip().split(". ")
    return "\n".join(f"{keeper} said: {sentence.rstrip('.')}." for sentence in sentences)


def test_run_line_that_recurs_on_a_host_is_removed_counted_and_shown(
    workspace: Path, inline: Engine
) -> None:
    rows = _hosts(4)
    rows.append(_page("c0", _story(0) + "\n" + FOOTER, host="c.test"))
    folder = write_pages(workspace / "pages", rows[:3], rows[3:])
    figures = clean.run((folder,), workspace / "clean", CLEAN, inline)
    made = manifest.load(workspace / "clean", "clean")
    texts = {
        row["doc_id"]: row["text"] for p in made.paths() for row in pq.read_table(p).to_pylist()
    }
    assert [doc for doc, text in texts.items() if FOOTER in text] == ["c0"]  # once there: text
    assert texts["a1"] == _story(1).strip()
    assert figures["boilerplate_chars"] == 8 * len(FOOTER)
    shown = [(line["host"], line["line"], line["n_documents"]) for line in figures["boilerplate"]]
    assert sorted(shown) == [("a.test", FOOTER, 4), ("b.test", FOOTER, 4)]
    (first, second) = made.paths("boilerplate")
    assert [row["n"] for row in pq.read_table(first).to_pylist()] == [3]
    assert [row["n"] for row in pq.read_table(second).to_pylist()] == [1, 4]


def test_run_document_of_boilerplate_alone_is_dropped_for_it(
    workspace: Path, inline: Engine
) -> None:
    rows = [*_hosts(4), _page("a9", FOOTER, host="a.test")]
    figures = clean.run(
        (write_pages(workspace / "pages", rows),), workspace / "clean", CLEAN, inline
    )
    assert figures["counts"]["dropped"] == {"boilerplate": 1}


def test_run_new_shard_leaves_measured_ones_in_place(workspace: Path, inline: Engine) -> None:
    rows = _hosts(4)
    clean.run((write_pages(workspace / "one", rows),), workspace / "clean", CLEAN, inline)
    before = {path.name for path in (workspace / ".shards/clean-scores").iterdir()}
    more = write_pages(workspace / "two", [_page("d0", PROSE, host="d.test")])
    clean.run((workspace / "one", more), workspace / "clean", CLEAN, inline)
    after = {path.name for path in (workspace / ".shards/clean-scores").iterdir()}
    assert before < after
    assert len(after) == 2


def test_run_any_sharding_order_and_engine_gives_the_same_documents(
    workspace: Path, inline: Engine, ray_engine: Engine
) -> None:
    rows = [*_hosts(4), _page("0d", PROSE)]
    split = write_pages(workspace / "split", rows[5:], rows[:5])
    whole = write_pages(workspace / "whole", rows)
    clean.run((whole,), workspace / "one", CLEAN, inline)
    clean.run((split,), workspace / "two", CLEAN, inline)
    roots = [manifest.load(workspace / "two", "clean").root]
    (workspace / ".shards").rename(workspace / "away")
    clean.run((split,), workspace / "three", CLEAN, ray_engine)
    roots.append(manifest.load(workspace / "three", "clean").root)
    assert roots[0] == roots[1]
    texts = [
        sorted(
            (row["doc_id"], row["text"])
            for path in manifest.load(workspace / name, "clean").paths()
            for row in pq.read_table(path).to_pylist()
        )
        for name in ("one", "two")
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 9


def test_run_implausible_share_for_one_reason_stops_and_says_where_to_look(
    workspace: Path, inline: Engine
) -> None:
    rows = [_page(f"{i:02x}", "short" if i % 4 else PROSE) for i in range(20)]
    folder = write_pages(workspace / "pages", rows)
    strict = replace(CLEAN, guard=Guard(min_documents=20, max_removed_frac=0.7, by_reason={}))
    told = (
        r"15 of 20 documents \(75.0%\) as `too_short`; .*clean.guard.max_removed_frac allows 70.0%"
    )
    with pytest.raises(ShardError, match=told) as stopped:
        clean.run((folder,), workspace / "clean", strict, inline)
    assert "clean.guard.by_reason: {too_short: 0.80}" in str(stopped.value)
    assert not (workspace / "clean" / manifest.NAME).exists()
    decided = pq.read_table(workspace / "clean/decisions/part-00000.parquet").to_pylist()
    assert {row["reason"] for row in decided} == {"too_short"}
    allowed = replace(strict, guard=replace(strict.guard, by_reason={"too_short": 0.8}))
    figures = clean.run((folder,), workspace / "clean", allowed, inline)
    assert figures["counts"]["n_out"] == 5


def test_run_what_the_paper_noticed_is_counted_in_kept_documents(
    workspace: Path, inline: Engine
) -> None:
    noticed = (
        "\nTL;DR: the lamp went out.\n\nQ: Who sold the tower?\nA: Nobody knows who sold it.\n"
    )
    french = "Le gardien de la tour est parti une nuit d'hiver sans dire adieu à ses amis."
    rows = [_page("01", PROSE + noticed + french), _page("02", noticed)]
    folder = write_pages(workspace / "pages", rows)
    figures = clean.run((folder,), workspace / "clean", CLEAN, inline)["noticed"]
    assert (figures["tldr_lines"], figures["question_answers"]) == (1, 1)
    assert figures["foreign_bytes"] == {"fr": len(french.encode())}
    assert figures["examples"]["tldr_lines"] == [
        {"doc_id": "01", "text": "TL;DR: the lamp went out."}
    ]
    assert json.dumps(figures)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"max_chars": 10}, "max_chars is 10; expected x >= min_chars"),
        ({"min_language_score": 2.0}, "min_language_score is 2.0; expected 0 <= x <= 1"),
    ],
)
def test_config_out_of_range_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(CLEAN, **change)

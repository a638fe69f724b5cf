"""Galleries: a fair, stable choice; text of strangers shown as text."""

import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report import gallery
from pipeline.store import ledger
from tests.pipeline.report.world import HOSTILE, World

HARMLESS = set("\t\n\u00ad\u200c\u200d")  # joiners shape letters and emoji, soft hyphens hyphenate


@given(st.text(st.characters(categories=("Cc", "Cf", "Cs", "Zl", "Zp", "L", "M"))))
def test_visible_leaves_no_character_that_acts_on_its_surroundings(text: str) -> None:
    shown = gallery.visible(text)
    left = {c for c in shown if unicodedata.bidirectional(c) in _EXPLICIT}
    assert not left
    assert not {c for c in shown if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}} - HARMLESS
    kept = [c for c in text if c.isalpha()]
    assert [c for c in shown if c.isalpha() and c in kept][: len(kept)] != [] or not kept


_EXPLICIT = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize("text", ["Zürich", "日本語", "مرحبا", "👩‍👩‍👧 café", "a\tb\nc", "\ufffd"])
def test_visible_leaves_honest_text_alone(text: str) -> None:
    assert gallery.visible(text) == text


def test_kept_takes_the_smallest_ids_of_each_domain_in_turn(world: World) -> None:
    opened = ledger.load(world.sources.data)
    pieces = gallery.kept(opened, 5, 200)
    good = [d for d in world.documents if not d.end]
    by_host = {
        host: sorted(d.doc_id for d in good if d.host == host) for host in {d.host for d in good}
    }
    ranked = sorted((rank, id_) for ids in by_host.values() for rank, id_ in enumerate(ids))
    urls = {d.doc_id: d.url for d in good}
    assert {p.url for p in pieces} == {urls[id_] for _, id_ in ranked[:5]}
    assert len({p.url.split("/")[2] for p in pieces}) == 3
    assert all(len(p.text) <= 201 + 8 * 200 for p in pieces)


def test_kept_does_not_depend_on_how_rows_are_batched(world: World) -> None:
    source = ledger.load(world.sources.data).dataset("decontaminate")
    assert source is not None
    rows = source.to_table(columns=["doc_id", "domain"])
    whole = gallery.varied(rows.to_batches(), 7)
    assert whole == gallery.varied(rows.to_batches(max_chunksize=3), 7)
    backwards = rows.take(pa.array(range(rows.num_rows)[::-1]))
    assert whole == gallery.varied(backwards.to_batches(max_chunksize=4), 7)


def test_dropped_lists_every_reason_with_examples_and_urls(world: World) -> None:
    reasons = gallery.dropped(ledger.load(world.sources.data), "clean", 3, 400)
    assert [(r.reason, r.n, len(r.examples)) for r in reasons] == [
        ("language", 4, 3),
        ("too_short", 4, 3),
    ]
    assert all(e.url.startswith("http://torch-manual.test/language/") for e in reasons[0].examples)


def test_dropped_shows_those_with_text_first() -> None:
    rows = [
        {
            "doc_id": f"{i:016x}",
            "stage": "clean",
            "reason": "r",
            "detail": "",
            "excerpt": "x" * (i == 9),
        }
        for i in range(10)
    ]
    batches = pa.Table.from_pylist(rows).to_batches(max_chunksize=2)
    counts, best = gallery.by_reason(batches, 2)
    assert counts == {"r": 10}
    assert [row["doc_id"][-1] for row in best["r"]] == ["9", "0"]


def test_pairs_mark_what_differs(world: World) -> None:
    (pair,) = gallery.pairs(ledger.load(world.sources.data), 3, 4000)
    assert pair.jaccard == "0.8125"
    kept, dropped = (" ".join(r.text for r in side) for side in (pair.kept, pair.dropped))
    assert "worker" in kept
    marked = "".join(run.text for run in pair.dropped if run.differs)
    assert "helper" in marked
    assert "helper" in dropped
    assert "helper" not in kept


@given(st.text("ab \n", max_size=60), st.text("ab \n", max_size=60))
def test_differences_of_short_texts_give_both_texts_back(left: str, right: str) -> None:
    ours, theirs = gallery.differences(left, right, 10_000)
    for runs, text in ((ours, left), (theirs, right)):
        shown = "".join(run.text for run in runs)
        assert text.endswith(shown.removeprefix("… "))
    assert [r.text for r in ours if not r.differs] == [r.text for r in theirs if not r.differs]


def test_differences_far_into_the_text_are_in_sight() -> None:
    left, right = "same " * 500 + "left end", "same " * 500 + "right end"
    ours, theirs = gallery.differences(left, right, 120)
    assert ours[0].text == "… "
    assert [r.text for r in ours if r.differs] == ["left "]
    assert [r.text for r in theirs if r.differs] == ["right "]


def test_differences_cut_in_the_middle_mark_nothing_that_both_sides_have() -> None:
    body = " ".join(f"word{i}" for i in range(400))
    ours, theirs = gallery.differences(f"A line more. {body}", body, 300)
    assert "".join(r.text for r in ours if r.differs) == "A line more. "
    assert not any(r.differs for r in theirs)
    assert ours[-1].text == theirs[-1].text == "…"


def test_differences_of_a_huge_word_are_cut() -> None:
    ours, _ = gallery.differences("x" * 1_000_000, "y", 300)
    assert sum(len(run.text) for run in ours) < 310


def test_generated_takes_one_per_prompt_and_method_first(world: World) -> None:
    samples = gallery.generated(world.sources.samples, 4, 500)
    assert len({(s.prompt, s.how) for s in samples}) == 4
    assert samples[0].text.endswith(" ∎")
    assert any(s.prompt == HOSTILE[1] for s in samples)
    assert len(gallery.generated(world.sources.samples, 100, 500)) == 8


def test_generated_without_samples_is_empty(tmp_path: Path) -> None:
    assert gallery.generated(tmp_path, 4, 500) == ()

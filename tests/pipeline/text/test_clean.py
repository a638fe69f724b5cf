"""Normal form of texts, decisions, and the step as a whole."""

import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records
from pipeline.store.shards import ShardDraft
from pipeline.text import clean
from pipeline.text.clean import judge, normalize
from tests.pipeline.text import configs
from tests.pipeline.text.configs import CLEAN, PROSE


@pytest.mark.parametrize(
    ("raw", "regular"),
    [
        ("a\r\nb\rc\x0bd\u2028e", "a\nb\nc\nd\ne"),
        ("no\u00a0break and\u3000wide", "no break and wide"),
        ("zero\u200bwidth soft\u00adhyphen \ufeffmark", "zerowidth softhyphen mark"),
        ("bell\x07 and escape\x1b[0m", "bell and escape[0m"),
        ("cafe\u0301", "café"),
        ("end   \t\n  indented code stays", "end\n  indented code stays"),
        ("\n\na\n\n\n\n\nb\n\n", "a\n\nb"),
        ("👩\u200d🔬 and a\u200db", "👩\u200d🔬 and ab"),
        ("half \ud83d pair", "half  pair"),
        ("It’s “quoted” – café", "It’s “quoted” – café"),
    ],
)
def test_normalize_irregular_text_is_made_regular(raw: str, regular: str) -> None:
    assert normalize(raw, CLEAN) == regular


@pytest.mark.parametrize("codec", ["cp1252", "latin-1"])
def test_normalize_mojibake_is_mended_line_by_line(codec: str) -> None:
    text = "Füße in größter Nähe; naïve café – “quoted” it’s…"
    wrong = "".join(
        c.encode().decode(codec)
        if all(b not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) for b in c.encode()) or codec == "latin-1"
        else c
        for c in text
    )
    raw = f"plain line\n{wrong}\nПривет, 世界"
    assert normalize(raw, CLEAN) == f"plain line\n{text}\nПривет, 世界"
    assert "Ã" in normalize(raw, replace(CLEAN, mend_encoding=False))


@pytest.mark.parametrize(
    "right", ["À propos: «Ça va» — São Paulo, Łódź, ½ °C", "§ 5 Abs. 2 – £ 10"]
)
def test_normalize_right_text_beyond_ascii_is_left_alone(right: str) -> None:
    assert normalize(right, CLEAN) == right


def test_normalize_tokenized_page_reads_as_written() -> None:
    raw = "He said , `` it is n't so . ''\n" * 8
    assert normalize(raw, CLEAN) == "\n".join(['He said, "it isn\'t so."'] * 8)


_ODD = st.text(
    alphabet=st.one_of(
        st.sampled_from("aé \n\t.,'`’Ã©â€™ÂÐ\u200b\u200c\u200d\u0301\u00a0\u00ad\ufeff\x85\x1b\r"),
        st.characters(),
    ),
    max_size=80,
)


@settings(deadline=None)
@given(_ODD)
@example("Ã\u200b©")
@example("a , b .\n" * 8)
def test_normalize_any_text_twice_is_once(text: str) -> None:
    once = normalize(text, CLEAN)
    assert normalize(once, CLEAN) == once


@settings(deadline=None)
@given(_ODD)
def test_normalize_any_text_has_no_control_characters(text: str) -> None:
    text = normalize(text, CLEAN)
    assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    text.encode()  # no halves of surrogate pairs
    assert not text.endswith((" ", "\n"))


@pytest.mark.parametrize("n", [20_000, 40_000])
def test_normalize_long_runs_cost_linear_time(n: int) -> None:
    # quadratic patterns would take minutes here
    assert normalize(f"a{' ' * n}b{chr(9) * n}\n{chr(0x200D) * n}x", CLEAN).startswith("a ")
    assert normalize("\n" * n + "é " * n, CLEAN).startswith("é")


_NUMBERS = "The word and the number: 1 2 3 4 5 6 7 8 9 0. " * 7


@pytest.mark.parametrize(
    ("text", "domain", "reason"),
    [
        ("", "x.test", "empty"),
        (PROSE, "wikipedia.org", "wikipedia"),
        ("short", "wikipedia.org", "wikipedia"),
        ("short", "x.test", "too_short"),
        (PROSE * 300, "x.test", "too_long"),
        ("Es war einmal ein König, der hatte drei Söhne und ein Land. " * 5, "x.test", "language"),
        (_NUMBERS, "x.test", "gopher_min_mean_word_chars"),
        (PROSE * 2, "x.test", "repetition_max_copied_lines_frac"),
        (PROSE + "Lorem ipsum dolor sit amet.", "x.test", "c4_max_lorem_ipsum"),
    ],
)  # fmt: skip
def test_judge_document_with_a_fault_is_dropped_for_it(text: str, domain: str, reason: str) -> None:
    judged = judge(text, domain, CLEAN, CLEAN.bounds())
    assert judged.drop is not None
    assert judged.drop.reason == reason


def test_judge_prose_is_kept() -> None:
    judged = judge(PROSE, "x.test", CLEAN, CLEAN.bounds())
    assert judged.drop is None
    assert judged.language.code == "en"


def test_judge_any_language_allowed_keeps_german() -> None:
    german = "Es war einmal ein König, der hatte drei Söhne und ein sehr großes Land. " * 5
    judged = judge(german, "x.test", replace(CLEAN, languages=()), ())
    assert (judged.drop, judged.language.code) == (None, "de")


def _page(doc_id: str, text: str, **changes: Any) -> dict[str, Any]:
    page = dict.fromkeys(records.PAGES.names)
    page |= {"url": "http://x.test/a", "host": "x.test", "domain": "x.test", "captured_on": ""}
    page |= {
        "charset": "utf-8",
        "charset_source": "header",
        "html_bytes": 1,
        "extractor": "x",
        "created_utc": 7,
    }
    return page | {"doc_id": doc_id, "text": text} | changes


@pytest.fixture
def pages(workspace: Path) -> Path:
    draft = ShardDraft("extract", workspace / "store")
    rows = [
        _page("0a", PROSE, title="A\u00a0 title"),
        _page("0b", "short", url="http://x.test/short"),
        _page("0c", PROSE.replace("The", "\u200bThe"), domain="wikipedia.org"),
        _page(
            "0d", PROSE.replace("’", "'") + "\x00\n\n\n\nSo it goes, and that was the end of it."
        ),
    ]
    draft.write_table("part.parquet", pa.Table.from_pylist(rows, records.PAGES))
    draft.count_in(4)
    draft.count_out(4)
    return manifest.link_shards(workspace / "pages", "extract", [draft.commit("f", ())]).folder


def test_run_folder_of_pages_is_cleaned_counted_and_explained(
    pages: Path, workspace: Path, inline: Engine
) -> None:
    figures = clean.run(pages, workspace / "clean", CLEAN, inline)
    made = manifest.load(workspace / "clean", "clean")
    table = pq.read_table(made.paths()[0])
    assert table.schema.equals(records.CLEAN)
    rows = table.to_pylist()
    assert [row["doc_id"] for row in rows] == ["0a", "0d"]
    assert (rows[0]["title"], rows[0]["language"], rows[0]["created_utc"]) == ("A title", "en", 7)
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
    clean.run(pages, workspace / "one", CLEAN, inline)
    clean.run(pages, workspace / "two", CLEAN, inline)
    strict = replace(CLEAN, gopher=replace(configs.GOPHER, min_words=10_000))
    clean.run(pages, workspace / "three", strict, inline)
    roots = [manifest.load(workspace / name, "clean").root for name in ("one", "two", "three")]
    assert roots[0] == roots[1] != roots[2]


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

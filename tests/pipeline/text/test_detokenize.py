"""Tokenized text to written text and back."""

import csv
import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import detokenize as d

_ALL = {
    "treebank": d.TREEBANK,
    "lambada": d.LAMBADA,
    "ptb": d.PTB,
    "wikitext": d.WIKITEXT,
    "one_billion": d.ONE_BILLION,
    "sst": d.SST,
}
# What is left of a convention where no page of people has it.
_ARTEFACT = re.compile(r"\S ,(?=\s)| n't\b|\w 't\b|@[-,.]@|-[lrLR][rsRS][bB]-|\w '(?:s|re|ve|ll)\b")


@pytest.mark.parametrize(
    ("convention", "tokens", "written"),
    [
        ("treebank", "`` I do n't know , '' she said .", '"I don\'t know," she said.'),
        ("treebank", "the dogs ' owner ca n't ; he 'll go", "the dogs' owner can't; he'll go"),
        ("treebank", "-LRB- see [ 3 -RRB- costs $ 5 or 7 % .", "(see [ 3) costs $5 or 7%."),
        ("treebank", "` Go , ' he said to Mr. Fox .", "'Go,' he said to Mr. Fox."),
        ("lambada", "he -lrb- the cat -rrb- `` left . ''", 'he (the cat) "left."'),
        ("ptb", "mr. <unk> 's share was $ N cities\\/abc", "mr. <unk>'s share was $N cities/abc"),
        ("wikitext", 'a " big " co @-@ star \'s 1 @,@ 500 m', 'a "big" co-star\'s 1,500 m'),
        ("wikitext", "at 20 knots ( 43 km / h ; 26 mph ) .", "at 20 knots (43 km/h; 26 mph)."),
        ("wikitext", "in 1624 – 1643 the ships ' guns", "in 1624–1643 the ships' guns"),
        (
            "one_billion",
            '" I don \'t know , " he said at 11 : 35 .',
            '"I don\'t know," he said at 11:35.',
        ),
        (
            "one_billion",
            "the Mets ' O 'Neal paid $ 5 ( 24 / 7 ) .",
            "the Mets' O'Neal paid $5 (24/7).",
        ),
        (
            "one_billion",
            "Gen. Roe vs. the St. Louis Co. said so .",
            "Gen. Roe vs. the St. Louis Co. said so.",
        ),
        ("sst", "it 's `` raw '' ( and cold ) , is n't it ?", "it's \"raw\" (and cold), isn't it?"),
        ("sst", "'s rare in the '70s now .", "'s rare in the '70s now."),
        ("wikitext", "= = Early life = =", "= = Early life = ="),
    ],
)
def test_detokenize_example_reads_as_written_and_comes_back(
    convention: str, tokens: str, written: str
) -> None:
    assert d.detokenize(tokens, _ALL[convention]) == written
    assert d.detokenize_exactly(tokens, _ALL[convention]) == written
    assert d.retokenize(written, _ALL[convention]) == tokens


@pytest.mark.parametrize("name", _ALL)
@settings(deadline=None)
@given(line=st.text(alphabet="ab1N .,;:?!'\"`-()[]$%/@<>–_é", max_size=60))
def test_detokenize_exactly_any_line_is_restorable_or_unchanged(name: str, line: str) -> None:
    text = d.detokenize_exactly(line, _ALL[name])
    assert d.is_exact(line, text, _ALL[name]) or text == " ".join(line.split())


def test_detokenize_exactly_ambiguous_period_keeps_its_blank() -> None:
    line = "give it to dr . no . it was dr. no ."
    assert d.detokenize(line, d.TREEBANK) == "give it to dr. no. it was dr. no."
    text = d.detokenize_exactly(line, d.TREEBANK)
    assert text == "give it to dr . no. it was dr. no."
    assert d.is_exact(line, text, d.TREEBANK)


@pytest.mark.parametrize(
    ("path", "convention", "floor"),
    [
        ("ptb/ptb.valid.txt", "ptb", 1.0),
        ("wikitext-2/wiki.valid.tokens", "wikitext", 0.998),
        ("cbt/cbt_test.txt", "treebank", 0.9995),
        ("lambada/lambada_development_plain_text.txt", "lambada", 0.996),
        ("../finetune/sst2/dev.tsv", "sst", 0.995),
    ],
)
def test_detokenize_exactly_real_file_round_trips(
    real_data: Path, path: str, convention: str, floor: float
) -> None:
    lines = _lines(real_data / "eval" / path)[:2000]
    texts = [d.detokenize_exactly(line, _ALL[convention]) for line in lines]
    exact = [d.is_exact(a, b, _ALL[convention]) for a, b in zip(lines, texts, strict=True)]
    assert sum(exact) / len(lines) >= floor
    n_blanks = sum(len(line.split()) for line in lines)
    assert sum(len(text.split()) for text in texts) < 0.995 * n_blanks  # and it does something


def _lines(path: Path) -> list[str]:
    return [line.partition("\t")[0] for line in path.read_text().split("\n")]


def _pages(text: str, n_lines: int = 40) -> list[str]:
    lines = text.split("\n")
    return ["\n".join(lines[i : i + n_lines]) for i in range(0, len(lines), n_lines)]


def _as_page(text: str) -> str:
    return d.detokenize_if_tokenized(text, min_marks=8, min_frac=0.9)


@pytest.mark.parametrize(
    "path", ["tinyshakespeare/input.txt", "us_presidents.txt", "gutenberg.txt"]
)
def test_detokenize_if_tokenized_written_prose_is_left_alone(real_data: Path, path: str) -> None:
    pages = _pages((real_data / "text" / path).read_text(encoding="utf-8-sig"))[:1000]
    assert [page for page in pages if _as_page(page) != page] == []


def test_detokenize_if_tokenized_news_is_left_alone(real_data: Path) -> None:
    csv.field_size_limit(1_000_000)
    with (real_data / "eval/cnn_dailymail/train_sample.csv").open() as file:
        articles = [row["article"] for row in csv.DictReader(file)]
    assert len(articles) == 100
    assert [article for article in articles if _as_page(article) != article] == []


def test_detokenize_if_tokenized_installed_source_code_is_left_alone() -> None:
    """The installed packages are many authors' code: formatters, tables, grammars, matrices."""
    roots = [Path(str(distribution("sympy").locate_file(name))) for name in ("sympy", "numpy")]
    files = sorted(path for root in roots for path in root.rglob("*.py"))[::4]
    assert len(files) > 300
    texts = [path.read_text(errors="replace") for path in files]
    assert sum(_as_page(text) != text for text in texts) <= 0.001 * len(files)


@pytest.mark.parametrize(
    ("path", "n_lines", "min_found", "max_left"),  # artefacts left per artefact
    [
        ("eval/cbt/cbt_test.txt", 40, 1.0, 0.002),
        ("eval/lambada/lambada_development_plain_text.txt", 8, 0.99, 0.002),
        ("eval/wikitext-2/wiki.valid.tokens", 15, 0.94, 0.005),
        ("finetune/sst2/dev.tsv", 40, 1.0, 0.002),
    ],
)
def test_detokenize_if_tokenized_real_tokenized_pages_are_found_and_mended(
    real_data: Path, path: str, n_lines: int, min_found: float, max_left: float
) -> None:
    pages = _pages("\n".join(_lines(real_data / path)[:3000]), n_lines)
    mended = [_as_page(page) for page in pages]
    found = sum(a != b for a, b in zip(pages, mended, strict=True))
    assert found >= min_found * len(pages)
    before, after = (sum(len(_ARTEFACT.findall(p)) for p in some) for some in (pages, mended))
    assert before > 500
    assert after <= max_left * before
    lines = sum(page.count("\n") for page in pages)
    assert sum(page.count("\n") for page in mended) == lines


def test_detokenize_if_tokenized_indented_lines_without_marks_stay() -> None:
    text = "one , two , three .\na ( b ) it ca n't\n    x  =  f ( y )\nfour , five ."
    assert d.detokenize_if_tokenized(text, min_marks=4, min_frac=0.9) == (
        "one, two, three.\na (b) it can't\n    x  =  f ( y )\nfour, five."
    )


@pytest.mark.parametrize(
    "text",
    [
        "from . import config\n" * 20,
        "a(n)   b(n)   . . . z(n)\n" * 20,
        "  | 1   .   2   , 3\n" * 20,
        "Oui : non ; peut-être ! Vraiment ? Il a dit « oui » .\n" * 7,
    ],
)
def test_detokenize_if_tokenized_blanks_of_other_origin_stay(text: str) -> None:
    assert _as_page(text) == text


def test_detokenize_if_tokenized_lines_of_code_between_stay_as_they_are() -> None:
    code = "    f(x, y)  # keep.   these blanks."
    text = "\n".join(["one , two .", "we do n't , ever .", code, "three , four ."])
    assert d.detokenize_if_tokenized(text, min_marks=6, min_frac=0.9) == "\n".join(
        ["one, two.", "we don't, ever.", code, "three, four."]
    )

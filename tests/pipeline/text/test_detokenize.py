"""Tokenized text to written text and back."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import detokenize as d

_ALL = {"treebank": d.TREEBANK, "lambada": d.LAMBADA, "ptb": d.PTB, "wikitext": d.WIKITEXT}


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
    ],
)
def test_detokenize_exactly_real_file_round_trips(
    real_data: Path, path: str, convention: str, floor: float
) -> None:
    lines = (real_data / "eval" / path).read_text().split("\n")[:2000]
    texts = [d.detokenize_exactly(line, _ALL[convention]) for line in lines]
    exact = [d.is_exact(a, b, _ALL[convention]) for a, b in zip(lines, texts, strict=True)]
    assert sum(exact) / len(lines) >= floor
    n_blanks = sum(len(line.split()) for line in lines)
    assert sum(len(text.split()) for text in texts) < 0.995 * n_blanks  # and it does something


@pytest.mark.parametrize("path", ["tinyshakespeare/input.txt", "us_presidents.txt"])
def test_detokenize_if_tokenized_written_prose_is_left_alone(real_data: Path, path: str) -> None:
    text = (real_data / "text" / path).read_text()[:200_000]
    assert d.detokenize_if_tokenized(text, min_marks=8, min_frac=0.9) == text


def test_detokenize_if_tokenized_real_books_are_mended(real_data: Path) -> None:
    text = (real_data / "eval/cbt/cbt_test.txt").read_text()[:100_000]
    mended = d.detokenize_if_tokenized(text, min_marks=8, min_frac=0.9)
    assert text.count(" , ") > 1000
    assert mended.count(" , ") == 0
    assert mended.count("\n") == text.count("\n")


def test_detokenize_if_tokenized_lines_of_code_between_stay_as_they_are() -> None:
    code = "    f(x, y)  # keep.   these blanks."
    text = "\n".join(["one , two .", "we do n't , ever .", code, "three , four ."])
    assert d.detokenize_if_tokenized(text, min_marks=6, min_frac=0.9) == "\n".join(
        ["one, two.", "we don't, ever.", code, "three, four."]
    )

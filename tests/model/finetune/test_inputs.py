"""Rows of tokens, by hand for each kind; what is too long; tensors and targets."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model import hf
from model.config import ModelConfig
from model.finetune import inputs
from model.finetune.inputs import ABSENT, Encoded, Marks, encode, fit
from model.finetune.tasks import Example, Kind
from pipeline.tokens import codec
from pipeline.tokens.codec import Codec
from tests.model.finetune.small_tuning import make_pretrained, task

SHAPE = ModelConfig(norm="pre", n_layer=1, n_head=1, n_embd=4, n_ctx=16, dropout=0.0, n_vocab=290)
S, D, E = Marks.behind(290)


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    folder = make_pretrained(tmp_path_factory.mktemp("coder"))
    assert hf.read_config(folder / "config.json").n_vocab == SHAPE.n_vocab
    return codec.load(folder / "tokenizer.json")


def one(kind: Kind, *texts: str, coder: Codec) -> tuple[list[list[int]], int]:
    given = [Example(example_id="a", texts=texts, label=0)]
    made = encode(task(kind), given, coder, SHAPE)
    return [row.tolist() for row in made.rows[0]], made.n_cut


def ids(coder: Codec, text: str) -> list[int]:
    return coder.encode(text).tolist()


def test_text_stands_between_start_and_extract(coder: Codec) -> None:
    text = ids(coder, "it is a film")
    assert one("text", "it is a film", coder=coder) == ([[S, *text, E]], 0)


def test_entailment_has_a_delimiter_between_premise_and_hypothesis(coder: Codec) -> None:
    premise, hypothesis = ids(coder, "a film"), ids(coder, "it is")
    expected = [[S, *premise, D, *hypothesis, E]]
    assert one("entailment", "a film", "it is", coder=coder) == (expected, 0)


def test_similarity_has_both_orders(coder: Codec) -> None:
    a, b = ids(coder, "a film"), ids(coder, "it is")
    expected = [[S, *a, D, *b, E], [S, *b, D, *a, E]]
    assert one("similarity", "a film", "it is", coder=coder) == (expected, 0)


def test_choice_joins_document_and_question_by_a_blank_and_has_a_row_per_answer(
    coder: Codec,
) -> None:
    texts = ("a film", "is it", "we", "that")
    read = ids(coder, "a film is it")
    expected = [[S, *read, D, *ids(coder, answer), E] for answer in texts[2:]]
    assert one("choice", *texts, coder=coder) == (expected, 0)


def test_choice_without_a_question_or_document_has_no_blank(coder: Codec) -> None:
    for texts in (("a film", "", "we", "saw"), ("", "a film", "we", "saw")):
        rows, _ = one("choice", *texts, coder=coder)
        assert rows == [[S, *ids(coder, "a film"), D, *ids(coder, w), E] for w in texts[2:]]


def test_text_too_long_loses_its_end(coder: Codec) -> None:
    text = "we saw a dull film that is " * 5
    assert one("text", text, coder=coder) == ([[S, *ids(coder, text)[:14], E]], 1)


def test_pair_too_long_loses_the_end_of_the_longer_text(coder: Codec) -> None:
    long, short = "we saw a dull film that is " * 5, "it is"
    n = 13 - len(ids(coder, short))
    row = [S, *ids(coder, long)[:n], D, *ids(coder, short), E]
    assert one("entailment", long, short, coder=coder) == ([row], 1)


def test_choice_too_long_loses_the_document_s_end_alike_for_all_answers(coder: Codec) -> None:
    document = "we saw a dull film that is " * 5
    rows, n_cut = one("choice", document, "is it", "we", "it is a film", coder=coder)
    asked, longest = ids(coder, " is it"), ids(coder, "it is a film")
    kept = ids(coder, document)[: 13 - len(asked) - len(longest)]
    assert rows == [[S, *kept, *asked, D, *a, E] for a in (ids(coder, "we"), longest)]
    assert len(rows[1]) == SHAPE.n_ctx
    assert n_cut == 1


@given(
    kind=st.sampled_from(["text", "entailment", "similarity", "choice"]),
    lengths=st.lists(st.integers(0, 40), min_size=4, max_size=6),
)
def test_rows_fit_and_keep_a_mark_s_order_whatever_the_lengths(
    kind: Kind, lengths: list[int]
) -> None:
    given_parts = [np.full(n, i, np.int32) for i, n in enumerate(lengths)]
    n_texts = {"text": 1, "entailment": 2, "similarity": 2, "choice": len(lengths)}[kind]
    parts = given_parts[:n_texts]
    rows, cut = inputs._rows(kind, parts, Marks(S, D, E), SHAPE.n_ctx)
    whole = 2 if kind == "text" else 3
    longest = sum(map(len, parts))
    if kind == "choice":
        longest = sum(lengths[:2]) + max(lengths[2:])
    assert cut == (longest + whole > SHAPE.n_ctx)
    for row in rows:
        assert len(row) <= SHAPE.n_ctx
        assert (row[0], row[-1]) == (S, E)
        assert (row == D).sum() == (kind != "text")
    assert max(map(len, rows)) == min(SHAPE.n_ctx, longest + whole)


@given(one=st.integers(0, 30), other=st.integers(0, 30), most=st.integers(1, 40))
def test_fit_takes_from_the_longer_first_and_wastes_nothing(
    one: int, other: int, most: int
) -> None:
    a, b = fit([one, other], most)
    assert a <= one
    assert b <= other
    assert a + b == min(one + other, most)
    if a < one and b < other:
        assert abs(a - b) <= 1
    elif a < one:
        assert a >= b


@pytest.mark.parametrize(
    ("kind", "texts", "label", "message"),
    [
        ("text", ("a", "b"), 0, "number of texts is 2"),
        ("choice", ("a", "b", "c"), 0, "number of texts is 3"),
        ("text", ("a",), 2, "label is 2; expected a whole number, 0 <= x < 2"),
        ("text", ("a",), 0.5, "label is 0.5"),
        ("choice", ("a", "b", "c", "d"), 2, "small_choice, example a: label is 2"),
    ],
)
def test_encode_refuses_what_the_task_cannot_have(
    kind: Kind, texts: tuple[str, ...], label: float, message: str, coder: Codec
) -> None:
    with pytest.raises(ValueError, match=message):
        encode(task(kind), [Example(example_id="a", texts=texts, label=label)], coder, SHAPE)
    with pytest.raises(ValueError, match="examples is 0; expected one or more"):
        encode(task(kind), [], coder, SHAPE)


def encoded(*lengths: tuple[int, ...], labels: tuple[float, ...], **more: int) -> Encoded:
    rows = tuple(tuple(np.arange(1, n + 1, dtype=np.int32) for n in each) for each in lengths)
    ids = tuple(map(str, range(len(rows))))
    grades = more.get("grades")
    return Encoded(ids=ids, rows=rows, labels=np.array(labels), grades=grades, n_cut=0)


def test_collate_pads_on_the_right_and_marks_absent_rows() -> None:
    made = inputs.collate(encoded((3, 4), (2,), (9,), labels=(1.0, 0.0, 0.0)), [1, 0])
    assert made.idx.tolist() == [
        [[1, 2, 0, 0], [0, 0, 0, 0]],
        [[1, 2, 3, 0], [1, 2, 3, 4]],
    ]
    assert made.last.tolist() == [[1, ABSENT], [2, 3]]
    assert made.targets.tolist() == [0, 1]
    assert made.targets.dtype == torch.int64


@given(scores=st.lists(st.floats(0, 5), min_size=1, max_size=9))
def test_spread_is_a_distribution_whose_expectation_is_the_score(scores: list[float]) -> None:
    """Paper: Tai et al. 2015, section 4.2."""
    made = inputs.spread(torch.tensor(scores, dtype=torch.float64), 6).double()
    assert made.sum(dim=1).tolist() == pytest.approx([1.0] * len(scores))
    assert (made @ torch.arange(6.0).double()).tolist() == pytest.approx(scores, abs=1e-5)
    assert int((made > 0).sum(dim=1).max()) <= 2


def test_graded_targets_are_distributions() -> None:
    made = inputs.collate(encoded((3, 3), (2, 2), labels=(0.5, 2.0), grades=3), [0, 1])
    assert made.targets.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]

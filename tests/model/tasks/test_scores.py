"""The tasks' figures: computed by hand on a unigram model, and slowly on a random one."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from model.gpt import GPT
from model.score import Request, Scorer
from model.tasks import harness, lambada, perplexity, results, winograd
from model.tasks.forms import Example
from model.tasks.results import Bench, Result, proportion
from pipeline.text.detokenize import PTB
from pipeline.tokens.bytelevel import ByteLevelCodec, Merge
from tests.model.small_models import random_model, slow_logprobs, unigram

# Ids 256.. : ma sk mask Ġmask th the Ġthe, then <|endoftext|> = 263.
MERGES: Sequence[Merge] = (
    ("m", "a"), ("s", "k"), ("ma", "sk"), ("Ġ", "mask"), ("t", "h"), ("th", "e"), ("Ġ", "the"),
)  # fmt: skip
MASK, THE = 259, 262
N_VOCAB = 264


def bench(weights: dict[int, float], stride: int = 64) -> Bench:
    """A bench around a unigram model; ids without a weight have weight 1."""
    model = unigram([weights.get(i, 1.0) for i in range(N_VOCAB)], n_ctx=64)
    return Bench(
        scorer=Scorer(model, N_VOCAB - 1),
        coder=ByteLevelCodec(MERGES, "00"),
        stride=stride,
        more_strides=(),
        seed=3,
        max_generated=None,
    )


def example(text: str, **fields: object) -> Example:
    return Example(example_id="0", text=text, fields=fields)


def test_documents_have_the_figures_computed_by_hand() -> None:
    # "the mask": tokens the (weight 1), Ġmask (weight 10); " the": Ġthe (weight 20); sum 292.
    found = perplexity.documents(
        "heldout", [example("the mask"), example(" the")], bench({MASK: 10, THE: 20})
    )[0]
    nlls = [-math.log(1 / 292) - math.log(10 / 292), -math.log(20 / 292)]
    nll = sum(nlls)
    # Of two documents, a draw holds both, or one of them twice: those are the ends.
    per_token = [nlls[0] / 2, nlls[1]]
    assert found.figures == pytest.approx(
        {
            "bits_per_byte": nll / math.log(2) / 12,
            "bits_per_byte_low": nlls[1] / math.log(2) / 4,
            "bits_per_byte_high": nlls[0] / math.log(2) / 8,
            "perplexity_token": math.exp(nll / 3),
            "perplexity_token_low": math.exp(min(per_token)),
            "perplexity_token_high": math.exp(max(per_token)),
            "perplexity_word": math.exp(nll / 3),
            "perplexity_word_low": math.exp(min(per_token)),
            "perplexity_word_high": math.exp(max(per_token)),
            "n_tokens": 3,
            "n_bytes": 12,
            "n_words": 3,
        },
        rel=1e-5,
    )
    assert found.protocol["resampled"] == "documents"
    assert found.protocol["unit"] == "words between blanks"
    assert (found.protocol["window"], found.protocol["stride"]) == (64, 64)


def test_uniform_model_has_the_perplexity_of_its_vocabulary_whatever_the_stride() -> None:
    for stride in (1, 64):
        found = perplexity.documents("x", [example("mask the " * 40)], bench({}, stride))[0]
        assert found.figures["perplexity_token"] == pytest.approx(264, rel=1e-5)
        n = found.figures["n_tokens"]
        expected = n * math.log2(264) / found.figures["n_bytes"]
        assert found.figures["bits_per_byte"] == pytest.approx(expected, rel=1e-5)


def test_running_text_is_divided_by_its_published_words_in_both_protocols() -> None:
    # Two lines of 4 words and an <eos> each; PTB's convention joins "do n't" to "don't".
    examples = [example(" i do n't mask \n"), example(" the mask is the \n")]
    raw, clean = perplexity.running_text("ptb", examples, bench({}), convention=PTB)
    assert (raw.name, clean.name) == ("ptb_raw", "ptb_detokenized")
    assert raw.figures["n_words"] == clean.figures["n_words"] == 10
    assert raw.figures["n_bytes"] == len(" i do n't mask \n the mask is the \n")
    assert clean.figures["n_bytes"] == len("i don't mask\nthe mask is the\n")
    for found in (raw, clean):
        nll = found.figures["n_tokens"] * math.log(264)
        assert found.figures["perplexity_word"] == pytest.approx(math.exp(nll / 10), rel=1e-5)
    assert raw.protocol["detokenizer"] == "none"
    assert clean.protocol["n_lines_not_restored"] == 0


def test_perplexity_beyond_a_float_is_left_out() -> None:
    def figures(nll: float, n_tokens: int, n_words: int) -> dict[str, float]:
        counts = {"n_tokens": np.array([n_tokens]), "n_bytes": np.array([100])}
        unit = perplexity.Unit(name="word", counts=np.array([n_words]), words="words")
        return perplexity.figures(perplexity.Sums(nll=np.array([nll]), **counts), unit, seed=0)

    found = figures(5000.0, n_tokens=10, n_words=1)
    assert "perplexity_word" not in found
    assert found["perplexity_token"] == pytest.approx(math.exp(500), rel=1e-5)
    assert "perplexity_word" not in figures(1.0, n_tokens=1, n_words=0)


def running(model: GPT, texts: Sequence[str]) -> list[Result]:
    coder = ByteLevelCodec(MERGES, "00")
    seen = replace(bench({}), scorer=Scorer(model, N_VOCAB - 1), coder=coder, stride=16)
    examples = [replace(example(text), example_id=str(i)) for i, text in enumerate(texts)]
    return perplexity.running_text("x", examples, seen, convention=PTB)


def test_running_text_s_rows_are_its_tokens_read_with_all_that_stands_before_them() -> None:
    """An article's figure is that of its own tokens in the slow reading of the whole text."""
    model = random_model(n_vocab=N_VOCAB, n_ctx=64)
    texts = [" the mask \n it is \n", " = the = \n", " end of the mask \n"]
    found, _ = running(model, texts)
    ids = ByteLevelCodec(MERGES, "00").encode("".join(texts)).tolist()
    slow = slow_logprobs(model, [N_VOCAB - 1, *ids], len(ids))
    n_bytes = [len(ByteLevelCodec(MERGES, "00").decode_bytes([each])) for each in ids]
    starts = np.cumsum([0, *n_bytes])[:-1]
    ends = np.cumsum([len(text) for text in texts])
    for row in range(3):
        chosen = np.arange(3) == row
        mine = (starts < ends[row]) & (starts >= ends[row] - len(texts[row]))
        told = found.among(chosen)
        assert told["n_tokens"] == mine.sum()
        nll = -np.array(slow)[mine].sum()
        assert told["bits_per_byte"] == pytest.approx(nll / math.log(2) / len(texts[row]), rel=1e-4)
    assert found.figures["perplexity_token"] == pytest.approx(math.exp(-np.mean(slow)), rel=1e-4)


def test_running_text_has_the_same_figures_however_it_is_cut_into_rows() -> None:
    model = random_model(n_vocab=N_VOCAB, n_ctx=64)
    lines = [f" the mask {i} do n't \n" for i in range(9)]
    whole, parts = running(model, ["".join(lines)]), running(model, lines)
    for one, many in zip(whole, parts, strict=True):
        assert {key: many.figures[key] for key in one.figures} == one.figures
        ends = [f"perplexity_word{end}" for end in ("_low", "", "_high")]
        assert [many.figures[key] for key in ends] == sorted(many.figures[key] for key in ends)
        assert ends[0] not in one.figures  # one row says nothing of the spread


def test_intervals_of_ratios_are_scipy_s() -> None:
    rng = np.random.default_rng(5)
    counts = rng.integers(5, 400, 120)
    nll = counts * rng.normal(3, 0.4, 120)
    (rate,) = results.rates(nll, counts[:, np.newaxis], seed=2)
    theirs = stats.bootstrap(
        (nll, counts),
        lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert rate.value == pytest.approx(nll.sum() / counts.sum())
    width = theirs.high - theirs.low
    assert rate.low == pytest.approx(theirs.low, abs=0.12 * width)
    assert rate.high == pytest.approx(theirs.high, abs=0.12 * width)


def test_interval_over_blocks_holds_the_truth_where_one_over_tokens_is_too_sure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Losses that stay high or low for long: what an interval promises, counted over 150 texts."""
    monkeypatch.setattr(results, "N_RESAMPLES", 200)
    held = {"blocks": 0, "tokens": 0}
    for trial in range(150):
        rng = np.random.default_rng(trial)
        level = np.repeat(rng.normal(3, 1, 100), 10)  # the topic changes every 10 tokens
        values = level + rng.normal(0, 0.5, 1000)
        for name, rows in (("blocks", values.reshape(25, 40).sum(axis=1)), ("tokens", values)):
            ones = np.full((len(rows), 1), len(values) / len(rows))
            (rate,) = results.rates(rows, ones, seed=trial)
            held[name] += rate.low < 3 < rate.high
    assert held["blocks"] >= 133  # 142 are promised
    assert held["tokens"] <= 95


def test_last_words_have_the_figures_computed_by_hand() -> None:
    examples = [
        example("he took the mask", target="mask"),  # P = 10/292; second to the stop word "the"
        example("mask mask the", target="the"),  # P = 20/292; the model's first choice
        example("mask x", target="x"),  # two tokens of weight 1
    ]
    found = lambada.last_word("set", examples, bench({MASK: 10, THE: 20}))[0].figures
    nll = -math.log(10 / 292) - math.log(20 / 292) - 2 * math.log(1 / 292)
    assert found["accuracy"] == pytest.approx(1 / 3, rel=1e-5)
    assert found["accuracy_stopword_filter"] == pytest.approx(1 / 3, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(nll / 3), rel=1e-5)
    assert found["n"] == 3


def test_filter_changes_which_examples_are_right() -> None:
    only = [example("he took the mask", target="mask")]
    found = lambada.last_word("set", only, bench({MASK: 10, THE: 20}))[0].figures
    assert (found["accuracy"], found["accuracy_stopword_filter"]) == (0.0, 1.0)
    stop = [example("mask mask the", target="the")]
    found = lambada.last_word("set", stop, bench({MASK: 10, THE: 20}))[0].figures
    assert (found["accuracy"], found["accuracy_stopword_filter"]) == (1.0, 0.0)


def test_whole_word_must_be_right_and_not_its_last_token() -> None:
    # " masksk" is Ġmask, sk: with sk as first choice everywhere, only the last token is right.
    examples = [example("a masksk", target="masksk")]
    found = lambada.last_word("set", examples, bench({257: 50}))[0].figures
    assert found["accuracy"] == 0.0
    # With Ġmask as first choice everywhere, only the first is; the filter asks for both, too.
    figures = lambada.last_word("set", examples, bench({MASK: 50}))[0].figures
    assert (figures["accuracy"], figures["accuracy_stopword_filter"]) == (0.0, 0.0)


def test_last_token_and_whole_word_are_told_apart_in_one_reading() -> None:
    # " masksk" is Ġmask, sk. P(sk) = 50/313, P(Ġmask) = 1/313; sk is always the first choice.
    examples = [example("a masksk", target="masksk")]
    (found,) = lambada.last_word("set", examples, bench({257: 50}))
    figures = found.figures
    assert (figures["accuracy"], figures["accuracy_last_token"]) == (0.0, 1.0)
    assert figures["accuracy_last_token_stopword_filter"] == 1.0
    assert figures["perplexity_last_token"] == pytest.approx(313 / 50, rel=1e-5)
    assert figures["perplexity_token"] == pytest.approx(math.sqrt(313 * 313 / 50), rel=1e-5)
    assert figures["perplexity"] == pytest.approx(313 * 313 / 50, rel=1e-5)


def test_openai_s_text_is_read_as_it_is_and_with_ascii_quotes() -> None:
    examples = [example("“no”, he took the mask”", target="mask”")]
    plain, written = lambada.openai_forms("set", examples, bench({}))
    assert (plain.name, written.name) == ("set", "set_ascii")
    # Every token is as likely: a curly quote is three bytes, a straight one is one.
    assert plain.figures["perplexity"] == pytest.approx(264.0**4, rel=1e-4)
    assert written.figures["perplexity"] == pytest.approx(264.0**2, rel=1e-4)


def test_uniform_model_has_the_perplexity_of_its_vocabulary_in_each_protocol() -> None:
    text = "the mask is the mask of the mask \n" * 9
    seen = replace(bench({}), more_strides=(8, 1))
    found = perplexity.running_text("x", [example(text)], seen, convention=PTB)
    assert [each.name for each in found] == [
        "x_raw", "x_raw_stride_8", "x_raw_stride_1",
        "x_detokenized", "x_detokenized_stride_8", "x_detokenized_stride_1",
    ]  # fmt: skip
    found += perplexity.sentences("y", [example("the mask .\n")], seen, convention=PTB)
    found += perplexity.characters("z", [example("the mask")], seen)
    found += perplexity.documents("w", [example("the mask")], seen)
    assert {each.figures["perplexity_token"] for each in found} == {264.0}
    words = lambada.last_word("set", [example("see the mask", target="mask")], seen)
    words += harness.last_word("set", [example("see the mask", target="mask")], seen)
    for each in words:
        assert each.figures["perplexity"] == pytest.approx(264, rel=1e-5)
    assert words[0].figures["perplexity_last_token"] == pytest.approx(264, rel=1e-5)
    (page,) = harness.pages("x", [example(" = A = \n the mask \n")], seen)
    n = len(seen.coder.encode(" = A =\nthe mask\n"))
    expected = n * math.log2(264) / len(" = A = \n the mask \n")
    assert page.figures["bits_per_byte"] == pytest.approx(expected, rel=1e-5)


def test_strides_of_one_pass_are_those_of_passes_of_their_own() -> None:
    model = random_model(n_vocab=N_VOCAB, n_ctx=16)
    scorer = Scorer(model, N_VOCAB - 1)
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, N_VOCAB - 1, n).tolist() for n in (0, 1, 16, 17, 75)]
    strides = [4, 16, 5]
    together = scorer.rolling_each(texts, strides)
    for stride, found in zip(strides, together, strict=True):
        for one, alone in zip(found, scorer.rolling(texts, stride), strict=True):
            assert np.allclose(one, alone, rtol=1e-5, atol=1e-6)


def test_bits_per_character_are_divided_by_the_published_split() -> None:
    nll = 3 * math.log2(264)  # one token each: the, Ġmask; and the letter before
    (found,) = perplexity.characters("text8", [example("xthe mask")], bench({}))
    assert found.figures["bits_per_character"] == pytest.approx(nll / 9, rel=1e-5)
    assert (found.protocol["unit"], found.protocol["n_units"]) == ("characters", 9)
    (found,) = perplexity.characters("enwik8", [example("xthe mask", n_bytes=7)], bench({}))
    assert found.figures["bits_per_character"] == pytest.approx(nll / 7, rel=1e-5)
    assert (found.protocol["unit"], found.protocol["n_units"]) == ("bytes", 7)


def test_context_without_a_marker_must_hold_something() -> None:
    scorer = bench({}).scorer
    with pytest.raises(ValueError, match="nothing to predict"):
        scorer.loglikelihood([Request(context=[], continuations=[[1]])], begins=False)


def test_muted_ids_are_the_single_tokens_of_stop_words() -> None:
    assert lambada.muted(ByteLevelCodec(MERGES, "00")) == [THE]


def test_target_after_another_blank_is_read_from_the_text() -> None:
    # Only the length of the target and one blank before it are cut: the context keeps its end.
    model = random_model(n_vocab=N_VOCAB, n_ctx=64)
    coder = ByteLevelCodec(MERGES, "00")
    found = lambada.last_word(
        "set",
        [example("the mask\nsk mask", target="mask")],
        Bench(
            scorer=Scorer(model, 263),
            coder=coder,
            stride=64,
            more_strides=(),
            seed=0,
            max_generated=None,
        ),
    )[0]
    tokens = [263, *coder.encode("the mask\nsk mask").tolist()]
    expected = slow_logprobs(model, tokens, 1)
    assert found.figures["perplexity"] == pytest.approx(math.exp(-sum(expected)), rel=1e-4)


def test_tokenized_passages_are_scored_raw_and_with_a_detokenized_context() -> None:
    examples = [example("`` i do n't , '' he said , see the mask", target="mask")]
    seen = bench({MASK: 10})
    raw, clean = lambada.both_forms("plain", examples, seen)
    assert (raw.name, clean.name) == ("plain_raw", "plain_detokenized")
    assert clean.protocol["detokenizer"] != raw.protocol["detokenizer"] == "none"
    assert lambada._detokenized(examples[0]) == '"i don\'t," he said, see the mask'


def schema(before: str, names: list[str], after: str, answer: int) -> Example:
    return example("", before=before, candidates=names, after=after, answer=answer)


def test_winograd_compares_whole_sentences_fully_and_their_rests_partially() -> None:
    # A unigram model likes "mask" more than "sk" and knows nothing of what follows.
    examples = [
        schema("it was", ["mask", "sk"], " the.", 0),  # full: right; partial: a tie, so wrong
        schema("it was", ["mask", "sk"], " the.", 1),  # full: wrong
        schema("", ["mask", "the"], " is.", 0),  # at the beginning: tokens "mask", "the"
    ]
    found = winograd.schemata("winograd", examples, bench({MASK: 10, 258: 9}))[0].figures
    assert found["accuracy_full"] == pytest.approx(2 / 3, rel=1e-5)
    assert found["accuracy_partial"] == 0.0
    assert found["n"] == 3


def test_winograd_equals_a_slow_reading_of_each_sentence() -> None:
    model, coder = random_model(n_vocab=N_VOCAB, n_ctx=64), ByteLevelCodec(MERGES, "00")
    made = Bench(
        scorer=Scorer(model, 263),
        coder=coder,
        stride=64,
        more_strides=(),
        seed=0,
        max_generated=None,
    )
    right = {"full": 0, "partial": 0}
    examples = [
        schema(f"we {i} saw", ["the mask", "ask"], f" {i * 7} is", i % 2) for i in range(20)
    ]
    for each in examples:
        scores = []
        for name in each.fields["candidates"]:
            head = [263, *coder.encode(f"{each.fields['before']} {name}").tolist()]
            rest = coder.encode(each.fields["after"]).tolist()
            values = slow_logprobs(model, head + rest, len(head) + len(rest) - 1)
            scores.append((sum(values), sum(values[-len(rest) :])))
        answer, other = (scores[i] for i in (each.fields["answer"], 1 - each.fields["answer"]))
        right["full"] += answer[0] > other[0]
        right["partial"] += answer[1] > other[1]
    found = winograd.schemata("winograd", examples, made)[0].figures
    assert found["accuracy_full"] == right["full"] / 20
    assert found["accuracy_partial"] == right["partial"] / 20
    assert 0 < right["partial"] < 20


def test_interval_is_narrow_for_many_examples_and_holds_the_mean() -> None:
    few = proportion("a", [True, False] * 5, seed=1)
    many = proportion("a", [True, False] * 500, seed=1)
    assert few["a"] == many["a"] == 0.5
    assert few["a_low"] < many["a_low"] < 0.5 < many["a_high"] < few["a_high"]
    # Two standard errors of a proportion of 1,000: 1.96 * sqrt(.25 / 1000) = .031
    assert many["a_high"] - many["a_low"] == pytest.approx(2 * 0.031, abs=0.006)
    assert proportion("a", [True] * 9, seed=1) == {"a": 1.0, "a_low": 1.0, "a_high": 1.0}


def test_interval_depends_on_the_seed_alone() -> None:
    hits = np.random.default_rng(0).random(97) < 0.3
    assert proportion("a", hits, seed=4) == proportion("a", list(hits), seed=4)
    assert proportion("a", hits, seed=4) != proportion("a", hits, seed=5)


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-9 / 3, 123456789.0])
def test_rounding_keeps_six_digits(value: float) -> None:
    assert results.rounded(value) == pytest.approx(value, rel=5e-6)
    assert len(f"{results.rounded(value):g}".replace(".", "").lstrip("0")) <= 10

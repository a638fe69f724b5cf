"""The index of evaluation 8-grams against sets of word tuples."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.overlap import bloom, evalgrams, words
from pipeline.overlap.bloom import Bloom
from pipeline.overlap.evalgrams import EvalGrams, Grams
from pipeline.store.errors import ShardError

_TEXTS = st.lists(st.sampled_from("ab"), max_size=25).map(" ".join)


def _build(texts: list[str], filter_: Bloom | None = None) -> EvalGrams:
    examples = pa.table(
        {"set": ["s"] * len(texts), "example_id": list(map(str, range(len(texts)))), "text": texts},
        schema=pa.schema([(name, pa.string()) for name in ("set", "example_id", "text")]),
    )
    grams = evalgrams.collect(examples["text"])
    return EvalGrams(grams, examples, filter_ or bloom.build(grams.hashes, 1e-8))


def _tuples(text: str) -> set[tuple[str, ...]]:
    split = text.split()
    return {tuple(split[i : i + 8]) for i in range(len(split) - 7)}


@given(st.lists(_TEXTS, max_size=5), _TEXTS)
def test_overlap_equals_sets_of_eight_word_tuples(texts: list[str], document: str) -> None:
    seen = _build(texts).overlap(document)
    mine, theirs = _tuples(document), [_tuples(text) for text in texts]
    common = [len(mine & example) for example in theirs]
    assert seen.n_ngrams == len(mine)
    assert len(seen.found) == len(mine & set().union(*theirs))
    assert seen.n_shared == max(common, default=0)
    assert seen.example == (common.index(max(common)) if any(common) else None)
    assert seen.frac == (len(seen.found) / len(mine) if mine else 0.0)


def test_overlap_by_hand_is_one_of_three() -> None:
    index = _build(["The quick, brown fox jumps over the lazy dog."])  # 9 words: two 8-grams
    seen = index.overlap("x the QUICK brown fox\njumps over - the lazy cat")  # 10 words: three
    assert (seen.n_ngrams, len(seen.found), seen.n_shared) == (3, 1, 1)
    assert seen.frac == 1 / 3


def test_overlap_filter_that_says_yes_to_all_changes_no_answer() -> None:
    """Every hit is confirmed, so a wrong yes costs time and is counted, never believed."""
    index = _build(["a b c d e f g h i"], Bloom(bits=np.full(1, 2**64 - 1, np.uint64), n_hashes=1))
    seen = index.overlap("z b c d e f g h i j k")
    assert (seen.n_ngrams, len(seen.found), seen.n_false) == (4, 1, 3)


def test_overlap_equal_hash_of_other_words_is_not_believed() -> None:
    sound = _build(["a b c d e f g h"])
    hashes = words.ngrams(words.hash_words(words.split("s t u v w x y z")), 8)
    forged = Grams(hashes, sound.grams.owners, sound.grams.offsets)
    index = EvalGrams(forged, sound.examples, bloom.build(hashes, 1e-8))
    seen = index.overlap("s t u v w x y z")
    assert (len(seen.found), seen.n_false, seen.example) == (0, 1, None)


def test_check_index_that_lost_rows_is_refused() -> None:
    sound = _build(["a b c d e f g h i j", "q r s t u v w x y z"])
    evalgrams.check(sound)
    lost = Grams(*(array[1:] for array in sound.grams))
    with pytest.raises(ShardError, match="only 2 of 3 8-grams of example"):
        evalgrams.check(EvalGrams(lost, sound.examples, bloom.build(sound.grams.hashes, 1e-8)))

"""Last-word passages: recoverable, whole, and chosen by the document's id alone."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from model.tasks import lastword
from model.tasks.stopwords import STOPWORDS

TEXT = (
    "The harbour was quiet that night. Old Marta mended the lantern by the window. "
    "She had kept it since the storm. Nobody on the quay spoke of the wreck. "
    "When the wind rose again she went out into the dark to light the lantern. "
    "Then it was over, and in the morning they found nothing but the empty boat."
)


def test_passage_ends_with_a_word_that_its_context_holds() -> None:
    (found,) = lastword.passages("id", TEXT, 15)
    assert found.target == "lantern"
    assert found.text == TEXT[found.start : TEXT.index("lantern. Then") + len("lantern")]
    assert found.text.startswith("Old Marta mended")  # the shortest context of three sentences
    assert TEXT[found.start :].startswith(found.text)


def test_longer_context_is_taken_when_more_words_are_asked_for() -> None:
    (found,) = lastword.passages("id", TEXT, 27)
    assert found.start == 0
    assert lastword.passages("id", TEXT, 40) == []


def changed(old: str, new: str) -> list[lastword.Passage]:
    assert old in TEXT
    return lastword.passages("id", TEXT.replace(old, new), 15)


def test_word_that_the_context_lacks_is_no_target() -> None:
    assert changed("mended the lantern", "mended the lamp") == []


def test_word_that_its_own_sentence_gives_away_is_no_target() -> None:
    assert changed("to light the lantern", "with a lantern to light the lantern") == []


def test_stop_word_and_short_word_are_no_targets() -> None:
    assert changed("light the lantern. Then", "light that. Then") == []
    assert changed("mended the lantern", "mended the key") == []
    found = lastword.passages("id", TEXT.replace("lantern", "key"), 15)
    assert found == []


def test_short_last_sentence_is_no_passage() -> None:
    assert changed("When the wind rose again she went out into the dark to light", "She lit") == []


def test_word_counts_whatever_its_case() -> None:
    (found,) = changed("the lantern by", "the Lantern by")
    assert found.target == "lantern"


PROSE = st.lists(
    st.sampled_from(["The rock fell. ", "A stone! ", "We saw the rock\n", "It is (very) odd? ",
                     "Then all of us went up to see the great rock. ", "e.g. this one. ",
                     "Nobody in the valley had ever heard of such a stone. ", "\n\n"]),
    max_size=25,
).map("".join)  # fmt: skip


@given(PROSE, st.integers(1, 30), st.text(max_size=5))
def test_every_passage_keeps_what_is_promised(text: str, min_words: int, doc_id: str) -> None:
    found = lastword.passages(doc_id, text, min_words)
    spans = sorted((each.start, each.start + len(each.text)) for each in found)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    for each in found:
        assert text[each.start :].startswith(each.text)
        assert each.text.endswith(" " + each.target)
        assert re.match(r"[.!?](\s|\Z)", text[each.start + len(each.text) :])
        before = each.text[: -len(each.target) - 1].lower()
        assert each.target.lower() in re.findall("[a-z]+", before)
        assert each.target.lower() not in STOPWORDS
        assert len(each.target) >= lastword.MIN_LETTERS
        assert len(re.findall("[A-Za-z]+", before)) >= min_words


def test_order_depends_on_the_id_and_on_nothing_else() -> None:
    text = " ".join(
        f"The valley {i} lay still. A river ran there. Birds came. We all went down to the valley."
        for i in ("one", "two", "three", "four", "five", "six")
    )
    first = lastword.passages("a", text, 5)
    assert first == lastword.passages("a", text, 5)
    orders = {tuple(p.start for p in lastword.passages(str(i), text, 5)) for i in range(10)}
    assert len(orders) > 1
    assert len(first) > 2

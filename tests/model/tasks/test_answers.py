"""Sets whose answers are generated: their files as published, and what differs refused."""

import json
from copy import deepcopy
from typing import Any

import pytest

from model.tasks.evalsets import READERS
from tests.model.tasks.published_lines import COQA, NEWS

SOURCE = """<srcset setid="newstest2014" srclang="any">
<doc docid="1009-lemondefr" genre="news" origlang="fr">
<seg id="1">A &amp; B & C</seg>
<seg id="2"> Two </seg>
</doc>
<doc docid="1016-latimes" genre="news" origlang="en">
<seg id="1">One</seg>
</doc>
</srcset>
"""


def test_segments_are_paired_by_document_and_number() -> None:
    examples, n = READERS["wmt"](SOURCE, SOURCE.replace("One", "Un"))
    assert n == 3
    assert [each.example_id for each in examples] == [
        "1009-lemondefr/1", "1009-lemondefr/2", "1016-latimes/1",
    ]  # fmt: skip
    assert examples[0].fields == {"source": "A & B & C", "reference": "A & B & C"}
    assert examples[2].fields == {"source": "One", "reference": "Un"}
    assert examples[2].text == "One\nUn"


def test_news_may_have_a_first_column_without_a_name() -> None:
    examples, n = READERS["cnn_dailymail"](NEWS)
    assert n == 2
    assert examples[0].fields["highlights"] == ["It rained .", "No one hurt ."]
    bare = 'id,article,highlights\na1,"It rained. The river rose.","It rained ."\n'
    assert READERS["cnn_dailymail"](bare)[0][0].text == "It rained. The river rose."


def test_conversation_holds_all_references_of_each_turn() -> None:
    (example,), n = READERS["coqa"](json.dumps(COQA))
    assert n == 2
    assert example.fields["references"] == [["the lantern", "A lantern"], ["Ann", "Ann did"]]
    assert example.fields["answers"] == ["the lantern", "Ann"]


def _coqa(path: str, value: Any) -> str:
    changed: Any = deepcopy(COQA)
    place = changed["data"][0]
    *keys, last = path.split(".")
    for key in keys:
        place = place[int(key) if isinstance(place, list) else key]
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return json.dumps(changed)


BROKEN: dict[str, tuple[str, ...]] = {
    "other_segments": ("wmt", SOURCE, SOURCE.replace('<seg id="2"> Two </seg>\n', "")),
    "other_order": ("wmt", SOURCE, SOURCE.replace("1016-latimes", "1017-latimes")),
    "cut_segment": ("wmt", SOURCE.replace("One</seg>", "One"), SOURCE.replace("One</seg>", "One")),
    "no_segment": ("wmt", "", ""),
    "no_answer": ("nq_open", '{"question": "who", "answer": []}'),
    "answer_is_text": ("nq_open", '{"question": "who", "answer": "Ann"}'),
    "no_question": ("nq_open", '{"answer": ["Ann"]}'),
    "other_columns": ("cnn_dailymail", "id,text,highlights\na,b,c\n"),
    "no_highlight": ("cnn_dailymail", "id,article,highlights\na,b,\n"),
    "short_row": ("cnn_dailymail", "id,article,highlights\na,b\n"),
    "turns_out_of_order": ("coqa", _coqa("questions.0.turn_id", 2)),
    "answers_of_other_turns": ("coqa", _coqa("answers.1.turn_id", 3)),
    "an_annotator_less": ("coqa", _coqa("additional_answers.0", [])),
    "no_story": ("coqa", json.dumps({"data": [{"id": "a", "questions": [], "answers": []}]})),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN)
def test_broken_content_raises_an_error_that_evalsets_names(case: tuple[str, ...]) -> None:
    form, *contents = case
    with pytest.raises((ValueError, KeyError, TypeError, IndexError, AttributeError)):
        READERS[form](*contents)

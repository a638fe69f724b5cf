"""Line rules: which lines hold no prose."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text import lines
from tests.pipeline.text.configs import LINES


@pytest.mark.parametrize(
    ("rule", "removed", "kept"),
    [
        ({"terminal": True}, "Home", "It ends here."),
        ({"terminal": True}, "a list:", "“Was it so?”"),
        ({"min_words": 5}, "only four words here", "these are five words here"),
        ({"policy": True}, "Please enable JavaScript to go on", "Please go on"),
        ({"policy": True}, "Read our Terms of Use", "Read our terms"),
        ({"long_words": True}, "a " + "x" * 1001, "a " + "x" * 1000),
        ({"max_upper_frac": 0.5}, "BREAKING NEWS now", "NASA has news"),
        ({"counters": True}, "1,024", "In 1,024"),
        ({"counters": True}, "12.5K followers", "12 men followed"),
        ({"counters": True}, "3 Comments", "3 comments were read aloud"),
        ({"counters": True}, "12:30 - 14:00", "- - -"),
    ],
)
def test_is_removed_line_against_one_rule_goes_and_prose_stays(
    rule: dict[str, Any], removed: str, kept: str
) -> None:
    config = replace(LINES, **rule)
    assert lines.is_removed(removed, config)
    assert not lines.is_removed(kept, config)
    assert not config.is_off()


@given(st.text(max_size=60))
def test_is_removed_any_line_answers_and_nothing_goes_without_rules(line: str) -> None:
    everything = lines.Config(
        terminal=True, min_words=3, policy=True, long_words=True, max_upper_frac=0.5, counters=True
    )
    lines.is_removed(line.strip(), everything)
    assert not lines.is_removed("", everything)
    assert not lines.is_removed(line.strip(), LINES)
    assert LINES.is_off()


@pytest.mark.parametrize(
    "line", ["1" * 1_000_000, "1 " * 500_000, "A" * 1_000_000, "." * 1_000_000]
)
def test_is_removed_huge_line_costs_linear_time(line: str) -> None:
    assert lines.is_removed(line.strip(), replace(LINES, counters=True)) == (line[0] == "1")

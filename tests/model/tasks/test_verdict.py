"""Verdicts: only where the paper has a figure of this size, and by its own yardstick."""

from model.tasks.verdict import lines, verdicts

MATRIX = [
    {"protocol": "a", "figure": "perplexity", "value": 35.5, "paper": {"117M": 35.13}},
    {"protocol": "a", "figure": "accuracy", "value": 0.3, "paper": {"1542M": 0.5266}},
    {"protocol": "lead3", "figure": "rouge_1", "value": 40.0, "paper": {"no model": 40.38}},
    {"protocol": "b", "figure": "perplexity", "value": 99.0, "paper": {}},
]


def test_figures_of_the_size_and_of_baselines_are_judged_and_no_others() -> None:
    found = verdicts(MATRIX, "117M", 0.02)
    assert [(each.protocol, each.figure) for each in found] == [
        ("a", "perplexity"),
        ("lead3", "rouge_1"),
    ]
    assert all(each.is_passed for each in found)
    large = verdicts(MATRIX, "1542M", 0.02)
    assert [each.is_passed for each in large] == [False, True]


def test_deviation_is_relative_and_goes_both_ways() -> None:
    def is_passed(value: float) -> bool:
        row = {"protocol": "a", "figure": "f", "value": value, "paper": {"117M": 100.0}}
        return verdicts([row], "117M", 0.02)[0].is_passed

    assert [is_passed(value) for value in (97.9, 98.1, 101.9, 102.1)] == [False, True, True, False]


def test_lines_name_verdict_protocol_and_both_figures() -> None:
    first, second = lines(verdicts(MATRIX, "1542M", 0.02))
    assert first.split() == ["FAIL", "a", "accuracy", "0.3", "paper", "0.5266"]
    assert second.startswith("pass  lead3")

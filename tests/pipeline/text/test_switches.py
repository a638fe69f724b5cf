"""Every rule has a switch, and with it off the rule lets everything pass."""

from pathlib import Path

import pytest

from pipeline.engine.identity import ROOT
from pipeline.text import clean, rules
from pipeline.text.switches import switches
from stages import params

CONFIG = params.load("clean", clean.Config, ROOT / "params.yaml")
SWITCHES = switches(CONFIG)
WORST = {"upper": 1e8, "lower": 0.0}


@pytest.mark.parametrize("name", SWITCHES)
def test_switch_gives_a_configuration_that_loads_and_changes_only_its_rule(
    name: str, tmp_path: Path
) -> None:
    target = tmp_path / "params.yaml"
    params.override(ROOT / "params.yaml", target, SWITCHES[name])
    off = params.load("clean", clean.Config, target)
    assert off != CONFIG
    still_on = set(switches(off))
    assert still_on == set(SWITCHES) - {name}


def test_switched_off_limits_let_the_worst_text_pass(tmp_path: Path) -> None:
    target = tmp_path / "params.yaml"
    limits = {bound.reason for bound in CONFIG.bounds()}
    changes = {k: v for name in limits & set(SWITCHES) for k, v in SWITCHES[name].items()}
    params.override(ROOT / "params.yaml", target, changes)
    bounds = params.load("clean", clean.Config, target).bounds()
    assert bounds
    for bound in bounds:
        worst = 1.0 if bound.figure.endswith("_frac") else WORST["upper"]
        measured = {bound.figure: worst if bound.is_upper else WORST["lower"]}
        assert rules.first_failure(measured, [bound]) is None, bound

"""The link rules of each published corpus, as its preset has them, on submissions told by hand."""

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from ruamel.yaml import YAML

from crawl.dump import Submission
from crawl.rules import Config, Rules
from pipeline.engine.identity import ROOT
from stages import configure, params

PRESETS = ("webtext-paper", "openwebtext", "openwebtext2", "modern")
POST = Submission("http://a.test/x", 3, 1_500_000_000, "1", "news")


def config_of(name: str, folder: Path) -> Config:
    """Returns the section `links` after `python -m stages.configure corpus=NAME`."""
    target = folder / "params.yaml"
    yaml = YAML()
    content = yaml.load(ROOT / "params.yaml")
    configure.merge(content, yaml.load(ROOT / "presets" / "corpus" / f"{name}.yaml"), name)
    yaml.dump(content, target)
    return params.load("links", Config, target)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # reasons for webtext-paper, openwebtext, openwebtext2, modern; "" is kept
        ({}, ("", "", "", "")),
        ({"score": 2}, ("low_score", "low_score", "", "low_score")),
        ({"is_over_18": True}, ("", "over_18", "", "over_18")),
        ({"is_deleted": True}, ("", "", "", "deleted")),
        ({"created_utc": 1_514_764_799}, ("", "", "", "")),
        ({"created_utc": 1_514_764_800}, ("too_late", "", "", "")),
        ({"created_utc": 1_588_291_200}, ("too_late", "", "too_late", "")),
        ({"url": "http://en.m.wikipedia.org/wiki/X"}, ("wikipedia", "wikipedia", "", "wikipedia")),
        ({"url": "http://i.imgur.com/x"}, ("", *["blocked_domain"] * 3)),
        ({"url": "http://old.reddit.com/r/x"}, ("", *["blocked_domain"] * 3)),
        ({"url": "http://github.com/a/b"}, ("", "blocked_domain", "blocked_domain", "")),
        ({"url": "http://bit.ly/1aB"}, ("", "", "", "blocked_domain")),
        ({"url": "http://drive.google.com/x"}, ("", *["blocked_domain"] * 3)),
        ({"url": "http://news.google.com/x"}, ("", "blocked_domain", "blocked_domain", "")),
        ({"url": "http://a.test/x.jpg"}, ("", *["blocked_extension"] * 3)),
        ({"url": "http://a.test/x.pdf"}, ("", *["blocked_extension"] * 3)),
        ({"url": "http://a.test/x.html"}, ("", "", "", "")),
    ],
)
def test_preset_judges_as_its_corpus_did(
    tmp_path: Path, changes: dict[str, Any], expected: tuple[str, ...]
) -> None:
    post = structs.replace(POST, **changes)
    for name, reason in zip(PRESETS, expected, strict=True):
        drop = Rules(config_of(name, tmp_path)).judge(post)[1]
        assert (drop.reason if drop else "") == reason, name


@pytest.mark.parametrize("name", PRESETS)
def test_preset_keeps_hosts_of_articles(tmp_path: Path, name: str) -> None:
    """Hosts that lead WebText's own list of domains and hold text."""
    rules = Rules(config_of(name, tmp_path))
    hosts = (
        "www.nytimes.com", "someone.blogspot.com", "someone.wordpress.com", "web.archive.org",
        "www.bbc.co.uk", "medium.com", "www.theguardian.com", "edition.cnn.com", "t.test", "xt.co",
        "myreddit.com", "notimgur.com", "arstechnica.com", "stackoverflow.com", "www.nature.com",
    )  # fmt: skip
    for host in hosts:
        assert rules.judge(structs.replace(POST, url=f"https://{host}/2017/11/a"))[1] is None, host


@pytest.mark.parametrize("name", PRESETS)
def test_preset_names_every_category_so_that_none_is_left_from_another(
    tmp_path: Path, name: str
) -> None:
    default = params.load("links", Config, ROOT / "params.yaml")
    text = (ROOT / "presets" / "corpus" / f"{name}.yaml").read_text()
    told = YAML().load(text)["links"]
    assert set(told["blocked_domains"]) == set(default.blocked_domains)
    assert set(told["blocked_extensions"]) == set(default.blocked_extensions)
    assert {"min_score", "score_per", "until_utc", "drop_over_18", "drop_wikipedia"} <= set(told)
    assert config_of(name, tmp_path).score_per == (
        "url" if name == "openwebtext2" else "submission"
    )


@pytest.mark.parametrize("name", PRESETS)
def test_preset_says_where_its_rules_come_from(name: str) -> None:
    text = (ROOT / "presets" / "corpus" / f"{name}.yaml").read_text()
    head = text.partition("links:")[0]
    assert re.search(r"section \d|jcpeterson/openwebtext|The Pile|paper's karma rule", head)


def test_blocked_hosts_of_a_category_are_distinct_and_registered_once(tmp_path: Path) -> None:
    for name in PRESETS:
        groups = config_of(name, tmp_path).blocked_domains
        entries = [entry for values in groups.values() for entry in values]
        assert len(entries) == len(set(entries)), name

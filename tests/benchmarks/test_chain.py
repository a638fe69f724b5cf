"""The chain benchmark: its input, small runs of ours, and of datatrove where it is installed."""

import json
from pathlib import Path

import pytest

from benchmarks import chain, harness
from benchmarks.harness import Run
from tests.benchmarks.small import NO_PEERS, PARAGRAPHS, run


def test_input_is_as_large_as_asked_for_the_same_again_and_every_fifth_page_repeats() -> None:
    pages = list(chain._pages(PARAGRAPHS, 300_000))
    assert pages == list(chain._pages(PARAGRAPHS, 300_000))
    assert 300_000 <= sum(len(markup) for _, markup in pages) < 330_000
    assert [url for url, _ in pages] == [chain.url_of(n) for n in range(len(pages))]
    titles = [markup.partition(b"<title>")[2].partition(b"<")[0] for _, markup in pages]
    repeated = [n for n in range(1, len(pages)) if titles[n] == titles[n - 1]]
    assert repeated == list(range(5, len(pages), 5))


def test_ratios_are_to_the_fastest_settings_and_to_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "_share_gone", lambda _folder: 1.0)
    (tmp_path / "warc").mkdir()
    fast, slow = (chain._name(setting) for setting in chain._FASTER[:2])
    default = chain._name(chain._DEFAULT)

    def runs(cpu_s: float, tokens: int) -> Run:
        return Run(cpu_s=cpu_s, wall_s=cpu_s, max_rss_bytes=1, told={"tokens": tokens})

    swept = {"outbound": runs(1, 9), default: runs(9, 9), fast: runs(3, 9), slow: runs(4, 9)}
    assert chain._fastest(swept) == {fast}
    assert chain._fastest({"outbound": swept["outbound"]}) == set()
    found, by_default = (
        {name: [swept[name]] for name in ("outbound", peer)} for peer in (fast, default)
    )
    whole = chain.Input(tmp_path, 100.0)
    told, checks = chain._result(whole, found, by_default, swept)
    assert (told["against"], told["ratio"], told["target"]) == (fast, 3.0, 2.0)
    (other,) = told["further"]
    assert other["against"] == f"{default}, on a tenth of the input"
    assert (other["ratio"], other["target"]) == (9.0, 4.0)
    assert told["swept"][slow] == 2.5
    assert checks["tokens_share"].value == 1.0
    found["outbound"] = [runs(1, 4)]
    _, checks = chain._result(whole, found, by_default, swept)
    assert checks["tokens_share"].value < checks["tokens_share"].at_least


@pytest.mark.slow
def test_chain_small_without_peers_makes_tokens_of_each_text_once(tmp_path: Path) -> None:
    told = run("chain", "--small", "--results", str(tmp_path), OUTBOUND_ENGINE="inline", **NO_PEERS)
    assert (told["name"], told["unit"], told["peers"]) == ("chain", "MB per CPU-second", {})
    assert told["checks"]["tokens_share"] == 1.0
    assert told["checks"]["duplicates_gone"] >= chain._MIN_GONE
    assert told["tokens"]["outbound"] > 100_000
    (small, _), (whole, _) = told["cost"]
    assert 8 < whole / small < 12
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_bytes())["entries"] == {"chain": told}


@pytest.mark.slow
def test_chain_small_with_peers_keeps_no_fewer_tokens() -> None:
    if harness.peer_python() is None:
        pytest.skip("datatrove is not installed: make bench-env")
    told = run("chain", "--small", OUTBOUND_ENGINE="inline")
    assert told["checks"]["tokens_share"] >= 0.9
    assert set(told["peers"]) == {chain._name(chain._FASTER[0])}
    assert told["further"][0]["against"].startswith(chain._name(chain._DEFAULT))
    assert told["versions"]["datatrove"] == "0.10.1"

"""The planted controls are found in a sound run, stop a run with any part broken, and stay out."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine
from pipeline.overlap import cluster, dedup, exact, exchange, minhash, planted
from pipeline.store import manifest
from pipeline.store.errors import ShardError

_LEVELS = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def _config(threshold: float = 0.75, **shape: int) -> dedup.Config:
    fields = {"shingle_words": 5, "bands": 14, "rows": 8, "seed": 1} | shape
    return dedup.Config(
        minhash=minhash.Config(**fields),
        threshold=threshold,
        max_comparisons=100,
        max_removed_frac=0.5,
        partitions=3,
    )


@pytest.fixture
def run(write_clean: Any, make_row: Any, inline: Engine) -> Any:
    """Returns a function that runs dedup over three documents, one of them twice."""

    def run_(config: dedup.Config) -> dict[str, Any]:
        rows = [make_row(i, text) for i, text in enumerate(["one two", "one  two", "three four"])]
        return dedup.run(write_clean([rows[:1], rows[1:]]), Path("unique"), config, inline)

    return run_


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("bands", "rows", "n"), [(14, 8, 5), (25, 10, 3), (2, 2, 1)])
def test_run_sound_build_follows_the_curve(run, bands: int, rows: int, n: int, seed: int) -> None:
    controls = run(_config(bands=bands, rows=rows, shingle_words=n, seed=seed))["controls"]
    assert [level["jaccard"] for level in controls] == _LEVELS
    for level in controls:
        expected = 1 - (1 - level["jaccard"] ** rows) ** bands
        assert level["expected_frac"] == pytest.approx(expected, abs=1e-4)
        assert abs(level["n_caught"] / 100 - expected) < 0.27  # five deviations at worst, 2 pairs
        assert level["n_joined"] == (level["n_caught"] if level["jaccard"] >= 0.75 else 0)


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_run_level_of_exactly_the_threshold_is_joined(run, threshold: float) -> None:
    for level in run(_config(threshold))["controls"]:
        assert level["n_joined"] == (level["n_caught"] if level["jaccard"] >= threshold else 0)


def test_run_controls_are_in_no_output_and_in_no_figure(run) -> None:
    figures = run(_config())
    assert figures["counts"] == {"n_in": 3, "n_out": 2, "dropped": {"duplicate_exact": 1}}
    tally = figures["tally"]
    assert tally["n_documents"] == 3
    for name in ("candidate_groups", "candidate_texts", "pairs_compared", "pairs_similar"):
        assert tally[f"n_{name}"] == 0, name
    assert figures["cluster_sizes"] == {"2": 1}
    assert figures["near_jaccard"] == {}
    unique = manifest.load(Path("unique"), "dedup")
    assert unique.n_shards == 2
    reserved = {planted.doc_id(name) for name in planted.texts(5)}
    assert len(reserved) == planted.N_DOCUMENTS
    for path in unique.folder.rglob("*.parquet"):
        assert reserved.isdisjoint(pq.read_table(path)["doc_id"].to_pylist())
    texts = b"".join(path.read_bytes() for path in unique.folder.rglob("*") if path.is_file())
    assert not any(doc_id.encode() in texts for doc_id in reserved)


@pytest.mark.parametrize("level", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("n", [1, 5])
def test_pair_has_exactly_the_planted_similarity(level: float, n: int) -> None:
    first, second = (set(_grams(text.lower(), n)) for text in planted.pair(level, 3, n))
    assert len(first & second) / len(first | second) == level


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    split = text.split()
    return [tuple(split[i : i + n]) for i in range(len(split) - n + 1)]


def test_texts_of_different_pairs_share_no_word() -> None:
    seen: dict[str, str] = {}
    for name, text in planted.texts(5).items():
        pair_name = name.rsplit("/", 1)[0]
        assert {seen.setdefault(word, pair_name) for word in text.lower().split()} == {pair_name}


def _constant(shingled: minhash.Shingles, config: minhash.Config) -> np.ndarray:
    return np.zeros((len(shingled.ends), config.bands * config.rows), np.uint32)


def test_run_constant_signature_is_refused(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minhash, "signatures", _constant)
    with pytest.raises(ShardError, match="without a common word were found alike"):
        run(_config())
    assert not Path("unique").exists()


def test_run_signature_that_looks_at_the_order_is_refused(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = minhash.signatures

    def last_only(shingled: minhash.Shingles, config: minhash.Config) -> np.ndarray:
        ends = np.arange(1, len(shingled.ends) + 1)
        return sound(minhash.Shingles(shingled.hashes[shingled.ends - 1], ends), config)

    monkeypatch.setattr(minhash, "signatures", last_only)
    with pytest.raises(ShardError, match=r"\d+ of 100 planted pairs of Jaccard 0\.\d share a band"):
        run(_config())


def test_run_exchange_that_loses_groups_is_refused(run, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = exchange.repeated
    monkeypatch.setattr(exchange, "repeated", lambda bands: sound(bands).slice(0, 0))
    with pytest.raises(ShardError, match=r"0 of 100 planted pairs of Jaccard 0\.7 share a band"):
        run(_config())


def test_run_verification_that_joins_everything_is_refused(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "jaccard", lambda _a, _b: 1.0)
    with pytest.raises(ShardError, match=r"pairs of Jaccard 0\.\d were joined at threshold 0\.75"):
        run(_config())


def test_run_verification_that_joins_nothing_is_refused(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "jaccard", lambda _a, _b: 0.0)
    with pytest.raises(ShardError, match=r"0 planted pairs of Jaccard 0\.8 were joined"):
        run(_config())


def test_run_copies_that_are_not_seen_are_refused(run, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = exact._solid
    monkeypatch.setattr(
        exact, "_solid", lambda text: sound(text) + str(len(text.split(" "))).encode()
    )
    monkeypatch.setattr(cluster, "jaccard", lambda _a, _b: 0.5)
    with pytest.raises(ShardError, match="0 of 20 planted copies were found"):
        run(_config())

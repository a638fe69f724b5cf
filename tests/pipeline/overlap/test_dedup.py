"""Dedup over shard folders: truth by brute force, invariance, limits, hostile input."""

import json
import random
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine, InlineEngine
from pipeline.overlap import dedup, members, minhash
from pipeline.overlap.dedup import Config
from pipeline.store import manifest, metrics, records
from pipeline.store.errors import ManifestError, ShardError

_MINHASH = minhash.Config(shingle_words=5, bands=14, rows=8, seed=1)
_CONFIG = Config(
    minhash=_MINHASH, threshold=0.75, max_comparisons=100, max_removed_frac=1.0, partitions=3
)
_VOCABULARY = [f"w{i}" for i in range(5000)]


def _corpus(make_row: Any, seed: int = 0, n_families: int = 40) -> list[dict[str, Any]]:
    """Families of one text each: edited copies at many similarities, exact copies, strangers."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for _ in range(n_families):
        base = rng.choices(_VOCABULARY, k=rng.randint(30, 200))
        for n_edits in [0, *rng.choices([0, 1, 2, 4, 8, 30], k=rng.randint(0, 4))]:
            words = list(base)
            for _ in range(n_edits):
                words[rng.randrange(len(words))] = rng.choice(_VOCABULARY)
            created = rng.choice([None, 5, 6, 7])
            rows.append(make_row(len(rows), " ".join(words), created))
    return rows


def _tuples(text: str, n: int = 5) -> set[tuple[str, ...]]:
    split = text.lower().split()
    return {tuple(split[i : i + n]) for i in range(max(1, len(split) - n + 1))}


def _jaccard(a: set[Any], b: set[Any]) -> float:
    return len(a & b) / len(a | b)


def _clusters(rows: list[dict[str, Any]], pairs: set[tuple[int, int]]) -> list[set[int]]:
    parts = [{i} for i in range(len(rows))]
    for a, b in pairs:
        left, right = (next(p for p in parts if x in p) for x in (a, b))
        if left is not right:
            parts.remove(right)
            left |= right
    return parts


def _best(rows: list[dict[str, Any]], members: set[int]) -> int:
    def key(i: int) -> tuple[Any, ...]:
        row = rows[i]
        created = row["created_utc"]
        return (created is None, created or 0, -len(row["text"]), row["doc_id"])

    return min(members, key=key)


def _read(folder: Path, subfolder: str) -> list[dict[str, Any]]:
    paths = manifest.load(folder, "dedup").paths(subfolder)
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def _kept(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["doc_id"]: row for side in ("train", "valid") for row in _read(folder, side)}


def test_run_clusters_and_survivors_equal_brute_force_over_all_pairs(
    write_clean, make_row, inline: Engine
) -> None:
    """Every pair above the threshold that shares a band, and no other, is joined."""
    rows = _corpus(make_row)
    sets = [_tuples(row["text"]) for row in rows]
    truth = {
        (a, b)
        for a, b in combinations(range(len(rows)), 2)
        if _jaccard(sets[a], sets[b]) >= _CONFIG.threshold
    }
    figures = dedup.run(write_clean([rows]), Path("data/unique"), _CONFIG, inline)
    kept = _kept(Path("data/unique"))
    dropped = {row["doc_id"]: row for row in _read(Path("data/unique"), "decisions")}
    number = {row["doc_id"]: i for i, row in enumerate(rows)}

    # Precision is 1: nothing is dropped but with a chain of true pairs to its survivor.
    true_cluster = {i: n for n, part in enumerate(_clusters(rows, truth)) for i in part}
    for doc_id, row in dropped.items():
        linked, told = row["detail"].split(" jaccard=")
        survivor, _, through = linked.partition(" through ")
        a, b = number[doc_id], number[through or survivor]
        assert true_cluster[a] == true_cluster[b] == true_cluster[number[survivor]]
        assert float(told) == pytest.approx(_jaccard(sets[a], sets[b]), abs=1e-4)
        same = rows[a]["text"] == rows[b]["text"]
        assert row["reason"] == ("duplicate_exact" if same else "duplicate_near")

    # Recall: expected misses of all true pairs together, by the curve; most are chained anyway.
    caught = sum(_survivor(rows[a], dropped) == _survivor(rows[b], dropped) for a, b in truth)
    expected = sum(minhash.caught_frac(_jaccard(sets[a], sets[b]), _MINHASH) for a, b in truth)
    assert len(truth) > 60
    assert caught >= expected - 3 * len(truth) ** 0.5 / 2

    found: dict[str, set[int]] = {}
    for row in rows:
        found.setdefault(_survivor(row, dropped), set()).add(number[row["doc_id"]])
    for survivor, cluster in found.items():
        assert number[survivor] == _best(rows, cluster)
        assert kept[survivor]["cluster_size"] == len(cluster)
        assert kept[survivor]["cluster_id"] == survivor
    assert figures["n_clusters"] == sum(len(members) > 1 for members in found.values())


def _survivor(row: dict[str, Any], dropped: dict[str, Any]) -> str:
    gone = dropped.get(row["doc_id"])
    return gone["detail"].split()[0] if gone else row["doc_id"]


def test_run_any_sharding_order_and_completion_gives_the_same_survivors(
    write_clean, make_row, shuffled
) -> None:
    rows = _corpus(make_row, seed=1)
    seen = []
    for n_shards, n_partitions, seed in ((1, 1, 0), (4, 2, 1), (4, 7, 2), (1, 7, 3), (7, 2, 4)):
        order = random.Random(seed).sample(rows, len(rows))
        parts = [order[i::n_shards] for i in range(n_shards)]
        config = Config(
            minhash=_MINHASH,
            threshold=0.75,
            max_comparisons=100,
            max_removed_frac=1.0,
            partitions=n_partitions,
        )
        folder = write_clean(parts, f"data/clean{seed}")
        output = Path(f"data/unique{seed}")
        figures = dedup.run(folder, output, config, shuffled(seed))
        decisions = sorted(_read(output, "decisions"), key=lambda row: row["doc_id"])
        splits = [
            sorted(_read(output, side), key=lambda row: row["doc_id"])
            for side in ("train", "valid")
        ]
        seen.append((figures, decisions, splits))
    assert len(seen[0][1]) > 20
    assert all(each == seen[0] for each in seen[1:])


def test_run_same_shards_on_other_engines_gives_the_same_bytes(
    write_clean, make_row, shuffled, ray_engine: Engine
) -> None:
    rows = _corpus(make_row, seed=2, n_families=15)
    folder = write_clean([rows[i::3] for i in range(3)])
    roots = []
    for name, engine in (("a", InlineEngine()), ("b", shuffled(5)), ("c", ray_engine)):
        dedup.run(folder, Path(name), _CONFIG, engine)
        roots.append(manifest.load(Path(name), "dedup").root)
        _forget_shards()
    assert roots[0] == roots[1] == roots[2]


def _forget_shards() -> None:
    """Empties the shard store, so that the next run computes everything again."""
    for path in sorted(Path(".shards").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def test_run_one_more_shard_recomputes_no_signature_of_the_others(
    write_clean, make_row, inline: Engine
) -> None:
    rows = _corpus(make_row, seed=3, n_families=10)
    dedup.run(write_clean([rows[0::3], rows[1::3]]), Path("data/unique"), _CONFIG, inline)
    before = _modified("dedup-signatures")
    dedup.run(write_clean([rows[0::3], rows[1::3], rows[2::3]]), Path("b"), _CONFIG, inline)
    after = _modified("dedup-signatures")
    assert len(before) == 3  # two shards and the controls
    assert len(after) == 4
    assert before.items() <= after.items()


def test_run_one_document_less_redoes_only_what_it_touched(
    write_clean, make_row, inline: Engine
) -> None:
    """Of 20 ranges of the band keys, a document has a key in 14 at most, and its id in one."""
    rows = _corpus(make_row, seed=7, n_families=12)
    config = replace(_CONFIG, partitions=20)
    dedup.run(write_clean([rows[0::3], rows[1::3], rows[2::3]]), Path("a"), config, inline)
    signed, grouped = _names("dedup-signatures"), _names("dedup-exchange")
    dedup.run(write_clean([rows[0::3], rows[1::3], rows[5::3]]), Path("b"), config, inline)
    assert len(signed & _names("dedup-signatures")) == 3  # two shards and the controls
    assert len(grouped & _names("dedup-exchange")) >= 20 - 15


def _names(step: str) -> set[str]:
    return {path.name for path in (Path(".shards") / step).iterdir()}


def _modified(step: str) -> dict[str, int]:
    files = (Path(".shards") / step).glob("*/documents.arrow")
    return {str(path): path.stat().st_mtime_ns for path in files}


def test_run_counts_are_conserved_and_every_drop_has_a_decision(
    write_clean, make_row, inline: Engine
) -> None:
    rows = _corpus(make_row, seed=4)
    figures = dedup.run(
        write_clean([rows[i::4] for i in range(4)]), Path("data/unique"), _CONFIG, inline
    )
    counts, decisions = figures["counts"], _read(Path("data/unique"), "decisions")
    kept = _kept(Path("data/unique"))
    assert counts["n_in"] == len(rows) == len(kept) + len(decisions)
    assert counts["n_out"] == len(kept) == figures["tally"]["n_train"] + figures["tally"]["n_valid"]
    assert sum(counts["dropped"].values()) == len(decisions)
    assert {row["doc_id"] for row in decisions} | set(kept) == {row["doc_id"] for row in rows}
    texts = {row["doc_id"]: row["text"] for row in rows}
    assert all(row["excerpt"] == texts[row["doc_id"]][:400] for row in decisions)


def test_run_split_is_by_hash_of_the_survivor_and_schema_is_the_contract(
    write_clean, make_row, inline: Engine
) -> None:
    rng = random.Random(5)
    rows = [make_row(i, " ".join(rng.choices(_VOCABULARY, k=8))) for i in range(600)]
    dedup.run(write_clean([rows]), Path("data/unique"), _CONFIG, inline)
    folder = manifest.load(Path("data/unique"), "dedup")
    for side, expected in (("train", False), ("valid", True)):
        table = pq.read_table(folder.paths(side)[0])
        assert table.schema.equals(records.UNIQUE)
        ids = table["doc_id"].to_pylist()
        assert ids
        assert all(records.is_validation(doc_id) == expected for doc_id in ids)


def test_run_survivor_is_earliest_then_longest_then_least_id(
    write_clean, make_row, inline: Engine
) -> None:
    text = " ".join(_VOCABULARY[:60])
    rows = [
        make_row(0, text, None),
        make_row(1, text, 9),
        make_row(2, text + " more", 8),
        make_row(3, text + " much more", 8),
        make_row(4, text + " much more", 8),
    ]
    dedup.run(write_clean([rows]), Path("data/unique"), _CONFIG, inline)
    (survivor,) = _kept(Path("data/unique"))
    assert survivor == min(rows[3]["doc_id"], rows[4]["doc_id"])


def test_run_figures_name_clusters_and_pairs_for_the_report(
    write_clean, make_row, inline: Engine
) -> None:
    texts = [" ".join(_VOCABULARY[i * 100 : i * 100 + 60]) for i in range(30)]
    near = [text + " and more" for text in texts]
    rows = [make_row(i, text) for i, text in enumerate(texts + near + [texts[0]] * 3)]
    figures = dedup.run(write_clean([rows]), Path("data/unique"), _CONFIG, inline)
    # The longer text of each family survives, so the four equal short ones are near duplicates.
    assert figures["counts"]["dropped"] == {"duplicate_near": 33}
    assert figures["cluster_sizes"] == {"2": 29, "5-8": 1}
    assert [c["size"] for c in figures["largest_clusters"]] == [5] + [2] * 9
    assert len(figures["largest_clusters"][0]["dropped"]) == 4
    assert len(figures["sample_pairs"]) == 4
    assert all(pair["jaccard"] == round(56 / 58, 4) for pair in figures["sample_pairs"])
    metrics.write("dedup", figures)
    assert json.loads(Path("metrics/dedup.json").read_text())["n_clusters"] == 30


def test_run_chain_of_true_pairs_is_one_cluster_and_says_so(
    write_clean, make_row, inline: Engine
) -> None:
    """a and b are alike, b and c are, a and c are not: all one cluster, the far end counted."""
    words = _VOCABULARY[:230]
    a, b, c = (" ".join(words[start : start + 190]) for start in (0, 20, 40))
    rows = [make_row(i, text, i) for i, text in enumerate((a, b, c))]
    sets = [_tuples(text) for text in (a, b, c)]
    similar = [_jaccard(sets[x], sets[y]) for x, y in ((0, 1), (1, 2), (0, 2))]
    assert min(similar[:2]) > 0.75 > similar[2]
    figures = dedup.run(write_clean([rows]), Path("data/unique"), _CONFIG, inline)
    details = {row["doc_id"]: row["detail"] for row in _read(Path("data/unique"), "decisions")}
    ids = [row["doc_id"] for row in rows]
    assert details[ids[1]] == f"{ids[0]} jaccard={similar[0]:.4f}"
    # Either the far end met the survivor in some unit, or it is told through whom it hangs there.
    direct = f"{ids[0]} jaccard={similar[2]:.4f}"
    assert details[ids[2]] in (direct, f"{ids[0]} through {ids[1]} jaccard={similar[1]:.4f}")
    assert figures["tally"]["n_chained"] == 1


def test_check_two_texts_with_one_content_key_are_refused() -> None:
    content = np.array([5, 7, 7], np.uint64)
    with pytest.raises(ShardError, match=r"one 64-bit content key.*dedup\.minhash\.seed"):
        members.check(content, np.array([3, 3, 4], np.uint64))
    members.check(content, np.array([4, 3, 3], np.uint64))


def test_run_more_removed_than_allowed_is_refused_and_names_the_parameter(
    write_clean, make_row, inline: Engine
) -> None:
    text = " ".join(_VOCABULARY[:60])
    rows = [make_row(i, text if i < 6 else f"{i} {text[::-1]} {i}") for i in range(10)]
    config = Config(
        minhash=_MINHASH, threshold=0.75, max_comparisons=9, max_removed_frac=0.5, partitions=1
    )
    with pytest.raises(ShardError, match=r"8 of 10 documents \(80\.0%\).*dedup\.max_removed_frac"):
        dedup.run(write_clean([rows]), Path("data/unique"), config, inline)
    assert not Path("data/unique/manifest.json").exists()


def test_run_texts_without_enough_words_match_exactly_or_word_by_word(
    write_clean, make_row, inline: Engine
) -> None:
    texts = ["", " \n", "...", "!!!", "a b", "A, b.", "a b c", "a b c d e", "a b c d e f"]
    rows = [make_row(i, text, i) for i, text in enumerate(texts)]
    dedup.run(write_clean([rows]), Path("data/unique"), _CONFIG, inline)
    dropped = {row["doc_id"]: row for row in _read(Path("data/unique"), "decisions")}
    reasons = [dropped.get(row["doc_id"], {}).get("reason") for row in rows]
    # Only white space: one text. Same words: near at Jaccard 1. "a b" and "a b c" share nothing.
    expected = [None] * 9
    expected[1], expected[5] = "duplicate_exact", "duplicate_near"
    assert reasons == expected
    assert dropped[rows[5]["doc_id"]]["detail"].endswith("jaccard=1.0000")


def test_run_thousands_of_equal_documents_compare_nothing(
    write_clean, make_row, inline: Engine
) -> None:
    text = " ".join(_VOCABULARY[:300])
    rows = [make_row(i, text, 1) for i in range(5000)]
    figures = dedup.run(
        write_clean([rows[i::2] for i in range(2)]), Path("data/unique"), _CONFIG, inline
    )
    assert figures["counts"]["dropped"] == {"duplicate_exact": 4999}
    assert figures["tally"]["n_pairs_compared"] == 0
    assert figures["cluster_sizes"] == {"4097-8192": 1}


def test_run_thousands_of_near_equal_documents_are_not_compared_pairwise(
    write_clean, make_row, inline: Engine
) -> None:
    n, text = 1500, " ".join(_VOCABULARY[:300])
    rows = [make_row(i, f"{text} page {i}", 1) for i in range(n)]
    figures = dedup.run(write_clean([rows]), Path("data/unique"), _CONFIG, inline)
    assert figures["counts"]["dropped"] == {"duplicate_near": n - 1}
    assert figures["tally"]["n_pairs_compared"] < 2 * n


def test_run_bucket_beyond_one_meeting_is_still_one_cluster(
    write_clean, make_row, inline: Engine
) -> None:
    n, text = 5000, " ".join(_VOCABULARY[:60])
    rows = [make_row(i, f"{text} page {i}", 1) for i in range(n)]
    figures = dedup.run(
        write_clean([rows[i::3] for i in range(3)]), Path("data/unique"), _CONFIG, inline
    )
    assert figures["tally"]["n_sliced_buckets"] > 1
    assert figures["counts"]["dropped"] == {"duplicate_near": n - 1}
    assert [cluster["size"] for cluster in figures["largest_clusters"]] == [n]


def test_run_giant_texts_are_data(write_clean, make_row, inline: Engine) -> None:
    one_word, prose = "x" * 10_000_000, " ".join(random.Random(6).choices(_VOCABULARY, k=500_000))
    texts = [one_word, one_word, prose, prose + " end", "中" * 500_000, "\x00" * 1000, "a " * 10**6]
    rows = [make_row(i, text) for i, text in enumerate(texts)]
    figures = dedup.run(write_clean([rows]), Path("data/unique"), _CONFIG, inline)
    assert figures["counts"]["dropped"] == {"duplicate_exact": 1, "duplicate_near": 1}


def test_run_empty_shards_give_empty_shards(write_clean, make_row, inline: Engine) -> None:
    figures = dedup.run(
        write_clean([[], [make_row(1, "a b c d e f")], []]), Path("data/unique"), _CONFIG, inline
    )
    assert figures["counts"] == {"n_in": 1, "n_out": 1, "dropped": {}}
    assert len(manifest.load(Path("data/unique"), "dedup").paths("train")) == 3


def test_run_folder_without_any_document_gives_an_empty_folder(write_clean, inline: Engine) -> None:
    figures = dedup.run(write_clean([[]]), Path("data/unique"), _CONFIG, inline)
    assert figures["counts"] == {"n_in": 0, "n_out": 0, "dropped": {}}
    assert figures["sample_pairs"] == figures["largest_clusters"] == []


def test_run_folder_without_shards_is_refused(write_clean, inline: Engine) -> None:
    with pytest.raises(ManifestError, match="holds no shard; run `dvc repro clean`"):
        dedup.run(write_clean([]), Path("data/unique"), _CONFIG, inline)


def test_run_missing_input_names_the_command(workspace: Path, inline: Engine) -> None:
    with pytest.raises(ManifestError, match="dvc repro clean"):
        dedup.run(workspace / "data/clean", Path("data/unique"), _CONFIG, inline)


def test_run_doc_id_in_two_shards_is_refused(write_clean, make_row, inline: Engine) -> None:
    rows = [make_row(1, "one text"), make_row(1, "another text")]
    with pytest.raises(ShardError, match=rf"{rows[0]['doc_id']} occurs in two rows"):
        dedup.run(write_clean([rows[:1], rows[1:]]), Path("data/unique"), _CONFIG, inline)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threshold", 0.0),
        ("threshold", 1.7),
        ("max_comparisons", 0),
        ("max_removed_frac", -0.1),
        ("partitions", 0),
    ],
)
def test_config_value_out_of_range_is_named(key: str, value: float) -> None:
    fields: dict[str, Any] = {
        "minhash": _MINHASH,
        "threshold": 0.8,
        "max_comparisons": 1,
        "max_removed_frac": 0.5,
        "partitions": 1,
    }
    with pytest.raises(ValueError, match=f"^{key} is {value}; expected"):
        Config(**fields | {key: value})

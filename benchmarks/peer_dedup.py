"""The peers' way from documents to unique documents, run by the interpreter of `.venv-bench`.

python peer_dedup.py datatrove FOLDER OUTPUT N_TASKS en|xx|split
python peer_dedup.py text-dedup FOLDER OUTPUT
python peer_dedup.py prepare FOLDER

FOLDER holds `jsonl/` (datatrove) and `arrow/` (text-dedup, made by `prepare`). What each document's
cluster is goes to OUTPUT/clusters.json: lists of document ids.
"""

import json
import pickle
import shutil
import sys
from collections import defaultdict
from pathlib import Path

BANDS, ROWS, WORDS = 14, 8, 5
_WORKERS = 2


def datatrove(folder: Path, output: Path, n_tasks: int, words: str) -> None:
    """Runs the four MinHash stages with datatrove's local executor."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.word_tokenizers import WhitespaceTokenizer
    from peer_words import Split

    config = MinhashConfig(
        n_grams=WORDS,
        num_buckets=BANDS,
        hashes_per_bucket=ROWS,
        hash_config=HashConfig(precision=64, hash_fc="xxhash"),
    )
    reader = JsonlReader(str(folder / "jsonl"), glob_pattern="*.jsonl")
    signatures, buckets, removed = (str(output / n) for n in ("signatures", "buckets", "removed"))
    language = {"split": Split(), "xx": WhitespaceTokenizer()}.get(words, words)
    stages = [
        ([reader, MinhashDedupSignature(signatures, config=config, language=language)], n_tasks),
        ([MinhashDedupBuckets(signatures, buckets, config=config)], BANDS),
        ([MinhashDedupCluster(buckets, removed, config=config, save_cluster_id=True)], 1),
        (
            [
                reader,
                MinhashDedupFilter(removed, load_cluster_ids=True),
                JsonlWriter(str(output / "unique"), compression=None),
            ],
            n_tasks,
        ),
    ]
    for i, (pipeline, tasks) in enumerate(stages):
        executor = LocalPipelineExecutor(
            pipeline, tasks=tasks, workers=_WORKERS, logging_dir=str(output / f"logs-{i}")
        )
        executor.run()


def datatrove_clusters(folder: Path, output: Path) -> list[list[str]]:
    """Returns the clusters that stage 3 wrote, as ids of documents."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted((folder / "jsonl").glob("*.jsonl")):
        ids = [json.loads(line)["id"] for line in path.read_text().splitlines()]
        rank = int(path.stem.rpartition("-")[2])
        data = (output / "removed" / f"{rank:06d}.clusters").read_bytes()
        for at in range(0, len(data), 8):
            row, cluster = (int.from_bytes(data[at + i : at + i + 4], "little") for i in (0, 4))
            found[cluster].append(ids[row])
    return list(found.values())


def text_dedup(folder: Path, output: Path) -> None:
    """Runs text-dedup's MinHash script; its signatures are 32 bits in 64."""
    from text_dedup import minhash

    output.mkdir(parents=True, exist_ok=True)
    options = {
        "path": str(folder / "arrow"),
        "output": str(output / "unique"),
        "column": "text",
        "ngram": WORDS,
        "num_perm": BANDS * ROWS,
        "b": BANDS,
        "r": ROWS,
        "min_length": 1,
        "hash_func": "xxh3",
        "num_proc": _WORKERS,
        "split": "train",
        "cache_dir": str(output / "cache"),
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    minhash.main([*arguments, "--local", "--debug"], standalone_mode=False)


def text_dedup_clusters(folder: Path, output: Path) -> list[list[str]]:
    """Returns the clusters in the union-find that the script left."""
    import datasets

    ids = datasets.load_from_disk(str(folder / "arrow"))["id"]
    parents = pickle.loads((output / "unique" / "uf.pkl").read_bytes()).parent
    found: dict[int, list[str]] = defaultdict(list)
    for row in parents:
        root = row
        while parents.get(root, root) != root:
            root = parents[root]
        found[root].append(ids[row])
    return list(found.values())


def prepare(folder: Path) -> None:
    """Writes the documents in the form that text-dedup opens fastest."""
    import datasets

    rows = [
        {name: told[name] for name in ("id", "text")}
        for path in sorted((folder / "jsonl").glob("*.jsonl"))
        for told in map(json.loads, path.read_text().splitlines())
    ]
    columns = {name: [row[name] for row in rows] for name in ("id", "text")}
    datasets.Dataset.from_dict(columns).save_to_disk(str(folder / "arrow"))


def main() -> None:
    """Does what the command line says."""
    what, folder, *rest = sys.argv[1:]
    if what in ("datatrove", "text-dedup"):  # datatrove skips what an earlier run has finished
        shutil.rmtree(rest[0], ignore_errors=True)
    match what:
        case "prepare":
            prepare(Path(folder))
        case "datatrove":
            datatrove(Path(folder), Path(rest[0]), int(rest[1]), rest[2])
        case "text-dedup":
            text_dedup(Path(folder), Path(rest[0]))
        case "clusters":
            of = datatrove_clusters if rest[1] == "datatrove" else text_dedup_clusters
            found = of(Path(folder), Path(rest[0]))
            print(json.dumps({"clusters": found}))


if __name__ == "__main__":
    main()

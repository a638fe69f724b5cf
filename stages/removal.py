"""Proves that nothing of the removal list is left, and lists who saw it.

    python -m stages.removal [LIST]      default: removal.list of params.yaml

Prints how many 8-grams only the removed documents hold, and how many of them each folder behind
`extract` still holds: 0, or the command fails. Then, for each training run, the steps that read the
documents and the checkpoints on disk that have done those steps. The captures themselves stay in
data/warc and data/pages.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from model.training import lineage
from pipeline.engine import command, parallel, shardmap
from pipeline.engine.tasks import Engine
from pipeline.overlap import residue
from pipeline.store import manifest
from pipeline.text import clean, normalize, removal
from pipeline.tokens import encode
from stages import params

DATA = Path("data")
CHECKPOINTS = Path("models/checkpoints")


def told(listed: Path) -> Iterator[str]:
    """Yields the proof and the exposure; raises at the end if anything is left."""
    with parallel.engine() as engine:
        gone = removal.ids([DATA / "pages", DATA / "documents"], DATA / "fetches", listed, engine)
        left = examine(gone, engine)
    yield f"{listed}: {left.n_documents} documents of {DATA / 'pages'} and {DATA / 'documents'}"
    yield f"8-grams of words: {left.n_ngrams}, of them {left.n_unique} in no other page"
    yield from (f"    left in {name}: {n}" for name, n in left.remaining.items())
    for doc_id, n in left.sharers.items():
        yield f"doc_id {doc_id} stays, with {n} 8-grams that it holds itself"
    named = sorted({*gone, *removal.read(listed).documents})  # pages that are no more, too
    for run in lineage.runs(DATA / "tokens", params.read(), CHECKPOINTS):
        yield from lineage.exposure_lines(run, named)
    left.check()


def examine(gone: dict[str, str], engine: Engine) -> residue.Residue:
    """Looks for what is left of documents in every finished folder behind the crawl."""
    config = params.load("clean", clean.Config)
    settings = normalize.Config(mend_encoding=config.mend_encoding, detokenize=config.detokenize)
    regular = partial(normalize.normalize, config=settings)
    both = partial(residue.raw_and_regular, residue.read_parquet, regular)
    decoded = partial(encode.read_texts, DATA / "bpe" / "tokenizer.json")
    pages = residue.Source(
        "data/pages",
        [*_files("pages", "extract"), *_files("documents", "documents")],
        both,
    )
    cleaned = residue.Source("data/clean", _files("clean", "clean"), residue.read_parquet)
    split = ("train", "valid")
    results = [
        cleaned,
        residue.Source("data/unique", _files("unique", "dedup", *split), residue.read_parquet),
        residue.Source(
            "data/corpus", _files("corpus", "decontaminate", *split), residue.read_parquet
        ),
        residue.Source("data/tokens", _files("tokens", "encode", *split), decoded),
        residue.Source("data/eval", sorted(DATA.glob("eval/*.parquet")), residue.read_examples),
        residue.Source(
            "data/labelled", sorted(DATA.glob("labelled/*.parquet")), residue.read_labelled
        ),
    ]
    scratch = shardmap.STORE.absolute() / "tmp-residue"
    return residue.examine(gone, pages, [cleaned], results, scratch, engine)


def _files(folder: str, stage: str, *splits: str) -> Sequence[Path]:
    """Returns the absolute data files of a finished folder; workers have no current folder."""
    finished = manifest.load(DATA / folder, stage)
    return [path.absolute() for split in splits or ("",) for path in finished.paths(split)]


def main() -> int:
    """Prints the proof."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.removal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("list", nargs="?", help="file of domains, URLs and document ids")
    asked = parser.parse_args().list
    for line in told(Path(asked or params.load("removal", removal.Config).list)):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(command.guarded(main))

"""datatrove's filters over JSON lines, run by the interpreter of `.venv-bench`.

python peer_filters.py clean JSONL OUTPUT N_TASKS en|split
python peer_filters.py decontaminate JSONL OUTPUT N_TASKS en|split INDEX
python peer_filters.py index EXAMPLES.jsonl INDEX en|split

`clean` mends encodings and applies the filters of Gopher, C4 and FineWeb at their defaults;
`decontaminate` drops documents that share an 8-gram with an example. The index of these is written
here: datatrove's own indexer asks for a package that downloads test sets. `en` is spaCy's English
tokenizer, the default, `split` cuts words at white space.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.formatters import FTFYFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import create_hash_func
from datatrove.utils.text import ngrams, simplify_text
from datatrove.utils.word_tokenizers import WordTokenizer, load_word_tokenizer
from peer_words import Split

_WORKERS = 2
_N_GRAMS = 8


def run(kind: str, jsonl: str, output: str, n_tasks: str, words: str, *index: str) -> None:
    """Runs reader, filters and writer with datatrove's local executor."""
    shutil.rmtree(output, ignore_errors=True)
    language = _language(words)
    if kind == "clean":
        filters = [
            FTFYFormatter(),
            GopherRepetitionFilter(language=language),
            GopherQualityFilter(language=language),
            C4QualityFilter(language=language),
            FineWebQualityFilter(language=language),
        ]
    else:
        config = NGramsDecontConfig(n_grams=_N_GRAMS)
        filters = [NGramsDecontFilter(index[0], config=config, language=language)]
    executor = LocalPipelineExecutor(
        [JsonlReader(jsonl), *filters, JsonlWriter(f"{output}/kept", compression=None)],
        tasks=int(n_tasks),
        workers=_WORKERS,
        logging_dir=f"{output}/logs",
    )
    executor.run()


def write_index(examples: str, folder: str, words: str) -> None:
    """Writes the hashes of all 8-grams of the examples as the filter reads them."""
    config = NGramsDecontConfig(n_grams=_N_GRAMS)
    tokenizer, hashed = load_word_tokenizer(_language(words)), create_hash_func(config.hash_config)
    found = set()
    for line in Path(examples).read_text(encoding="utf-8").splitlines():
        text = simplify_text(json.loads(line)["text"], config.norm_config)
        grams = ngrams(tokenizer.word_tokenize(text), _N_GRAMS)
        found.update(hashed(" ".join(gram)) for gram in grams)
    Path(folder).mkdir(parents=True, exist_ok=True)
    hashes = np.array(sorted(found), dtype=config.hash_config.np_descr)
    hashes.tofile(Path(folder) / "examples.index.hashes")


def _language(words: str) -> str | WordTokenizer:
    return Split() if words == "split" else words


if __name__ == "__main__":
    if sys.argv[1] == "index":
        write_index(*sys.argv[2:])
    else:
        run(*sys.argv[1:])

"""datatrove's way from WARC files to token files, run by the interpreter of `.venv-bench`.

python peer_chain.py FOLDER OUTPUT TOKENIZER_JSON N_TASKS FOCUS DEDUP EFFORT WORDS
    FOCUS precision|balanced    DEDUP dedup|plain    EFFORT full|fast    WORDS en|split

FOLDER holds the WARC files. The steps are those of its FineWeb example: reader, Trafilatura,
Gopher's repetition and quality filters, C4's, four MinHash stages, tokenizer; every filter at its
defaults. `en` is the whole at its defaults, spaCy's English words and gzipped files between the
stages; `split` takes words by white space, leaves files as they are, signs documents where they are
filtered and does not shuffle. Tokens of the last stage are told as JSON.
"""

import json
import shutil
import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter
from peer_words import Split

_WORKERS = 2
_TIMEOUT_S = 60  # the default of one second loses pages on a busy machine


def main() -> None:
    """Runs the stages one after the other with datatrove's local executor."""
    warcs, output, tokenizer, n_tasks, focus, dedup, effort, words = sys.argv[1:]
    shutil.rmtree(output, ignore_errors=True)
    is_default = words == "en"
    language = "en" if is_default else Split()
    texts, signatures, buckets, removed, tokens = (
        str(Path(output) / name) for name in ("texts", "signatures", "buckets", "removed", "tokens")
    )
    config = MinhashConfig()
    extractor = Trafilatura(
        favour_precision=focus == "precision",
        deduplicate=dedup == "dedup",
        timeout=_TIMEOUT_S,
        fast=effort == "fast",
    )
    base = [
        WarcReader(warcs, glob_pattern="*.warc.gz"),
        extractor,
        GopherRepetitionFilter(language=language),
        GopherQualityFilter(language=language),
        C4QualityFilter(language=language),
        JsonlWriter(texts, **({} if is_default else {"compression": None})),
    ]
    reader = JsonlReader(texts)
    sign = MinhashDedupSignature(signatures, config=config, language=language)
    writer = DocumentTokenizer(
        tokens, tokenizer, eos_token="<|endoftext|>", shuffle_documents=is_default
    )
    stages = [
        *([(base, int(n_tasks)), ([reader, sign], int(n_tasks))] if is_default else []),
        *([] if is_default else [([*base, sign], int(n_tasks))]),
        ([MinhashDedupBuckets(signatures, buckets, config=config)], config.num_buckets),
        ([MinhashDedupCluster(buckets, removed, config=config)], 1),
        ([reader, MinhashDedupFilter(removed), writer], int(n_tasks)),
    ]
    for i, (pipeline, tasks) in enumerate(stages):
        executor = LocalPipelineExecutor(
            pipeline, tasks=tasks, workers=_WORKERS, logging_dir=str(Path(output) / f"logs-{i}")
        )
        executor.run()
    n_bytes = sum(path.stat().st_size for path in Path(tokens).glob("*.ds"))
    print(json.dumps({"tokens": n_bytes // 2}))


if __name__ == "__main__":
    main()

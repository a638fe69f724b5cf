"""datatrove's way from text to token files, run by the interpreter of `.venv-bench`.

python peer_encode.py PARQUET_FOLDER OUTPUT_FOLDER TOKENIZER_JSON N_TASKS BATCH plain|shuffled
"""

import shutil
import sys

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.tokens import DocumentTokenizer


def main() -> None:
    """Runs reader and tokenizer with datatrove's local executor, one task per file."""
    source, output, tokenizer, n_tasks, batch, order = sys.argv[1:]
    shutil.rmtree(output, ignore_errors=True)
    executor = LocalPipelineExecutor(
        [
            ParquetReader(source, text_key="text", id_key="doc_id", glob_pattern="*.parquet"),
            DocumentTokenizer(
                output,
                tokenizer,
                eos_token="<|endoftext|>",
                batch_size=int(batch),
                shuffle_documents=order == "shuffled",
            ),
        ],
        tasks=int(n_tasks),
        workers=2,
        logging_dir=f"{output}/logs",
        skip_completed=False,
    )
    executor.run()


if __name__ == "__main__":
    main()

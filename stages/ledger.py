"""Asks the ledger: what became of a link, what a training step read, which corpus this is.

--url URL, --id DOC_ID         one document: its way through the stages, the WARC record that
                               holds it, its submissions, the training steps that read it
--host HOST, --domain DOMAIN   how many documents of a site ended in which stage and why
--step N                       the documents behind a training step (the first is 0), with
                               their WARC records and submissions; --out writes them as Parquet
--root                         the corpus's one digest, computed anew
--out FILE                     everybody's fate as a Parquet file
"""

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from model.training import lineage
from pipeline.engine import command, root
from pipeline.engine.tasks import InlineEngine
from pipeline.store import inquiry, ledger, origin
from pipeline.text import captures
from stages import params

DATA = Path("data")
CHECKPOINTS = Path("models/checkpoints")

Lines = Iterator[str]


def of_document(doc_id: str) -> Lines:
    """Yields everything that is known of one document."""
    opened = ledger.load(DATA)
    way = inquiry.explain(opened, doc_id)
    found = origin.origins(opened, DATA, [doc_id], captures.offsets)[doc_id]
    yield f"doc_id {doc_id}  {found.url}"
    yield from [*way, *origin.told(found)]
    for run in _runs():
        yield from lineage.told_steps(run, doc_id)


def of_site(column: str, site: str) -> Lines:
    """Yields a line per stage and reason."""
    counts = inquiry.census(ledger.load(DATA), column, site)
    yield f"{sum(counts.values())} documents of {column} {site}"
    yield from _counted(counts)


def of_step(step: int, out: Path | None) -> Lines:
    """Yields the documents of one training step, the most tokens first."""
    run, opened = _trained(), ledger.load(DATA)
    n_tokens = run.documents_of(step)
    found = origin.origins(opened, DATA, list(n_tokens), captures.offsets)
    yield (
        f"run {run.name}: step {step} of 0 to {run.plan.steps - 1} read "
        f"{run.plan.batch_size} windows of {run.plan.n_ctx} tokens from {len(found)} documents"
    )
    for doc_id in sorted(found, key=lambda d: (-n_tokens[d], d)):
        yield f"doc_id {doc_id}  {n_tokens[doc_id]} tokens  {found[doc_id].url}"
        yield from (f"    {line}" for line in origin.told(found[doc_id]))
    if out is not None:
        origin.write(out, list(found.values()), n_tokens)


def of_corpus() -> Lines:
    """Yields the root of the corpus."""
    yield root.run(DATA / "corpus", InlineEngine())


def of_all(out: Path) -> Lines:
    """Writes the table of fates and yields its counts."""
    counts = inquiry.write(ledger.load(DATA), out)
    yield f"{out}: {sum(counts.values())} documents"
    yield from _counted(counts)


def _counted(counts: Mapping[tuple[str, str], int]) -> Lines:
    yield from (f"{n:>8}  {stage}: {reason}" for (stage, reason), n in counts.items())


def _runs() -> list[lineage.Run]:
    return lineage.runs(DATA / "tokens", params.read(), CHECKPOINTS)


def _trained() -> lineage.Run:
    """Returns the run of the tokens at hand, recorded or not."""
    found = _runs()
    if not found:
        raise FileNotFoundError(f"{DATA / 'tokens'} holds no tokens; run `dvc repro encode`")
    return found[0]


def _answer(asked: argparse.Namespace) -> Callable[[], Lines] | None:
    """Returns what answers the question that was asked."""
    out = Path(asked.out) if asked.out else None
    answers: list[tuple[bool, Callable[[], Lines]]] = [
        (asked.url is not None, lambda: of_document(inquiry.id_of(asked.url))),
        (asked.id is not None, lambda: of_document(asked.id)),
        (asked.host is not None, lambda: of_site("host", asked.host)),
        (asked.domain is not None, lambda: of_site("domain", asked.domain)),
        (asked.step is not None, lambda: of_step(asked.step, out)),
        (asked.root, of_corpus),
        (out is not None, lambda: of_all(out or Path())),
    ]
    return next((answer for is_asked, answer in answers if is_asked), None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stages.ledger",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one = parser.add_mutually_exclusive_group()
    for name in ("url", "id", "host", "domain"):
        one.add_argument(f"--{name}")
    one.add_argument("--step", type=int)
    one.add_argument("--root", action="store_true")
    parser.add_argument("--out")
    return parser


def main() -> int:
    """Prints the answer."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it, silently
    parser = _parser()
    answer = _answer(parser.parse_args())
    if answer is None:
        parser.error("ask one of --url, --id, --host, --domain, --step, --root, --out")
    for line in answer():
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(command.guarded(main))

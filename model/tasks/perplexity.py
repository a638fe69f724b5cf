"""How well a model predicts running text: bits per byte, perplexity per token and per word.

    nll = - sum of log P(token | up to n_ctx tokens before it), over all tokens, in nats

    bits_per_byte     nll / ln 2 / n_bytes          does not depend on the vocabulary
    perplexity_token  exp(nll / n_tokens)           does
    perplexity_word   exp(nll / n_words)            words of the text as published, <eos> included

Decisions:
- Every token is scored once, in windows that advance by `stride` (`model.score.windows`). A text
  stands after `<|endoftext|>`; the marker at its end is not charged.
- Documents are scored one by one; a published set is one running text, lines and all.
- Two protocols for each published set: its bytes as they are, and detokenized line by line as far
  as the line can be restored. Both are divided by the words of the published text, so that neither
  gains by counting differently.

Paper: GPT-2, section 3.1: the sum is divided by canonical units, then exponentiated.
"""

import math
from collections.abc import Sequence

from model.tasks.forms import Example, n_words
from model.tasks.registry import WORDS
from model.tasks.results import Bench, Result, rounded
from pipeline.text.detokenize import Convention, detokenize_exactly, is_exact


def documents(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Scores documents one by one."""
    texts = [each.text for each in examples]
    words = sum(len(text.split()) for text in texts)
    return [measure(name, texts, (words, "words between blanks"), bench)]


def running_text(
    name: str, examples: Sequence[Example], bench: Bench, convention: Convention
) -> list[Result]:
    """Scores a published text as it is and detokenized."""
    raw = "".join(each.text for each in examples)
    unit = (n_words(raw), WORDS)
    lines = raw.split("\n")
    clean = [detokenize_exactly(line, convention) for line in lines]
    kept = sum(not is_exact(a, b, convention) for a, b in zip(lines, clean, strict=True))
    plain = measure(f"{name}_raw", [raw], unit, bench)
    better = measure(f"{name}_detokenized", ["\n".join(clean)], unit, bench)
    better.protocol.update(detokenizer="lines that can be restored", n_lines_not_restored=kept)
    return [plain, better]


def measure(name: str, texts: Sequence[str], words: tuple[int, str], bench: Bench) -> Result:
    """Scores texts, each after `<|endoftext|>`.

    Args:
        name: The result's.
        texts: As the model is to read them.
        words: Number of words to divide by, and what counts as one.
        bench: The model and how it reads.
    """
    scored = bench.scorer.rolling([bench.coder.encode(text) for text in texts], bench.stride)
    nll = -sum(float(values.sum()) for values in scored)
    counts = {
        "n_tokens": sum(map(len, scored)),
        "n_bytes": sum(len(text.encode()) for text in texts),
        "n_words": words[0],
    }
    protocol = {
        "detokenizer": "none",
        "unit": words[1],
        "n_units": words[0],
        "method": "rolling log-likelihood",
        "window": bench.scorer.n_ctx,
        "stride": bench.stride,
        "end_of_text_charged": False,
    }
    return Result(name=name, figures=figures(nll, **counts), protocol=protocol)


def figures(nll: float, n_tokens: int, n_bytes: int, n_words: int) -> dict[str, float]:
    """Returns the three quotients and what they divide by.

    A perplexity beyond the range of a float is left out.

    >>> figures(8 * math.log(2), n_tokens=4, n_bytes=16, n_words=2)["bits_per_byte"]
    0.5
    >>> figures(8 * math.log(2), n_tokens=4, n_bytes=16, n_words=2)["perplexity_word"]
    16.0
    """
    counts = {"n_tokens": n_tokens, "n_bytes": n_bytes, "n_words": n_words}
    made = {"bits_per_byte": rounded(nll / math.log(2) / n_bytes)}
    for unit in ("token", "word"):
        exponent = nll / counts[f"n_{unit}s"] if counts[f"n_{unit}s"] else math.inf
        if exponent < math.log(1e300):
            made[f"perplexity_{unit}"] = rounded(math.exp(exponent))
    return made | counts

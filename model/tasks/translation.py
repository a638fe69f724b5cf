"""Translation: a context of pairs, `source = target`, one per line; BLEU of what follows `=`.

    The house is small. = La maison est petite.
    … more pairs …
    Spectacular Wingsuit Jump Over Bogota =          greedy; the first sentence is the translation

Decisions:
- The pairs are ours (`PAIRS`), so that no segment of the set is spent on them; the paper gives
  none.
- BLEU is sacrebleu's, cased, of the whole corpus; its signature names the tokenization: `13a` as
  today's tables have it, `intl` beside it. The paper does not say which it used.
- Two cuts of one generated text: its first sentence (the paper), and its first line, because a
  segment may hold several sentences.
- The interval resamples segments: BLEU is computed again from the sums of their counts.

Paper: GPT-2, section 3.7: WMT14 English to French 5 BLEU, French to English 11.5 (1542M).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from model.tasks import generation
from model.tasks.forms import Example
from model.tasks.results import HIGH, LOW, Bench, Chosen, Result, resampled, rounded

N_NEW = 100  # tokens of a translation, at most
TOKENIZERS = ("13a", "intl")

# English, French. Written for this project.
PAIRS = (
    ("The house is small.", "La maison est petite."),
    ("She bought three apples at the market.", "Elle a acheté trois pommes au marché."),
    (
        "The minister said that the law would change next year.",
        "Le ministre a déclaré que la loi changerait l'année prochaine.",
    ),
    ("Where did you put the keys?", "Où as-tu mis les clés ?"),
    (
        "It rained all night, and the river rose by two metres.",
        "Il a plu toute la nuit et la rivière est montée de deux mètres.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """Candidate translations under one cut, and what they are compared with."""

    hypotheses: list[str]
    references: list[str]


def segments(
    name: str, examples: Sequence[Example], bench: Bench, *, into_french: bool
) -> list[Result]:
    """Translates segments and scores the first sentence and the first line of each."""
    indices = generation.chosen(examples, bench.max_generated)
    some = [examples[i] for i in indices]
    prompts = [prompt(each.fields["source"], into_french=into_french) for each in some]
    made = generation.answer(prompts, bench, N_NEW)
    references = [each.fields["reference"] for each in some]
    results = []
    for suffix, hypotheses in cuts(made.texts).items():
        texts = Translated(hypotheses=hypotheses, references=references)
        among = partial(_figures, texts, indices, bench.seed)
        protocol = generation.protocol(
            bench,
            examples,
            indices,
            unit="segments",
            method="greedy, the first " + ("line" if suffix else "sentence") + " after `source =`",
            n_pairs=len(PAIRS),
            n_prompts_cut=made.n_cut,
            n_new_tokens=made.n_new,
            bleu={f"bleu_{name}": signature(name) for name in TOKENIZERS},
        )
        figures = among(generation.everything(examples))
        results.append(Result(name=name + suffix, figures=figures, protocol=protocol, among=among))
    return results


def prompt(source: str, *, into_french: bool) -> str:
    r"""Returns the pairs and the source, in the paper's format.

    >>> prompt("Yes.", into_french=False).splitlines()[0::5]
    ['La maison est petite. = The house is small.', 'Yes. =']
    """
    pairs = PAIRS if into_french else [(french, english) for english, french in PAIRS]
    return "".join(f"{a} = {b}\n" for a, b in pairs) + f"{source} ="


def cuts(texts: list[str]) -> dict[str, list[str]]:
    """Returns what counts as the translation, by the suffix of a result's name."""
    return {"": [(generation.sentences(text) or [""])[0] for text in texts], "_line": texts}


def signature(tokenizer: str) -> str:
    """Returns sacrebleu's own account of a BLEU: case, tokenization, smoothing, version."""
    bleu = BLEU(tokenize=tokenizer)
    bleu.corpus_score(["a"], [["a"]])
    return str(bleu.get_signature())


def _figures(texts: Translated, indices: list[int], seed: int, among: Chosen) -> dict[str, float]:
    """Returns BLEU of the chosen segments under each tokenization."""
    mine = generation.kept(indices, among)
    found: dict[str, float] = {"n": len(mine)}
    if mine:
        hypotheses = [texts.hypotheses[i] for i in mine]
        references = [texts.references[i] for i in mine]
        for tokenizer in TOKENIZERS:
            found |= _bleu(f"bleu_{tokenizer}", tokenizer, hypotheses, references, seed)
    return found


def _bleu(
    name: str, tokenizer: str, hypotheses: list[str], references: list[str], seed: int
) -> dict[str, float]:
    """Returns a corpus BLEU and its 95 % interval, 0 to 100."""
    bleu = BLEU(tokenize=tokenizer)
    counts = np.array(
        [_counts(bleu, pair) for pair in zip(hypotheses, references, strict=True)], np.float64
    )  # (n, 10): lengths of both, matches and totals of 1- to 4-grams
    draws = resampled(counts, seed).astype(np.int64)
    low, high = np.quantile([_score(each.tolist()) for each in draws], [LOW, HIGH])
    value = bleu.corpus_score(hypotheses, [references]).score
    return {name: rounded(value), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}


def _counts(bleu: BLEU, pair: tuple[str, str]) -> list[int]:
    score = bleu.corpus_score([pair[0]], [[pair[1]]])
    return [score.sys_len, score.ref_len, *score.counts, *score.totals]


def _score(counts: list[int]) -> float:
    made = BLEU.compute_bleu(
        sys_len=counts[0],
        ref_len=counts[1],
        correct=counts[2:6],
        total=counts[6:10],
        smooth_method="exp",
    )
    return float(made.score)

r"""Summaries: what a model writes after an article and `TL;DR:`, and three baselines beside it.

    article \n TL;DR:     top-k 2, 100 tokens, the first three sentences of them    cnn_dailymail
    article               the same without the hint                         cnn_dailymail_no_hint
    first three sentences of the article                                      cnn_dailymail_lead3
    three of its sentences at random, in order                              cnn_dailymail_random3

Decisions:
- An article that does not fit loses its end, not its beginning: news say first what matters. The
  paper does not say.
- ROUGE is rouge-score's, F1, stemmed, `rougeLsum` with one sentence per line: what the earlier
  tables of this set report (ROUGE-1.5.5 with stemming, summary level).
- rouge-score takes three seconds of processor time to import (nltk); it is imported where it is
  used, for runs that have no such set.

Paper: GPT-2, section 3.6 and table 4; Nallapati et al. (2016) for the set.
"""

import importlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import xxhash

from model.sample import Settings
from model.tasks import generation
from model.tasks.forms import Example
from model.tasks.results import Bench, Chosen, Floats, Result, interval

N_NEW = 100
N_SENTENCES = 3
HINT = "\nTL;DR:"
TOP_2 = Settings(temperature=1.0, top_k=2, top_p=None)
MEASURES = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeLsum"}


def articles(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Summarizes articles with and without the hint, and scores the two baselines."""
    indices = generation.chosen(examples, bench.max_generated)
    some = [examples[i] for i in indices]
    prompts = {"": [fit(each.text, HINT, bench) for each in some]}
    prompts["_no_hint"] = [fit(each.text, "", bench) for each in some]
    written = {
        suffix: _write([text for text, _ in pairs], bench) for suffix, pairs in prompts.items()
    }
    written["_lead3"] = [generation.sentences(each.text)[:N_SENTENCES] for each in some]
    written["_random3"] = [random_sentences(each, bench.seed) for each in some]
    n_new = min(N_NEW, bench.scorer.n_ctx // 2)
    n_cut = sum(is_cut for _, is_cut in prompts[""])
    methods = {
        "": f"after `TL;DR:`, top-k 2, the first {N_SENTENCES} sentences",
        "_no_hint": f"after the article, top-k 2, the first {N_SENTENCES} sentences",
        "_lead3": f"the article's first {N_SENTENCES} sentences",
        "_random3": f"{N_SENTENCES} sentences of the article at random, in order",
    }
    results = []
    for suffix, summaries in written.items():
        among = partial(_figures, rouge(summaries, some), indices, bench.seed)
        protocol = generation.protocol(bench, examples, indices, unit="articles")
        protocol |= {"method": methods[suffix], "rouge": "F1, stemmed, L at summary level"}
        if suffix in prompts:
            protocol |= {"n_new_tokens": n_new, "n_articles_cut": n_cut}
        figures = among(generation.everything(examples))
        results.append(Result(name=name + suffix, figures=figures, protocol=protocol, among=among))
    return results


def fit(article: str, hint: str, bench: Bench) -> tuple[str, bool]:
    """Returns the prompt, and whether the article lost its end to leave room for the summary."""
    tail = bench.coder.encode(hint)
    room = bench.scorer.n_ctx - min(N_NEW, bench.scorer.n_ctx // 2) - len(tail)
    ids = bench.coder.encode(article.strip())
    kept = bench.coder.decode(ids[:room]).rstrip("\ufffd") if len(ids) > room else article.strip()
    return kept + hint, len(ids) > room


def random_sentences(example: Example, seed: int) -> list[str]:
    """Returns three sentences of an article, in order; its id and the seed choose them."""
    found = generation.sentences(example.text)
    key = xxhash.xxh3_64_intdigest(example.example_id.encode(), seed)
    rng = np.random.default_rng(key)
    places = rng.choice(len(found), min(N_SENTENCES, len(found)), replace=False)
    return [found[i] for i in sorted(places.tolist())]


def _write(prompts: Sequence[str], bench: Bench) -> list[list[str]]:
    made = generation.answer(prompts, bench, N_NEW, ends=(), settings=TOP_2)
    return [generation.sentences(text)[:N_SENTENCES] for text in made.texts]


def rouge(summaries: Sequence[Sequence[str]], examples: Sequence[Example]) -> Floats:
    """Returns (n, 3): ROUGE-1, -2 and -L of each summary, F1, 0 to 100."""
    library: Any = importlib.import_module("rouge_score.rouge_scorer")
    scorer = library.RougeScorer(list(MEASURES.values()), use_stemmer=True)
    found = np.empty((len(summaries), len(MEASURES)))
    for i, (summary, example) in enumerate(zip(summaries, examples, strict=True)):
        scored = scorer.score("\n".join(example.fields["highlights"]), "\n".join(summary))
        found[i] = [100 * scored[measure].fmeasure for measure in MEASURES.values()]
    return found


def _figures(scores: Floats, indices: list[int], seed: int, among: Chosen) -> dict[str, float]:
    """Returns the figures of the chosen articles; `rouge_mean` is the mean of the three."""
    mine = generation.kept(indices, among)
    found: dict[str, float] = {"n": len(mine)}
    if mine:
        for column, measure in enumerate(MEASURES):
            found |= interval(measure, scores[mine, column], seed)
        found |= interval("rouge_mean", scores[mine].mean(axis=1), seed)
    return found

r"""Reading comprehension in conversations: F1 of the answer that follows story, history and `A:`.

    story \n Q: … \n A: … \n … Q: where does she live? \n A:      greedy; the first line

Decisions:
- The history holds the published answers, not the model's own: every turn is scored alone.
- F1 by CoQA's official rule: of words, once normalised; with several references, the mean over
  leaving out one of the best match among the others; the mean over turns.
- A prompt that does not fit loses the story's beginning.

Paper: GPT-2, section 3.5: 55 F1 on the development set (1542M). Reddy et al., CoQA (2018).
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np

from model.tasks import generation
from model.tasks.forms import Example
from model.tasks.questions import normalise
from model.tasks.results import Bench, Chosen, Floats, Result, interval

N_NEW = 30  # tokens of an answer, at most; the published ones have 2.7 words on average


def turns(name: str, examples: Sequence[Example], bench: Bench) -> list[Result]:
    """Answers each turn of conversations; examples are conversations, units are turns."""
    indices = generation.chosen(examples, bench.max_generated)
    places = [(i, turn) for i in indices for turn in range(len(examples[i].fields["questions"]))]
    made = generation.answer([prompt(examples[i], turn) for i, turn in places], bench, N_NEW)
    scores = np.array(
        [
            score(text, examples[i].fields["references"][turn])
            for text, (i, turn) in zip(made.texts, places, strict=True)
        ]
    ).reshape(-1, 2)
    owners = [i for i, _ in places]
    among = partial(_figures, scores, owners, bench.seed)
    protocol = generation.protocol(
        bench,
        examples,
        indices,
        n_units=len(owners),
        unit="questions",
        method="greedy, the first line after story, history and `A:`; official F1",
        n_conversations=len(indices),
        n_prompts_cut=made.n_cut,
        n_new_tokens=made.n_new,
    )
    figures = among(generation.everything(examples))
    return [Result(name=name, figures=figures, protocol=protocol, among=among)]


def prompt(example: Example, turn: int) -> str:
    """Returns the story, the turns before this one with their answers, and this question."""
    fields = example.fields
    asked, told = fields["questions"], fields["answers"]
    history = "".join(f"Q: {q}\nA: {a}\n" for q, a in zip(asked[:turn], told, strict=False))
    return f"{example.text.strip()}\n{history}Q: {asked[turn]}\nA:"


def score(text: str, references: Sequence[str]) -> tuple[float, float]:
    """Returns F1 and exact match of one answer by CoQA's rule.

    >>> score("the red house", ["red house"])
    (1.0, 1.0)
    >>> score("red", ["red", "blue"])  # against the other one only, each left out once
    (0.5, 0.5)
    """
    pairs = [(f1(text, each), float(normalise(text) == normalise(each))) for each in references]
    if len(pairs) == 1:
        return pairs[0]
    rests = [pairs[:i] + pairs[i + 1 :] for i in range(len(pairs))]
    best = [[max(pair[k] for pair in rest) for rest in rests] for k in (0, 1)]
    return sum(best[0]) / len(rests), sum(best[1]) / len(rests)


def f1(text: str, reference: str) -> float:
    """Returns the F1 of the words of two texts; two texts without words are equal.

    >>> round(f1("in the red barn", "a red barn"), 3)
    0.8
    """
    ours, theirs = normalise(text).split(), normalise(reference).split()
    if not ours or not theirs:
        return float(ours == theirs)
    n_same = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * n_same / (len(ours) + len(theirs))


def _figures(scores: Floats, owners: list[int], seed: int, among: Chosen) -> dict[str, float]:
    """Returns the figures of the turns of the chosen conversations."""
    mine = generation.kept(owners, among)
    found: dict[str, float] = {"n": len(mine)}
    if mine:
        found |= interval("f1", scores[mine, 0], seed)
        found |= interval("exact_match", scores[mine, 1], seed)
    return found

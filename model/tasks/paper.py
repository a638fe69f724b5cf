"""The GPT-2 paper's zero-shot figures, by the protocol of ours that they are comparable with.

Decisions:
- A figure stands beside a protocol that agrees with all that the paper states: split, text,
  detokenized or not, unit, filter, decoding. What it does not state (window, stride, what stands
  before a text, example pairs, BLEU's tokenization) is in our protocol, and may differ.
- Which of LAMBADA's protocols the paper used is disputed; its text says "final word".

Paper: GPT-2, tables 3 and 4, sections 3.3 to 3.8, figure 3 for Winograd.
"""

from collections.abc import Mapping
from typing import Any

_SIZES = ("117M", "345M", "762M", "1542M")
_LARGEST = _SIZES[-1]
BASELINE = "no model"


def _by_size(*values: float) -> dict[str, float]:
    return dict(zip(_SIZES, values, strict=True))


def _rouge(who: str, *values: float) -> dict[str, dict[str, float]]:
    names = ("rouge_1", "rouge_2", "rouge_l", "rouge_mean")
    return {name: {who: value} for name, value in zip(names, values, strict=True)}


PAPER: dict[str, dict[str, dict[str, float]]] = {
    "lambada_openai": {
        "perplexity": _by_size(35.13, 15.60, 10.87, 8.63),
        "accuracy_stopword_filter": _by_size(0.4599, 0.5548, 0.6012, 0.6324),
        "accuracy": {_LARGEST: 0.5266},
    },
    "cbt_cn_valid_detokenized": {"accuracy": _by_size(0.8765, 0.9235, 0.9345, 0.9330)},
    "cbt_ne_valid_detokenized": {"accuracy": _by_size(0.834, 0.871, 0.880, 0.8905)},
    "ptb_detokenized": {"perplexity_word": _by_size(65.85, 47.33, 40.31, 35.76)},
    "wikitext2_detokenized": {"perplexity_word": _by_size(29.41, 22.76, 19.93, 18.34)},
    "wikitext103_detokenized": {"perplexity_word": _by_size(37.50, 26.37, 22.05, 17.48)},
    "one_billion_detokenized": {"perplexity_word": _by_size(75.20, 55.72, 44.575, 42.16)},
    "enwik8": {"bits_per_character": _by_size(1.16, 1.01, 0.97, 0.93)},
    "text8": {"bits_per_character": _by_size(1.17, 1.06, 1.02, 0.98)},
    "winograd": {"accuracy_partial": {_LARGEST: 0.7070}},
    "coqa": {"f1": {_LARGEST: 0.55}},
    "cnn_dailymail": _rouge(_LARGEST, 29.34, 8.27, 26.58, 21.40),
    "cnn_dailymail_no_hint": _rouge(_LARGEST, 21.58, 4.03, 19.47, 15.03),
    "cnn_dailymail_lead3": _rouge(BASELINE, 40.38, 17.66, 36.62, 31.55),
    "cnn_dailymail_random3": _rouge(BASELINE, 28.78, 8.63, 25.52, 20.98),
    "wmt14_en_fr": {"bleu_13a": {_LARGEST: 5.0}},
    "wmt14_fr_en": {"bleu_13a": {_LARGEST: 11.5}},
    "nq_open": {
        "exact_match": {_LARGEST: 0.041},
        "exact_match_top_1pct": {_LARGEST: 0.631},
    },
}


def beside(name: str, protocol: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Returns the figures that stand beside a result: none unless bytes and examples are all.

    >>> beside("coqa", {"digest_known": True, "is_whole": True})
    {'f1': {'1542M': 0.55}}
    >>> beside("coqa", {"digest_known": True, "is_whole": False})
    {}
    """
    is_same = protocol["digest_known"] and protocol.get("is_whole", True)
    return PAPER.get(name, {}) if is_same else {}

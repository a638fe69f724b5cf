"""Configurations that the tests of this folder share."""

from pipeline.text import boilerplate, clean, extract, guard, lines, measure, normalize, rules
from pipeline.text.sandbox import Limits

LIMITS = Limits(max_cpu_s=20.0, max_memory_bytes=1 << 30, recycle_pages=1000)

EXTRACT = extract.Config(
    inputs=(),
    focus="balanced",
    fast=False,
    tables=True,
    comments=False,
    max_html_bytes=1_000_000,
    max_elements=200_000,
    limits=LIMITS,
)

GOPHER = rules.Gopher(
    min_words=50,
    max_words=100_000,
    min_mean_word_chars=3.0,
    max_mean_word_chars=10.0,
    max_symbols_per_word=0.1,
    max_bullet_lines_frac=0.9,
    max_ellipsis_lines_frac=0.3,
    min_alpha_words_frac=0.8,
    min_stop_words=2,
)

REPETITION = rules.Repetition(
    max_copied_lines_frac=0.3,
    max_copied_paragraphs_frac=0.3,
    max_copied_line_chars_frac=0.2,
    max_copied_paragraph_chars_frac=0.2,
    max_top_2gram_chars_frac=0.2,
    max_top_3gram_chars_frac=0.18,
    max_top_4gram_chars_frac=0.16,
    max_copied_5gram_chars_frac=0.15,
    max_copied_6gram_chars_frac=0.14,
    max_copied_7gram_chars_frac=0.13,
    max_copied_8gram_chars_frac=0.12,
    max_copied_9gram_chars_frac=0.11,
    max_copied_10gram_chars_frac=0.10,
)

C4 = rules.C4(
    min_sentences=3, max_lorem_ipsum=0, max_brace_lines_frac=0.5, max_policy_lines_frac=0.3
)
FINEWEB = rules.Fineweb(
    min_terminal_lines_frac=0.12,
    max_short_lines_frac=0.67,
    max_copied_line_chars_frac=0.1,
    max_newlines_per_word=0.3,
)

BOILERPLATE = boilerplate.Config(
    min_documents=3,
    min_host_frac=0.5,
    candidates=boilerplate.Candidates(min_chars=15, max_chars=300, min_words=3, sentence_words=8),
    partitions=2,
)

LINES = lines.Config(
    terminal=False, min_words=0, policy=False, long_words=False, max_upper_frac=1.0, counters=False
)

CLEAN = clean.Config(
    mend_encoding=True,
    detokenize=clean.Detokenize(min_marks=8, min_frac=0.9),
    boilerplate=BOILERPLATE,
    lines=LINES,
    max_removed_words_frac=0.05,
    excluded_hosts={"wikipedia": ("wikipedia.org",), "evaluation_source": ("gutenberg.org",)},
    min_chars=200,
    max_chars=100_000,
    languages=("en",),
    min_language_score=0.65,
    language_chars=1000,
    gopher=GOPHER,
    repetition=REPETITION,
    c4=C4,
    fineweb=FINEWEB,
    guard=guard.Config(min_documents=100, max_removed_frac=0.5, by_reason={}),
)

NORMALIZE = normalize.Config(mend_encoding=CLEAN.mend_encoding, detokenize=CLEAN.detokenize)
MEASURE = measure.Config(
    language_chars=CLEAN.language_chars, boilerplate=BOILERPLATE.candidates, lines=LINES
)

PROSE = """\
The lighthouse at the end of the northern bay has not been lit for thirty years, and yet people
still talk about the night when its lamp went out. Some say that the keeper forgot to wind the
clockwork; others have a better story, with a storm in it and a ship that was never named.
What is certain is that the tower was sold to a painter, who knocked two windows into the wall
facing the sea. He wanted to have more light. The villagers thought him mad until his pictures
began to appear in the capital, and then they remembered that they had always liked him.
"""
"""A text that every rule lets pass."""

"""Inline markup of docstrings as plain text in which backticks mark code, and nothing else."""

import re
from collections.abc import Callable

_MATH_WORDS = {
    "times": "×", "cdot": "·", "leq": "≤", "le": "≤", "geq": "≥", "ge": "≥", "neq": "≠", "ne": "≠",
    "pm": "±", "infty": "∞", "in": "∈", "sum": "Σ", "prod": "Π", "approx": "≈", "to": "→",
    "rightarrow": "→", "ldots": "...", "dots": "...", "cdots": "...", "alpha": "α", "beta": "β",
    "gamma": "γ", "delta": "δ", "epsilon": "ε", "lambda": "λ", "mu": "μ", "pi": "π", "sigma": "σ",
    "theta": "θ", "omega": "ω", "phi": "φ", "rho": "ρ", "tau": "τ", "Sigma": "Σ", "Delta": "Δ",
}  # fmt: skip
_CODE_ROLE = re.compile(r"(?:class|func|meth|mod|attr|obj|data|exc|const|any|type)$")
_MARKED = re.compile(r"[`:_*\\\[%]")  # most lines of most packages have none of these


def inline(text: str) -> str:
    r"""Returns a text with its inline markup read; backticks mark code.

    >>> inline("Use :meth:`~numpy.ndarray.sum` or ``axis=0``, see `the guide <http://x.y>`_ [1]_.")
    'Use `sum` or `axis=0`, see the guide.'
    >>> inline(r"*Both* have shape :math:`(N, \text{out}) \times 2` and **no** name.")
    'Both have shape (N, out) × 2 and no name.'
    >>> inline("Returns :py:obj:`None`, or [`Repo`] as [shown](https://x.y), *args included.")
    'Returns `None`, or `Repo` as shown, *args included.'
    """
    text = " ".join(text.split())
    if not _MARKED.search(text):
        return text
    for pattern, written in _RULES:
        text = pattern.sub(written, text)
    return text.strip() if text.count("`") % 2 == 0 else unmarked(text).strip()


def unmarked(text: str) -> str:
    """Returns a text without the marks of code."""
    return text.replace("`", "")


def _role(found: re.Match[str]) -> str:
    role, content = found[1].rpartition(":")[2], found[2]
    shown = re.sub(r"\s*<[^<>]*>$", "", content)
    if role == "math":
        return _math(content)
    if role in ("pep", "rfc"):
        return f"{role.upper()} {shown}"
    if shown.startswith("~"):
        shown = shown.rpartition(".")[2].lstrip("~")
    return f"`{shown.lstrip('!')}`" if _CODE_ROLE.search(role) else shown


def _math(formula: str) -> str:
    """Returns a formula in a line of text, its commands replaced or dropped."""
    formula = re.sub(
        r"\\(?:text|mathrm|mathbf|mathbb|mathcal|operatorname|bm)\s*\{([^{}]*)\}", r"\1", formula
    )
    formula = re.sub(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"\1 / \2", formula)
    formula = re.sub(r"\\([A-Za-z]+)", lambda m: _MATH_WORDS.get(m[1], m[1]), formula)
    return re.sub(r"\\.|[{}]", "", formula)


def _short_name(found: re.Match[str]) -> str:
    return f"`{found[1] or found[2]}`"


def _reference(found: re.Match[str]) -> str:
    return unmarked(found[1] or found[2])


_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"`([^`<>]+?)\s*<[^`<>]*>`__?"), r"\1"),  # `text <url>`_
    (re.compile(r":([\w:+-]+):`([^`]+)`"), _role),
    (re.compile(r"``(.+?)``"), r"`\1`"),
    (re.compile(r"`~\.?(?:\w+\.)*(\w+)`|`\.(\w[\w.]*)`"), _short_name),  # `~a.b.c`, `.b.c`
    (re.compile(r"%\(\w[\w:]*\)s|\\(?=s\b)"), ""),  # %(places)s to fill, the \s of `X`\s
    (re.compile(r":: "), ": "),
    (re.compile(r"\s*\[#?\w{1,12}\]_"), ""),  # [1]_
    (re.compile(r"(`[^`]+`)__?(?!\w)|\b(\w+[A-Za-z])_(?=[\s.,;:)]|$)"), _reference),  # `a b`_, a_
    (re.compile(r"\[([^\]\[]+)\]\((?:https?:|#|\.)[^)\s]*\)"), r"\1"),  # [text](url)
    (re.compile(r"\[`~?(?:\w+\.)*(\w+)`\](?!\()"), r"`\1`"),  # [`a.b`]
    (re.compile(r"(?<![\w*`\\])(\*\*?)(?=[^\s*])([^*`]*?[^\s*`])\1(?![\w*])"), r"\2"),  # *a* **b**
    (re.compile(r"\\([*_`\\ ])"), r"\1"),
)

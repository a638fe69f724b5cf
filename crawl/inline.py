"""Inline markup of docstrings as plain text in which backticks mark code, and nothing else."""

import re

_MATH_WORDS = {
    "times": "×", "cdot": "·", "leq": "≤", "le": "≤", "geq": "≥", "ge": "≥", "neq": "≠", "ne": "≠",
    "pm": "±", "infty": "∞", "in": "∈", "sum": "Σ", "prod": "Π", "approx": "≈", "to": "→",
    "rightarrow": "→", "ldots": "...", "dots": "...", "cdots": "...", "alpha": "α", "beta": "β",
    "gamma": "γ", "delta": "δ", "epsilon": "ε", "lambda": "λ", "mu": "μ", "pi": "π", "sigma": "σ",
    "theta": "θ", "omega": "ω", "phi": "φ", "rho": "ρ", "tau": "τ", "Sigma": "Σ", "Delta": "Δ",
}  # fmt: skip
_MARKED = re.compile(r"[`:_*\\\[%]")
_CODE_ROLE = re.compile(r"(?:class|func|meth|mod|attr|obj|data|exc|const|any|type|func)$")


def inline(text: str) -> str:
    r"""Returns a text with its inline markup read; backticks mark code.

    >>> inline("Use :meth:`~numpy.ndarray.sum` or ``axis=0``, see `the guide <http://x.y>`_ [1]_.")
    'Use `sum` or `axis=0`, see the guide.'
    >>> inline(r"*Both* have shape :math:`(N, \text{out}) \times 2` and **no** name.")
    'Both have shape (N, out) × 2 and no name.'
    """
    text = " ".join(text.split())
    if not _MARKED.search(text):
        return text
    text = re.sub(r"`([^`<>]+?)\s*<[^`<>]*>`__?", r"\1", text)
    text = re.sub(r":([\w:+-]+):`([^`]+)`", _role, text)
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    text = re.sub(r"`~(?:\w+\.)*(\w+)`|`\.(\w[\w.]*)`", lambda m: f"`{m[1] or m[2]}`", text)
    text = re.sub(r"%\(\w[\w:]*\)s|\\(?=s\b)", "", text.replace(":: ", ": "))
    text = re.sub(r"\s*\[#?\w{1,12}\]_", "", text)
    text = re.sub(r"(`[^`]+`)__?(?!\w)|\b(\w+[A-Za-z])_(?=[\s.,;:)]|$)", _reference, text)
    text = re.sub(r"\[([^\]\[]+)\]\((?:https?:|#|\.)[^)\s]*\)", r"\1", text)
    text = re.sub(r"\[`?~?(?:\w+\.)*(\w+)`?\](?!\()(?<=\w`\])", r"`\1`", text)
    text = re.sub(r"(?<![\w*`\\])(\*\*?)(?=[^\s*])([^*`]*?[^\s*`])\1(?![\w*])", r"\2", text)
    text = re.sub(r"\\([*_`\\ ])", r"\1", text)
    return text.strip() if text.count("`") % 2 == 0 else text.replace("`", "").strip()


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


def _reference(found: re.Match[str]) -> str:
    return found[1].strip("`") if found[1] else found[2]


def unmarked(text: str) -> str:
    return text.replace("`", "")

"""How each cleaning rule is turned off: the settings with which it lets everything pass."""

from typing import Any

from pipeline.text.clean import GROUPS, Config

_NO_LIMIT = 1_000_000_000


def switches(config: Config) -> dict[str, dict[str, Any]]:
    """Returns by rule the settings (dotted keys of params.yaml) that leave it out.

    Rules that the configuration has turned off are not listed.

    Args:
        config: Section `clean`.
    """
    off: dict[str, dict[str, Any]] = {
        "mend_encoding": {"mend_encoding": False},
        "detokenize": {"detokenize.min_marks": 0},
        "boilerplate": {"boilerplate.min_documents": 0},
        **{
            f"excluded_{reason}": {f"excluded_hosts.{reason}": []}
            for reason in config.excluded_hosts
        },
        "too_short": {"min_chars": 1},
        "too_long": {"max_chars": _NO_LIMIT},
        "language": {"languages": [], "min_language_score": 0.0},
    }
    for bound in config.bounds():
        group = next(name for name in GROUPS if bound.reason.startswith(f"{name}_"))
        field = bound.reason.removeprefix(f"{group}_")
        off[bound.reason] = {f"{group}.{field}": _passes_all(field)}
    guard = {"clean.guard.max_removed_frac": 1.0}
    return {
        name: {**{f"clean.{key}": value for key, value in change.items()}, **guard}
        for name, change in off.items()
        if any(_value(config, key) != value for key, value in change.items())
    }


def _passes_all(field: str) -> float:
    """Returns the value of a limit that every document meets."""
    if field.startswith("min_"):
        return 0
    return 1.0 if field.endswith("_frac") else _NO_LIMIT


def _value(config: Config, key: str) -> Any:
    """Returns a setting by its dotted key, lists as lists."""
    found: Any = config
    for name in key.split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    return list(found) if isinstance(found, tuple) else found

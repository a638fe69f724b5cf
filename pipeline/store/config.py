"""Validation of configuration values, shared by every step's Config."""


def require(name: str, value: object, ok: bool, allowed: str) -> None:  # noqa: FBT001
    """Refuses a configuration value that is out of range.

    Args:
        name: The field; nested fields are joined by dots.
        value: What was given.
        ok: Whether it may stand.
        allowed: The allowed values in words or as an inequality, e.g. `0 < x <= 1`.

    Raises:
        ValueError: If `ok` is false. `stages.params` puts file and section before it.

    >>> require("threshold", 1.7, False, "0 < x <= 1")
    Traceback (most recent call last):
    ValueError: threshold is 1.7; expected 0 < x <= 1
    """
    if not ok:
        raise ValueError(f"{name} is {value!r}; expected {allowed}")

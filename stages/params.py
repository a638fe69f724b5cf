"""`params.yaml`, the only configuration: one section per stage, read into the stage's dataclass.

No value has a default in code. An unknown key, a missing key, a wrong type and a value out of range
each give one line that names file and key.
"""

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

FILE = Path("params.yaml")

Config = TypeVar("Config")


def load(section: str, cls: type[Config], file: Path = FILE) -> Config:
    """Reads one section.

    Args:
        section: The stage's name.
        cls: Its configuration: a frozen dataclass whose fields are the section's keys.
        file: The parameter file.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it is no YAML, or the section does not fit `cls`.
    """
    sections = read(file)
    if not isinstance(sections.get(section), dict):
        raise ValueError(f"{file}: section `{section}` is missing; expected a mapping of its keys")
    built: Config = _build(cls, sections[section], f"{file}: {section}")
    return built


def read(file: Path = FILE) -> dict[str, Any]:
    """Returns the whole file as plain values."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; run from the project's root folder")
    try:
        content = YAML(typ="safe", pure=True).load(file)
    except YAMLError as error:
        raise ValueError(
            f"{file}: not valid YAML: {' '.join(str(error).split())}; mend it"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected a mapping of sections")
    return content


def override(source: Path, target: Path, changes: Mapping[str, Any]) -> None:
    """Writes a parameter file with some values changed.

    Args:
        source: The file to begin with.
        target: The file to write.
        changes: Dotted keys, `section.key`, to plain values.

    Raises:
        ValueError: If a key is not in `source`.
    """
    content = read(source)
    for dotted, value in changes.items():
        *sections, key = dotted.split(".")
        place = content
        for name in sections:
            place = place.get(name, {})
        if key not in place:
            raise ValueError(f"{source}: {dotted} is not known; allowed: {', '.join(place)}")
        place[key] = value
    YAML(typ="safe", pure=True).dump(content, target)


def _build(cls: type, values: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ValueError(f"{where}.{unknown[0]} is not known; allowed: {', '.join(names)}")
    missing = [name for name in names if name not in values]
    if missing:
        raise ValueError(f"{where}.{missing[0]} is missing; expected {_name(hints[missing[0]])}")
    converted = {n: _convert(hints[n], values[n], f"{where}.{n}") for n in names}
    try:
        return cls(**converted)
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Returns a YAML value as the hinted type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _build(hint, value, where)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {str(k): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if hint is float and type(value) in (int, float):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise ValueError(f"{where} is {value!r}; expected {_name(hint)}")


def _name(hint: Any) -> str:
    """Returns a type in a user's words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(str(a) for a in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if a is type(None) else _name(a) for a in arguments)
    if origin is tuple:
        return f"a list of {_name(arguments[0])}"
    if origin is dict:
        return f"a mapping to {_name(arguments[1])}"
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return words.get(hint, "a mapping")

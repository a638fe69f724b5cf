"""What a shard's bytes depend on, as one fingerprint.

A fingerprint covers the inputs' digests, the step's configuration, the step's own code with
comments and docstrings stripped, the store's format version, the versions of the libraries that
do the work, and the Python minor version. It does not cover where and how fast a step runs.

The code of a step is its module and every project module it imports, directly or not, except the
store and the engine: those are represented by the format version, else a changed progress bar
would recompute a corpus. `tests/rules` holds a golden test that notices when bytes change and
fingerprints do not.
"""

import ast
import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.store import shards

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("crawl", "model", "pipeline", "stages")

_REPRESENTED_BY_FORMAT = ("pipeline.store.", "pipeline.engine.")


def source(module: str) -> Path:
    """Returns the file of a project module."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def imports(module: str) -> frozenset[str]:
    """Returns the project modules that a project module imports, by reading its source."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source(module).read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(_targets(node.module, [alias.name for alias in node.names]))
    return frozenset(name for name in found if _is_module(name))


def _targets(base: str, names: Iterable[str]) -> Iterable[str]:
    """Resolves `from base import name` to `base.name` where that is a module, else to `base`."""
    return (f"{base}.{n}" if _is_module(f"{base}.{n}") else base for n in names)


def _is_module(name: str) -> bool:
    # Packages hold a docstring only (tested), so importing one depends on nothing.
    file = source(name)
    return name.partition(".")[0] in PACKAGES and file.name != "__init__.py" and file.is_file()


def closure(module: str) -> tuple[str, ...]:
    """Returns a module and all project modules it needs, sorted."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(imports(name))
    return tuple(sorted(seen))


@cache
def code_digest(module: str) -> str:
    """Returns a digest of a step's own code that comments and docstrings do not change."""
    digest = hashlib.sha256()
    for name in closure(module):
        if not name.startswith(_REPRESENTED_BY_FORMAT):
            digest.update(f"{name}\n{_stripped(source(name).read_text())}\n".encode())
    return digest.hexdigest()


@cache
def _stripped(code: str) -> str:
    """Returns a module's syntax tree as text, without comments, docstrings and positions."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            del body[0]
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What does the work, as far as its bytes depend on it.

    Attributes:
        name: Also the folder in the shard store and the `stage` of its decisions.
        code: The module of the work function.
        config: The part of the configuration that decides bytes: a dataclass or plain values.
        libraries: Distributions whose version decides bytes.
    """

    name: str
    code: str
    config: Any
    libraries: tuple[str, ...] = ()


def identity(step: Step) -> str:
    """Returns the part of the fingerprint that is the same for all shards of a step."""
    return _digest(
        {
            "format": shards.FORMAT_VERSION,
            "keys": shards.KEYS_VERSION,
            "step": step.name,
            "config": plain(step.config),
            "code": code_digest(step.code),
            "libraries": {name: version(name) for name in sorted(step.libraries)},
            "python": list(sys.version_info[:2]),
        }
    )


def fingerprint(step_identity: str, inputs: Iterable[str]) -> str:
    """Returns a shard's fingerprint from its step's identity and its inputs' digests."""
    return _digest([step_identity, list(inputs)])


def plain(config: Any) -> Any:
    """Returns a configuration as plain JSON values."""
    return dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config  # type: ignore[arg-type]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()

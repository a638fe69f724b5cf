"""Fingerprints change with what decides bytes, and with nothing else."""

from pathlib import Path

import pytest

from pipeline.engine import identity
from pipeline.engine.identity import Step

CODE = '''"""Docstring."""
from pipeline.store import records


def double(x: int) -> int:
    """Returns twice x."""
    return 2 * x  # a comment
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own with one step, read as source only."""
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    for folder in ["pipeline/text", "pipeline/store"]:
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pipeline/text/step.py").write_text(CODE)
    (tmp_path / "pipeline/store/records.py").write_text("X = 1\n")
    return tmp_path


def digest() -> str:
    identity.imports.cache_clear()
    identity.code_digest.cache_clear()
    return identity.code_digest("pipeline.text.step")


@pytest.fixture(autouse=True)
def _forget() -> object:
    yield
    identity.imports.cache_clear()
    identity.code_digest.cache_clear()


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("a comment", "another comment", True),
        ("Returns twice x.", "Doubles.", True),
        ('"""Docstring."""', '"""Other."""\n\n', True),
        ("2 * x", "3 * x", False),
        ("double", "twice", False),
    ],
)
def test_code_digest_follows_code_only(project: Path, old: str, new: str, same: bool) -> None:
    before = digest()
    file = project / "pipeline/text/step.py"
    assert old in CODE
    file.write_text(CODE.replace(old, new))
    assert (digest() == before) is same


def test_code_digest_follows_imported_modules_but_not_the_store(project: Path) -> None:
    before = digest()
    (project / "pipeline/store/records.py").write_text("X = 2\n")
    assert digest() == before
    (project / "pipeline/text/rules.py").write_text("Y = 1\n")
    file = project / "pipeline/text/step.py"
    file.write_text(
        CODE.replace("import records", "import records\nfrom pipeline.text.rules import Y")
    )
    with_rules = digest()
    (project / "pipeline/text/rules.py").write_text("Y = 2\n")
    assert len({before, with_rules, digest()}) == 3


def test_identity_follows_config_and_libraries() -> None:
    def step(**changes: object) -> str:
        values = {
            "name": "s",
            "code": "pipeline.store.records",
            "config": {"a": 1},
            "libraries": (),
        }
        return identity.identity(Step(**{**values, **changes}))  # type: ignore[arg-type]

    marks = {step(), step(config={"a": 2}), step(name="t"), step(libraries=("numpy",))}
    assert len(marks) == 4
    assert step() == step()


def test_fingerprint_follows_order_of_inputs() -> None:
    assert identity.fingerprint("x", ["a", "b"]) != identity.fingerprint("x", ["b", "a"])


def test_closure_of_a_hash_needs_neither_torch_nor_ray() -> None:
    assert "pipeline.engine.cluster" not in identity.closure("pipeline.engine.shardmap")

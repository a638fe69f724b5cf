"""The documentation names what there is: stages, reasons, commands, files."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.engine.identity import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
STAGES: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
TOLD = (ROOT / "docs" / "stages.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", TOLD, re.MULTILINE | re.DOTALL))
CODE = ("crawl", "pipeline", "model", "stages", "tests", "benchmarks", "docs", "presets")


def sources() -> Iterator[Path]:
    for folder in ("crawl", "pipeline"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def reasons() -> set[str]:
    """Every reason that is written out where a document is dropped, but those of the commands."""
    found = set()
    for path in sources():
        if path.name in ("recover.py", "ccfiles.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Drop"):
                found |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
    return found


def test_every_stage_has_its_section_in_the_graph_s_order() -> None:
    assert list(SECTIONS) == list(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_section_names_the_stage_s_folders_and_parameters(stage: str) -> None:
    told, entry = SECTIONS[stage], STAGES[stage]
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in entry["outs"]]
    folders = [out for out in outs if not out.startswith("metrics/")]
    for name in [*folders, *(p for p in entry.get("params", []) if isinstance(p, str))]:
        assert f"`{name}`" in told, name


def test_every_reason_is_told_and_every_told_one_exists() -> None:
    rows = re.findall(r"^\| (`.*?) \|", TOLD, re.MULTILINE)
    told = {reason for row in rows for reason in re.findall(r"`(\w+)`", row)}
    told |= {
        reason
        for row in re.findall(r"Reasons?:\n?(.*?)[.;]", TOLD, re.DOTALL)
        for reason in re.findall(r"`(\w+)`", row)
    }
    assert reasons() <= told
    code = "".join(path.read_text(encoding="utf-8") for path in sources())
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    composed = {"http_404", "gopher_min_words"}
    assert {r for r in told - composed if f'"{r}"' not in code and f"{r}:" not in params} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_names_only_what_there_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"python -m ((?:stages|benchmarks)\.\w+)", text):
        assert (ROOT / name.replace(".", "/")).with_suffix(".py").is_file(), name
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for name in re.findall(r"`make ([\w-]+)`", text):
        assert name in targets, name
    for link in re.findall(r"\]\(([^):#]+)\)", text):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "log.md"], ids=lambda p: p.name)
def test_page_names_only_files_that_exist(page: Path) -> None:
    """Paths of code; the log tells of files that have been."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|json|yaml|html))`", text):
        if name.partition("/")[0] in CODE:
            assert (ROOT / name).exists(), name


def test_plans_in_the_documentation_are_what_the_command_prints() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```console\n\$ python (.*?)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert shown
    for arguments, lines in shown:
        command = [sys.executable, *shlex.split(arguments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(lines), arguments

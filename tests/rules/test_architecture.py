"""The tree's rules: where imports may point, who owns which heavy library, what dvc.yaml lists."""

import ast
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.engine import identity
from pipeline.engine.identity import PACKAGES, ROOT

# Folder -> the only places its modules may import from; the first match counts.
ALLOWED = {
    "stages.plan": ("crawl", "model", "pipeline", "stages.params", "stages.configure"),
    "stages": ("crawl", "model", "pipeline", "stages.params"),
    "crawl": ("crawl", "pipeline.engine", "pipeline.store"),
    "model": (
        "model",
        "pipeline.engine",
        "pipeline.tokens",
        "pipeline.store",
        "pipeline.text.detokenize",
    ),
    "pipeline.text": ("pipeline.text", "pipeline.engine", "pipeline.store"),
    "pipeline.overlap": ("pipeline.overlap", "pipeline.engine", "pipeline.store"),
    "pipeline.tokens": ("pipeline.tokens", "pipeline.engine", "pipeline.store"),
    "pipeline.report": ("pipeline.report", "pipeline.store"),
    "pipeline.engine": ("pipeline.engine", "pipeline.store"),
    "pipeline.store": ("pipeline.store",),
}
EXTRACTOR = ("cascade", "frame", "furniture", "parse", "readability", "render", "rivals")
OWNERS = {
    "aiohttp": ("model/play/server.py", "pipeline/engine/remote.py"),
    "fsspec": ("pipeline/engine/remote.py",),
    "ray": ("pipeline/engine/cluster.py", "model/training/cluster.py"),
    "trafilatura": tuple(f"pipeline/text/content/{name}.py" for name in EXTRACTOR),
    "warcio": ("pipeline/store/warc.py",),
    "fastwarc": ("pipeline/store/warc.py",),
    "deepspeed": ("model/training/engine.py",),
    "transformers": (),
    "ruamel": ("stages/params.py", "stages/configure.py"),
    "yaml": (),
    "pickle": (),
}
# Imports inside a function: what takes long, and most who import the module never need.
LAZY = {
    "pipeline.engine.elsewhere": {"pipeline.engine"},  # `remote`: fsspec, aiohttp
    "model.training.launch": {"model.training"},  # `cluster`: Ray Train
    "pipeline.engine.parallel": {"pipeline.engine"},  # `cluster`: Ray
    "pipeline.engine.session": {"pipeline.engine"},  # the same
}
# stages that dvc.yaml does not run: commands beside the graph
COMMANDS = {"params", "repro", "configure", "ledger", "removal", "export"}
COMMANDS |= {"download", "generate", "plan", "play", "published", "recover"}


def module_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")


MODULES = sorted(
    module_of(path)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if path.name != "__init__.py"
)
STAGES: dict[str, dict[str, Any]] = {
    name: stage
    for file in (
        "dvc.yaml",
        *(f"{name}/dvc.yaml" for name in ("verify", "ablate", "scaling", "study")),
    )
    for name, stage in YAML(typ="safe").load(ROOT / file)["stages"].items()
}


def within(module: str, place: str) -> bool:
    return module == place or module.startswith(place + ".")


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    allowed = next(places for folder, places in ALLOWED.items() if within(module, folder))
    wrong = [name for name in identity.imports(module) if not any(within(name, a) for a in allowed)]
    assert not wrong, f"{module} imports {wrong}; allowed: {allowed}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_form_no_cycle(module: str) -> None:
    behind = {name for direct in identity.imports(module) for name in identity.closure(direct)}
    assert module not in behind


@pytest.mark.parametrize("module", MODULES)
def test_imports_are_at_the_top_and_heavy_ones_with_their_owner(module: str) -> None:
    path = identity.source(module)
    tree = ast.parse(path.read_bytes())
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    top = [n for node in tree.body for n in (node.body if isinstance(node, ast.With) else [node])]
    inner = {getattr(n, "module", None) for n in nodes if n not in top}
    assert inner <= LAZY.get(module, set()), f"{module}: an import inside a function"
    for node in nodes:
        names = (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
        for library in (name.split(".")[0] for name in names):
            if library in OWNERS:
                place = path.relative_to(ROOT).as_posix()
                assert place in OWNERS[library], f"{module}: {library}"


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_hold_a_docstring_only(package: str) -> None:
    for path in (ROOT / package).rglob("__init__.py"):
        body = ast.parse(path.read_bytes()).body
        assert len(body) == 1, path
        assert identity._is_docstring(body[0]), path


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("stage", STAGES)
def test_stage_code_deps_are_its_import_closure(stage: str) -> None:
    needed = {
        identity.source(m).relative_to(ROOT).as_posix() for m in identity.closure(f"stages.{stage}")
    }
    listed = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    lines = [f"      - {path}" for path in sorted(needed)]
    assert listed == needed, "dvc.yaml should list:\n" + "\n".join(lines)


def test_stage_modules_and_dvc_yaml_agree() -> None:
    modules = {m.removeprefix("stages.") for m in MODULES if within(m, "stages")}
    assert modules - COMMANDS == set(STAGES)
    assert all(STAGES[name]["cmd"] == f"python -m stages.{name}" for name in STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_params_are_the_sections_it_loads(stage: str) -> None:
    loaded = {
        node.args[0].value
        for node in ast.walk(ast.parse(identity.source(f"stages.{stage}").read_bytes()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "params.load"
        if isinstance(node.args[0], ast.Constant)
    }
    assert set(STAGES[stage].get("params", [])) == loaded


def test_report_waits_for_the_figures_of_every_stage_of_the_graph() -> None:
    graph = set(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]) - {"report"}
    assert {f"metrics/{name}.json" for name in graph} <= set(STAGES["report"]["deps"])

"""The recipes of docs/recipes.md, and how one is followed."""

import re
import subprocess

from pipeline.engine.identity import ROOT
from tests.e2e.conftest import Project

Done = subprocess.CompletedProcess[str]

_PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPES = {
    title: "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    for title, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", _PAGE, re.MULTILINE | re.DOTALL)
}
_WHO = {
    f"GIT_{role}_{key}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
}


def follow(project: Project, title: str, word: str = "", instead: str = "") -> Done:
    """Runs a recipe's commands one after the other, in one process; stops at the first that fails.

    Args:
        project: Where.
        title: Which.
        word: Of the recipe, that its reader replaces.
        instead: By what.
    """
    assert word in RECIPES[title]
    script = RECIPES[title].replace(word, instead) if word else RECIPES[title]
    return project.run(["bash", "-euo", "pipefail", "-c", script], OUTBOUND_ENGINE="inline", **_WHO)

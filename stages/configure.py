"""Merge presets into `params.yaml`: `python -m stages.configure model=gpt2-small`.

A preset is an overlay of some keys of some sections (`presets/<theme>/<name>.yaml`). Later ones
win. Comments of `params.yaml` stay. A key that `params.yaml` does not know is refused. An indented
mapping is merged key by key; one in braces, also an empty one, replaces what was there. Without
arguments it lists what there is.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipeline.engine import command
from stages import params

PRESETS = Path("presets")


def merge(target: dict[str, Any], overlay: CommentedMap, where: str) -> None:
    """Writes an overlay's values into a mapping, in place.

    Args:
        target: Sections or keys as loaded, comments attached.
        overlay: Some of the same keys, as a loader that keeps comments and style gives them.
        where: The overlay's place, for messages.

    Raises:
        ValueError: If the overlay has a key that the target has not.
    """
    for key, value in overlay.items():
        if key not in target:
            raise ValueError(
                f"{where}.{key} is not a key of params.yaml; known: {', '.join(target)}"
            )
        # ruamel does not know `{}` for flow style
        if isinstance(value, CommentedMap) and value and not value.fa.flow_style():
            merge(target[key], value, f"{where}.{key}")
        else:
            target[key] = value


def preset(choice: str) -> Path:
    """Returns the file of `theme=name`.

    Raises:
        ValueError: If there is none; the message lists what there is.
    """
    theme, _, name = choice.partition("=")
    file = PRESETS / theme / f"{name}.yaml"
    if not file.is_file():
        raise ValueError(f"preset {choice!r} does not exist; known: {', '.join(known())}")
    return file


def known() -> list[str]:
    """Returns every preset as `theme=name`."""
    return [f"{path.parent.name}={path.stem}" for path in sorted(PRESETS.glob("*/*.yaml"))]


def configure(choices: list[str], file: Path) -> None:
    """Merges presets into a parameter file, in the order given."""
    files = [preset(choice) for choice in choices]
    for each in [file, *files]:
        params.read(each)  # refuses what is no YAML
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 100
    content = yaml.load(file)
    for overlay in files:
        merge(content, yaml.load(overlay), overlay.as_posix())
    yaml.dump(content, file)


def main() -> int:
    """Merges the presets of the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.configure", description=__doc__)
    parser.add_argument("choices", nargs="*", metavar="THEME=NAME")
    choices = parser.parse_args().choices
    if not choices:
        print("\n".join(known()))
        return 0
    configure(choices, params.FILE)
    print(f"{params.FILE}: merged {', '.join(choices)}; run `dvc repro`", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(command.guarded(main))

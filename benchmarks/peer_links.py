"""What OpenWebText's scripts do to a dump, in their manner: one loop, one set, one list of URLs.

Reads every line with a JSON library, keeps outbound links by score, mark, host and ending, and
writes each URL once. It neither counts what it drops nor keeps what was submitted; a line that is
broken stops it. Stands alone: nothing of the project is imported.

Run: python benchmarks/peer_links.py FOLDER json|orjson
"""

import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

import orjson

LOADS = {"json": json.loads, "orjson": orjson.loads}


def main(folder: Path, library: str) -> None:
    """Writes `peer-LIBRARY.txt` beside the dump.

    Args:
        folder: Holds `in/RS_x` and `blocked.json`.
        library: Which of LOADS.
    """
    loads = LOADS[library]
    lists = json.loads((folder / "blocked.json").read_text())
    domains, endings = set(lists["domains"]), tuple(f".{e}" for e in lists["extensions"])
    seen: set[str] = set()
    with (
        (folder / "in" / "RS_x").open("rb") as lines,
        (folder / f"peer-{library}.txt").open("w") as output,
    ):
        for line in lines:
            post = loads(line)
            if post["score"] < lists["min_score"] or post["over_18"] or post["is_self"]:
                continue
            url = post["url"]
            if url in seen or is_blocked(url, domains, endings):
                continue
            seen.add(url)
            output.write(url + "\n")


def is_blocked(url: str, domains: set[str], endings: tuple[str, ...]) -> bool:
    """Returns whether a URL's host or ending is on a list."""
    parts = urlsplit(url)
    labels = parts.netloc.split(".")
    hosts = (".".join(labels[i:]) for i in range(len(labels)))
    return parts.path.lower().endswith(endings) or any(host in domains for host in hosts)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

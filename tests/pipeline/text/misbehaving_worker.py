"""A sandbox worker that does what it is told, bad things included (run by test_sandbox)."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pipeline.text.sandbox import Handler, serve

_HOARD: list[bytearray] = []


def _spin() -> None:
    while True:
        pass


def _spin_in_c() -> None:
    (10**9) ** (10**8)  # one big-number power, no bytecode in between


def _act(question: dict[str, Any]) -> None:
    match question["do"]:
        case "spin":
            _spin()
        case "spin_in_c":
            _spin_in_c()
        case "hoard":
            _HOARD.extend(bytearray(16 << 20) for _ in range(4))
            _HOARD.append(bytearray(1 << 40))  # page by page it could meet the limit of time first
        case "segfault":
            ctypes.string_at(0)
        case "be_killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise KeyError(question["text"])
        case "exit":
            os._exit(7)
        case "chatter":
            print("a page printed this")
            sys.stderr.flush()
        case "garble":
            os.write(4, b"\x00" * 64)
        case "spin_once":
            mark = Path(question["mark"])
            if not mark.exists():
                mark.touch()
                _spin()


def _prepare(setup: dict[str, Any]) -> Handler:
    if setup.get("broken"):
        raise SystemExit("this worker cannot start")
    seen = 0

    def answer(question: dict[str, Any], page: bytes) -> dict[str, Any]:
        nonlocal seen
        seen += 1
        _act(question)
        told = {"size": len(page), "seen": seen, "pid": os.getpid(), "setup": setup}
        return told | {
            "text": question.get("text"),
            "zone": os.environ["TZ"],
            "env": len(os.environ),
        }

    return answer


if __name__ == "__main__":
    assert signal.getsignal(signal.SIGPROF) == signal.SIG_DFL
    serve(_prepare)

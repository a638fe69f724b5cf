"""What a training process asks of its machine."""

import resource
import subprocess
import sys

import pytest
import torch

from model.gpt import GPT
from model.training.device import compile_model
from tests.model.training.small_runs import SHAPE

_PROBE = """
import resource, sys, torch
from model.training.device import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for step in range(40):
    if step == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(64 << 20, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc alone is told")
def test_freed_memory_is_used_again_without_asking_the_kernel() -> None:
    n_pages = 20 * (64 << 20) // resource.getpagesize()
    assert faults("as always") > 0.9 * n_pages
    assert faults("kept") < 0.01 * n_pages


@pytest.mark.parametrize(
    ("where", "compiler", "told"),
    [
        ("/a b/site-packages/torch/__init__.py", sys.executable, "/a b/site-packages/torch/lib "),
        ("/a/site-packages/torch/__init__.py", "no-such-compiler", "no no-such-compiler here"),
    ],
)
def test_model_is_not_compiled_where_that_would_fail_in_the_middle(
    where: str,
    compiler: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch, "__file__", where)
    monkeypatch.setenv("CXX", compiler)
    compile_model(GPT(SHAPE.with_vocab(9)))
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert line.endswith("runs without torch.compile")

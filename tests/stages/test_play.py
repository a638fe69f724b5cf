"""The playground's command: where it listens, and how it ends."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from pipeline.engine.identity import ROOT


def test_play_says_where_it_listens_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    """Without any model or token: the page says what makes them."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    command = [sys.executable, "-m", "stages.play", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        address = line.split()[1]
        try:
            assert address.startswith("http://127.0.0.1:"), line
            with urllib.request.urlopen(address, timeout=60) as response:
                assert "Outbound: playground" in response.read().decode()
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_play_with_a_folder_without_model_is_a_stated_failure(tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "stages.play", "--port", "0", "elsewhere"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: elsewhere holds no model: config.json is missing")

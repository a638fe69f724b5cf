"""Provenance: the project's own source, the manifests' digests, the installed versions."""

import hashlib
import subprocess
from importlib import metadata
from pathlib import Path

from pipeline.report.provenance import provenance
from pipeline.store import manifest
from tests.pipeline.report.world import World


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.test")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_provenance_names_the_commit_and_whether_files_changed(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("seed: 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "params.yaml")
    git(tmp_path, "commit", "-q", "-m", "first")
    found = provenance(tmp_path / "data", params)
    assert (found.commit, found.is_changed) == (git(tmp_path, "rev-parse", "HEAD"), False)
    params.write_text("seed: 2\n")
    assert provenance(tmp_path / "data", params).is_changed


def test_provenance_of_an_archive_inside_a_repository_has_no_commit(tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    (unpacked / "params.yaml").write_text("seed: 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "somebody else's")
    found = provenance(unpacked / "data", unpacked / "params.yaml")
    assert (found.commit, found.is_changed) == ("", False)


def test_provenance_repeats_digests_of_params_and_folders(world: World) -> None:
    found = provenance(world.sources.data, world.sources.params)
    content = world.sources.params.read_bytes()
    assert found.params_sha256 == hashlib.sha256(content).hexdigest()
    assert found.params == content.decode()
    roots = {folder.path: folder.root for folder in found.folders}
    assert roots["data/clean"] == manifest.load(world.sources.data / "clean", "clean").root
    assert list(roots) == sorted(
        f"data/{name}" for name in "clean corpus fetches links pages tokens truth unique".split()
    )
    assert all(folder.n_bytes > 0 for folder in found.folders)


def test_provenance_versions_are_those_installed(world: World) -> None:
    versions = dict(provenance(world.sources.data, world.sources.params).versions)
    assert versions["pyarrow"] == metadata.version("pyarrow")
    assert {"torch", "deepspeed", "ray", "trafilatura", "ftfy"} <= versions.keys()

"""Fetching sets from a server of our own: broken transfers, wrong bytes, hostile archives."""

import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import fsspec
import pytest

from model.tasks import download, evalsets
from model.tasks.download import DOWNLOADS, Fetched
from model.tasks.registry import BROUGHT, SETS, UNKNOWN, EvalSet
from pipeline.engine import remote
from tests import served
from tests.served import Site

CONTENT = bytes(range(256)) * 1000
TEXT = b" anarchism originated"


@pytest.fixture
def site() -> Iterator[Site]:
    fsspec.get_filesystem_class("http").clear_instance_cache()
    with served.site() as told:
        yield told


def known(name: str, url: str, *files: tuple[str, bytes | None]) -> EvalSet:
    """A registered set with an address and digests of our own; None for one that is not known."""
    original = next(each for each in SETS if each.name == name)
    pairs = tuple((file, UNKNOWN if b is None else sha256(b).hexdigest()) for file, b in files)
    return replace(original, fetch=url, files=pairs)


def fetch(sets: list[EvalSet], mirror: Path, url: str | None = None) -> list[Fetched]:
    return list(download.fetch(sets, mirror, url, pause=lambda _: None))


def zipped(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return made.getvalue()


def tarred(**members: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def test_file_with_the_published_digest_comes_to_its_place(site: Site, tmp_path: Path) -> None:
    site.files["/a.jsonl"] = CONTENT
    (found,) = fetch(
        [known("lambada_openai", f"{site.url}/a.jsonl", ("lambada/l.jsonl", CONTENT))], tmp_path
    )
    assert (tmp_path / "lambada" / "l.jsonl").read_bytes() == CONTENT
    assert found.is_published is True
    told = "\n".join(download.lines(found))
    assert "as published" in told
    assert "CC BY 4.0" in told
    download.clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lambada"]


def test_broken_transfer_goes_on_where_it_was(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_STEP_BYTES", 100_000)
    site.files["/a.json"], site.cuts = CONTENT, [100_000] + [0] * 100
    one = known("coqa", f"{site.url}/a.json", ("coqa/c.json", CONTENT))
    with pytest.raises(OSError, match=r"the same command continues, or try another --url"):
        fetch([one], tmp_path)
    assert not (tmp_path / "coqa" / "c.json").exists()
    site.cuts.clear()
    site.requests.clear()
    fetch([one], tmp_path)
    assert site.gets() == ["bytes=100000-199999", "bytes=200000-255999"]
    assert (tmp_path / "coqa" / "c.json").read_bytes() == CONTENT


def test_transfer_that_was_whole_is_not_made_again(site: Site, tmp_path: Path) -> None:
    site.files["/a.json"] = CONTENT
    one = known("coqa", f"{site.url}/a.json", ("coqa/c.json", CONTENT))
    (tmp_path / "coqa").write_text("no folder")
    with pytest.raises(FileExistsError):
        fetch([one], tmp_path)
    (tmp_path / "coqa").unlink()
    site.requests.clear()
    fetch([one], tmp_path)
    assert site.gets() == []


def test_busy_server_is_asked_again_and_a_refusal_is_told(site: Site, tmp_path: Path) -> None:
    site.files["/a.json"], site.statuses = CONTENT, [503, 503]
    one = known("coqa", f"{site.url}/a.json", ("coqa/c.json", CONTENT))
    waited: list[float] = []
    list(download.fetch([one], tmp_path, pause=waited.append))
    assert waited == [2.0]
    gone = known("coqa", f"{site.url}/gone.json", ("coqa/d.json", CONTENT))
    with pytest.raises(OSError, match=r"gone\.json does not exist; .* or try another --url"):
        fetch([gone], tmp_path)


def test_wrong_bytes_are_not_kept(site: Site, tmp_path: Path) -> None:
    site.files["/a.json"] = b"something else"
    one = known("coqa", f"{site.url}/a.json", ("coqa/c.json", CONTENT))
    (tmp_path / "coqa").mkdir()
    (tmp_path / "coqa" / "c.json").write_bytes(b"what was there")
    with pytest.raises(ValueError, match=r"coqa: .* not kept: c\.json has SHA-256 .*--url"):
        fetch([one], tmp_path)
    assert (tmp_path / "coqa" / "c.json").read_bytes() == b"what was there"
    assert list(tmp_path.rglob("*.new")) == list((tmp_path / DOWNLOADS).iterdir()) == []


def test_unknown_digest_is_reported_and_not_trusted(site: Site, tmp_path: Path) -> None:
    site.files["/text8.zip"] = zipped(text8=TEXT)
    (found,) = fetch([known("text8", f"{site.url}/text8.zip", ("text8/text8", None))], tmp_path)
    assert found.is_published is None
    assert sha256(TEXT).hexdigest() in "\n".join(download.lines(found))
    assert "digest not known here" in "\n".join(download.lines(found))
    config = evalsets.Config(
        mirror=str(tmp_path),
        extra=None,
        accept=(),
        heldout_documents=1,
        lastword_per_document=1,
        lastword_min_words=15,
    )
    text8 = next(each for each in SETS if each.name == "text8")
    with pytest.raises(ValueError, match=r"accept: \[text8\]"):
        evalsets._published(text8, tmp_path / "eval", config)


@pytest.mark.parametrize("make", [zipped, tarred])
def test_only_the_named_members_leave_an_archive(make: object, site: Site, tmp_path: Path) -> None:
    name = "/t.zip" if make is zipped else "/t.tgz"
    wanted = {"..__..__evil.sgm": b"no", "test-full__a.sgm": b"one", "test-full__b.sgm": b"two"}
    site.files[name] = make(**wanted)  # type: ignore[operator]
    url = f"{site.url}{name}"
    sets = [
        known("wmt14_en_fr", url, ("wmt14/a.sgm", b"one"), ("wmt14/b.sgm", b"two")),
        known("wmt14_fr_en", url, ("wmt14/b.sgm", b"two"), ("wmt14/a.sgm", b"one")),
    ]
    mirror = tmp_path / "deep" / "mirror"
    assert len(fetch(sets, mirror)) == 4
    assert len(site.gets(name)) == 1  # once for both sets
    assert sorted(path.name for path in tmp_path.rglob("*.sgm")) == ["a.sgm", "b.sgm"]
    site.requests.clear()
    assert all(found.is_published for found in fetch(sets, mirror))
    assert site.requests == []  # all is there


def test_member_that_is_a_link_or_stands_twice_is_refused(site: Site, tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        link = tarfile.TarInfo("test/text8")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    site.files["/t.tgz"] = made.getvalue()
    site.files["/t.zip"] = zipped(a__text8=TEXT, b__text8=TEXT)
    for name, n in (("t.tgz", 0), ("t.zip", 2)):
        one = known("text8", f"{site.url}/{name}", ("text8/text8", None))
        with pytest.raises(ValueError, match=f"holds {n} files named text8; expected one"):
            fetch([one], tmp_path)


@pytest.mark.parametrize("name", ["t.zip", "t.tgz"])
def test_broken_archive_is_not_kept(name: str, site: Site, tmp_path: Path) -> None:
    whole = zipped(text8=CONTENT) if name == "t.zip" else tarred(text8=CONTENT)
    site.files[f"/{name}"] = whole[: len(whole) // 2]
    one = known("text8", f"{site.url}/{name}", ("text8/text8", None))
    with pytest.raises(ValueError, match="text8: what was fetched is not kept"):
        fetch([one], tmp_path)
    assert list((tmp_path / DOWNLOADS).iterdir()) == []
    assert not (tmp_path / "text8" / "text8").exists()


def test_archive_larger_than_all_that_is_known_is_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/t.zip"] = zipped(text8=bytes(200_000))
    monkeypatch.setattr(download, "MAX_BYTES", 100_000)
    with pytest.raises(ValueError, match="larger than the allowed 100,000 bytes"):
        fetch([known("text8", f"{site.url}/t.zip", ("text8/text8", None))], tmp_path)


def test_file_larger_than_all_that_is_known_is_not_begun(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/a.json"] = CONTENT
    monkeypatch.setattr(download, "MAX_BYTES", 100_000)
    with pytest.raises(ValueError, match="has 256,000 bytes; expected 100,000 at most"):
        fetch([known("coqa", f"{site.url}/a.json", ("coqa/c.json", CONTENT))], tmp_path)
    assert site.gets() == []


def test_another_address_stands_in_for_the_registered_one(site: Site, tmp_path: Path) -> None:
    site.files["/copy.json"] = CONTENT
    one = known("coqa", "http://127.0.0.1:9/never", ("coqa/c.json", CONTENT))
    (found,) = fetch([one], tmp_path, f"{site.url}/copy.json")
    assert found.is_published


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a.test/b", "a.json"])
def test_address_of_another_kind_is_refused(url: str, tmp_path: Path) -> None:
    one = known("coqa", url, ("coqa/c.json", CONTENT))
    with pytest.raises(ValueError, match="expected https, http or s3"):
        fetch([one], tmp_path)


def test_sets_that_must_be_brought_are_refused_with_their_address() -> None:
    with pytest.raises(ValueError, match=r"ptb cannot be fetched .*LDC.*catalog\.ldc"):
        download.chosen(["lambada_openai", "ptb"])
    with pytest.raises(ValueError, match="ptp is no known set; expected some of lambada_openai"):
        download.chosen(["ptp"])


def test_every_fetched_file_can_be_told_from_others_in_its_archive() -> None:
    """Members are found by name, so no two files of one archive may have the same one."""
    for url in {known.fetch for known in SETS if known.fetch != BROUGHT}:
        files = {name for known in SETS if known.fetch == url for name, _ in known.files}
        assert url.startswith(("http://", "https://"))
        assert len({Path(name).name for name in files}) == len(files)

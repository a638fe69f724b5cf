"""WARC files of made pages, as the crawl leaves them: what extraction and the chain start from."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from pipeline.store import manifest, records, shards, urls, warc
from pipeline.store.shards import Counts, FileInfo


def write(folder: Path, pages: Iterable[tuple[str, bytes]], n_files: int) -> int:
    """Writes pages in turn into so many files, with a manifest; returns the bytes of their markup.

    Args:
        folder: Is made.
        pages: URL and markup of each.
        n_files: How many.
    """
    folder.mkdir(parents=True)
    n_bytes = 0
    with ExitStack() as stack:
        names = (f"part-{i:05d}.warc.gz" for i in range(n_files))
        files = [stack.enter_context((folder / name).open("wb")) for name in names]
        for i, (url, body) in enumerate(pages, start=1):
            files[i % n_files].write(record(url, body))
            n_bytes += len(body)
    seal(folder)
    return n_bytes


def record(url: str, body: bytes) -> bytes:
    """Returns a page as our crawl stores it."""
    exchange = warc.Exchange(
        url=url,
        date="2017-12-01T00:00:00Z",
        address="",
        request=b"GET / HTTP/1.1\r\n\r\n",
        status_line="HTTP/1.1 200 OK",
        headers=((b"Content-Type", b"text/html; charset=utf-8"),),
        body=body,
        truncated="",
    )
    parsed = urls.parse(url)
    assert parsed is not None
    doc_id = records.doc_id(urls.canonical_key(parsed))
    link = warc.LinkFields(url=url, doc_id=doc_id, created_utc=0)
    return warc.encode_exchange(exchange, url, link).data


def seal(folder: Path) -> None:
    """Writes the manifest of a folder of WARC files."""
    files = {
        path.name: FileInfo(n_bytes=path.stat().st_size, sha256=shards.sha256_file(path), rows=0)
        for path in sorted(folder.iterdir())
    }
    manifest.write(folder, "crawl", files, Counts(n_in=0, n_out=0, dropped={}), {}, len(files))

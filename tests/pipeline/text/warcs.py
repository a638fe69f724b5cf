"""WARC files for tests, written by the project's own writer."""

from pathlib import Path

from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, urls, warc
from pipeline.store.shards import Counts, FileInfo, sha256_file
from pipeline.text import extract


def response(
    url: str,
    body: bytes,
    *,
    status: int = 200,
    link: bool = True,
    day: str = "2017-12-01",
    content_type: str = "text/html; charset=utf-8",
) -> bytes:
    """Returns the records of one exchange."""
    parsed = urls.parse(url)
    assert parsed is not None
    exchange = warc.Exchange(
        url=url,
        date=f"{day}T00:00:00Z",
        address="127.0.0.1",
        request=f"GET {parsed.path} HTTP/1.1\r\nHost: {parsed.host}\r\n\r\n".encode(),
        status_line=f"HTTP/1.1 {status} Told",
        headers=((b"Content-Type", content_type.encode()),) if content_type else (),
        body=body,
        truncated="",
    )
    doc_id = records.doc_id(urls.canonical_key(parsed))
    fields = warc.LinkFields(url=url, doc_id=doc_id, created_utc=1_500_000_000)
    return warc.encode_exchange(exchange, url + day, fields if link else None).data


def write(path: Path, *exchanges: bytes) -> Path:
    """Writes a file of exchanges."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(exchanges))
    return path


def seal(folder: Path) -> Path:
    """Writes the manifest that a crawl leaves beside its WARC files."""
    files = {
        path.name: FileInfo(n_bytes=path.stat().st_size, sha256=sha256_file(path), rows=0)
        for path in sorted(folder.iterdir())
        if path.name != manifest.NAME
    }
    counts = Counts(n_in=0, n_out=0, dropped={})
    return manifest.write(folder, "crawl", files, counts, {}, len(files)).folder


def extract_folder(workspace: Path, config: extract.Config, engine: Engine) -> Path:
    """Extracts `warc/` and what the configuration names; returns the folder of pages."""
    (workspace / "warc").mkdir(exist_ok=True)
    extract.run(seal(workspace / "warc"), workspace / "pages", config, engine)
    return workspace / "pages"

"""Looking up a record in a sorted index, against the records as they were written."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.store import cdxj, records, urls, warc

WORDS = st.text("ab/?=.-", max_size=6)


def write(folder: Path, answers: list[tuple[str, str]]) -> dict[str, int]:
    """Writes a WARC file and its index; returns the offset of each link's response.

    Args:
        answers: (the link, the address that its redirects ended at).
    """
    data, lines, offsets = b"", [], {}
    for number, (link, url) in enumerate(answers):
        exchange = warc.Exchange(
            url=url,
            date="2017-12-01T00:00:00Z",
            address="",
            request=b"GET / HTTP/1.1\r\n\r\n",
            status_line="HTTP/1.1 200 OK",
            headers=((b"Content-Type", b"text/html"),),
            body=f"<p>{link} {'x' * (number % 70)}".encode(),
            truncated="",
        )
        fields = warc.LinkFields(url=link, doc_id=records.doc_id(link), created_utc=1)
        encoded = warc.encode_exchange(exchange, f"{number} {link}", fields)
        lines.append(warc.index_line(encoded, len(data), "part-00000.warc.gz"))
        offsets[link] = len(data) + encoded.offset
        data += encoded.data
    (folder / "part-00000.warc.gz").write_bytes(data)
    (folder / "part-00000.cdxj").write_text("".join(f"{line}\n" for line in sorted(lines)))
    return offsets


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abc"), WORDS), max_size=30, unique=True))
def test_find_every_record_of_any_index(
    tmp_path_factory: pytest.TempPathFactory, pages: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("warc")
    parsed = [urls.parse(f"http://{host}.test/{path}") for host, path in pages]
    hrefs = sorted({url.href for url in parsed if url})
    answers = [(f"link {number}", url) for number, url in enumerate(hrefs)]
    offsets = write(folder, answers)
    index = folder / "part-00000.cdxj"
    for link, url in answers:
        assert cdxj.find(index, url, records.doc_id(link)) == offsets[link]
        assert cdxj.find(index, url, records.doc_id("other")) is None
    assert cdxj.find(index, "http://zzz.test/", records.doc_id("link 0")) is None
    assert cdxj.find(index, "http://0.test/", records.doc_id("link 0")) is None


def test_find_two_links_that_end_at_one_address_are_told_apart(tmp_path: Path) -> None:
    end = "http://a.test/end"
    answers = [(f"link {n}", end) for n in range(5)] + [("another", "http://a.test/END")]
    offsets = write(tmp_path, answers)
    found = {
        link: cdxj.find(tmp_path / "part-00000.cdxj", url, records.doc_id(link))
        for link, url in answers
    }
    assert found == offsets


def test_find_offset_that_holds_no_record_is_no_answer(tmp_path: Path) -> None:
    write(tmp_path, [("link", "http://a.test/")])
    data = (tmp_path / "part-00000.warc.gz").read_bytes()
    (tmp_path / "part-00000.warc.gz").write_bytes(bytes(len(data)))
    index = tmp_path / "part-00000.cdxj"
    assert cdxj.find(index, "http://a.test/", records.doc_id("link")) is None

"""Every record of WARC and ARC files in every packing, and what damage costs."""

import bz2
import gzip
import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.store.archive import Damage, Record, fields_of, read_records

N_RECORDS = 12


def record(block: bytes, length: int | None = None, uri: str = "http://a.test/") -> bytes:
    """Returns one WARC record, its Content-Length true unless given."""
    lines = ["WARC/1.0", "WARC-Type: resource", f"WARC-Target-URI: {uri}"]
    lines += [
        "Content-Type: text/html",
        f"Content-Length: {len(block) if length is None else length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + block + b"\r\n\r\n"


def arc_record(block: bytes, url: str, version: int = 1) -> bytes:
    """Returns one ARC record."""
    more = {1: "", 2: "200 checksum - 0 a.arc "}[version]
    line = f"{url} 127.0.0.1 20140216050221 text/html {more}{len(block)}\n"
    return line.encode() + block + b"\n"


def _blocks(seed: int) -> list[bytes]:
    draw = random.Random(seed)
    lines = [b"<p>plain", b"\r\n", b"WARC/1.0 is a format", b"http://b.test/ 1", b"\0\0", b"\n\n"]
    return [
        b"".join(draw.choices(lines, k=draw.randrange(40))) + b"%d" % i for i in range(N_RECORDS)
    ]


def _zstd_with_dictionary(records: list[bytes]) -> bytes:
    """Returns a file as the WARC zstd proposal has it: the dictionary, then a frame per record."""
    dictionary = zstandard.ZstdCompressionDict(b"".join(records)[:4000])
    packed = zstandard.compress(dictionary.as_bytes())
    frames = [zstandard.ZstdCompressor(dict_data=dictionary).compress(r) for r in records]
    return b"".join([b"\x5d\x2a\x4d\x18", len(packed).to_bytes(4, "little"), packed, *frames])


PACKINGS: dict[str, Callable[[list[bytes]], bytes]] = {
    "plain": b"".join,
    "gzip": lambda records: b"".join(gzip.compress(r, mtime=0) for r in records),
    "gzip, padded": lambda records: b"".join(
        gzip.compress(r, mtime=0) + bytes(700) for r in records
    ),
    "gzip, one member": lambda records: gzip.compress(b"".join(records), mtime=0),
    "gzip, two records a member": lambda records: b"".join(
        gzip.compress(a + b, mtime=0) for a, b in zip(records[::2], records[1::2], strict=True)
    ),
    "lz4": lambda records: b"".join(map(lz4.frame.compress, records)),
    "zstd": lambda records: b"".join(map(zstandard.compress, records)),
    "zstd, one frame": lambda records: zstandard.compress(b"".join(records)),
    "zstd, dictionary": _zstd_with_dictionary,
}
FORMATS = {
    "WARC": lambda block, i: record(block, uri=f"http://a.test/{i}"),
    "ARC": lambda block, i: arc_record(block, f"http://a.test/{i}"),
    "ARC 2": lambda block, i: arc_record(block, f"http://a.test/{i}", version=2),
}


def read(path: Path, data: bytes, **options: int) -> tuple[list[Record], list[Damage]]:
    path.write_bytes(data)
    found = list(read_records(path, **options))
    damages = [each for each in found if isinstance(each, Damage)]
    return [each for each in found if isinstance(each, Record)], damages


def urls(records: list[Record]) -> list[str]:
    return [each.url for each in records]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", FORMATS)
def test_whole_file_gives_every_record_in_any_packing(
    tmp_path: Path, form: str, packing: str
) -> None:
    blocks = _blocks(1)
    data = PACKINGS[packing]([FORMATS[form](block, i) for i, block in enumerate(blocks)])
    records, damages = read(tmp_path / "any name", data)
    assert damages == []
    assert [r.block for r in records] == blocks
    assert urls(records) == [f"http://a.test/{i}" for i in range(N_RECORDS)]
    assert {r.kind for r in records} == {"resource" if form == "WARC" else "response"}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_damage_costs_the_members_it_hits_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, form: str, packing: str, data: st.DataObject
) -> None:
    blocks = [random.Random(i).randbytes(300) for i in range(N_RECORDS)]
    each = [FORMATS[form](block, i) for i, block in enumerate(blocks)]
    pack = PACKINGS[packing]
    whole = pack(each)
    place = data.draw(st.integers(0, len(whole) - 1))
    n_lost = data.draw(st.integers(0, 40))
    noise = data.draw(st.binary(max_size=40))
    damaged = whole[:place] + noise + whole[place + n_lost :]
    records, damages = read(tmp_path_factory.getbasetemp() / "damaged", damaged)
    right = {f"http://a.test/{i}": block for i, block in enumerate(blocks)}
    intact = {r.url for r in records if right.get(r.url) == r.block}
    if "member" in packing or "frame" in packing or "dictionary" in packing:
        return  # one damage may cost a member of many records; here only: no exception
    ends = [len(pack(each[:i])) for i in range(N_RECORDS + 1)]
    untouched = [i for i in range(N_RECORDS) if ends[i + 1] <= place or ends[i] >= place + n_lost]
    first_behind = next((i for i in untouched if ends[i] >= place + n_lost), None)
    if first_behind is not None and place >= 64:  # the first bytes show the packing
        certain = {f"http://a.test/{i}" for i in untouched}
        # Noise just before a plain record makes its first line another one.
        certain -= {f"http://a.test/{i}" for i in untouched if ends[i] == place + n_lost}
        assert certain <= intact
    if damaged != whole and packing != "plain":
        assert len(records) + len(damages) >= 1
    assert all(0 <= d.offset <= d.end <= len(damaged) for d in damages)


@pytest.mark.parametrize("packing", ["gzip", "lz4", "zstd"])
def test_flipped_byte_in_a_member_is_seen_wherever_it_is(tmp_path: Path, packing: str) -> None:
    each = [record(random.Random(i).randbytes(200), uri=f"http://a.test/{i}") for i in range(3)]
    pack = {"gzip": PACKINGS["gzip"], "lz4": _checked_lz4, "zstd": _checked_zstd}[packing]
    whole = pack(each)
    first, second = len(pack(each[:1])), len(pack(each[:2]))
    n_unseen = 0
    for place in range(first, second):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        records, damages = read(tmp_path / "flipped", bytes(damaged))
        assert {"http://a.test/0", "http://a.test/2"} <= set(urls(records))
        if "http://a.test/1" in urls(records):
            n_unseen += 1  # of the container's own fields: time, system
        else:
            assert [d.offset for d in damages] == [first]
    assert n_unseen <= 12


def _checked_lz4(records: list[bytes]) -> bytes:
    return b"".join(lz4.frame.compress(r, content_checksum=True) for r in records)


def _checked_zstd(records: list[bytes]) -> bytes:
    return b"".join(map(zstandard.ZstdCompressor(write_checksum=True).compress, records))


@pytest.mark.parametrize(
    ("length", "n_records", "reason"),
    [
        pytest.param(30, 3, "bytes that belong to no record", id="too short"),
        pytest.param(200, 2, "next record begins before the 200 bytes", id="a little too long"),
        pytest.param(10**6, 2, "block has", id="beyond the end"),
    ],
)
@pytest.mark.parametrize("packing", ["plain", "gzip, one member", "zstd, one frame"])
def test_wrong_length_costs_its_own_record_only(
    tmp_path: Path, packing: str, length: int, n_records: int, reason: str
) -> None:
    each = [record(b"x" * 60, uri=f"http://a.test/{i}") for i in range(3)]
    each[1] = record(b"x" * 60, length, uri="http://a.test/1")
    records, damages = read(tmp_path / "a", PACKINGS[packing](each))
    assert len(records) == n_records
    assert urls(records)[-1] == "http://a.test/2"
    (damage,) = damages
    assert damage.reason.startswith(reason)


@pytest.mark.parametrize("length", ["-1", "abc", "", "9" * 30, "１２"])
def test_record_without_a_usable_length_is_damage(tmp_path: Path, length: str) -> None:
    bad = record(b"x" * 60).replace(b"Length: 60", f"Length: {length}".encode())
    records, damages = read(tmp_path / "a.warc", bad + record(b"next"))
    assert [r.block for r in records] == [b"next"]
    assert [(d.offset, d.end) for d in damages] == [(0, len(bad))]


def test_short_record_in_a_member_of_its_own_does_not_reach_into_the_next(tmp_path: Path) -> None:
    short, whole = gzip.compress(record(b"x" * 50, 999)), gzip.compress(record(b"next"))
    records, (damage,) = read(tmp_path / "a", short + whole)
    assert [r.block for r in records] == [b"next"]
    assert (damage.offset, damage.end) == (0, len(short))
    assert damage.reason == "block has 54 of 999 bytes"


def test_record_spread_over_members_is_whole(tmp_path: Path) -> None:
    data = record(b"x" * 500) + record(b"y" * 500)
    cuts = [0, 300, 400, len(data) // 2, len(data) // 2 + 350, len(data)]
    parts = b"".join(gzip.compress(data[a:b]) for a, b in pairwise(cuts))
    records, damages = read(tmp_path / "a", parts)
    assert [r.block for r in records] == [b"x" * 500, b"y" * 500]
    assert damages == []


def test_damage_inside_a_file_that_is_one_member_keeps_what_comes_before(tmp_path: Path) -> None:
    each = [record(random.Random(i).randbytes(400), uri=f"http://a.test/{i}") for i in range(40)]
    packed = bytearray(gzip.compress(b"".join(each)))
    packed[len(packed) // 2] ^= 0xFF
    packed[len(packed) // 2 + 1 :] = random.Random(0).randbytes(len(packed) // 2)
    records, damages = read(tmp_path / "a", bytes(packed))
    assert len(records) >= 18
    assert urls(records) == [f"http://a.test/{i}" for i in range(len(records))]
    assert damages[-1].end == len(packed)


def test_block_beyond_the_limit_is_cut_and_its_length_told(tmp_path: Path) -> None:
    data = gzip.compress(record(b"x" * 9000)) + gzip.compress(record(b"next"))
    records, damages = read(tmp_path / "a", data, max_block_bytes=100)
    assert [(len(r.block), r.n_bytes) for r in records] == [(100, 9000), (4, 4)]
    assert damages == []


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, lz4.frame.compress])
def test_bomb_is_read_in_steps(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    data = pack(record(bytes(200 << 20))) + pack(record(b"next"))
    records, damages = read(tmp_path / "a", data, max_block_bytes=100)
    assert [r.n_bytes for r in records] == [200 << 20, 4]
    assert damages == []


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_header_is_read_as_the_standard_and_as_writers_have_it(tmp_path: Path, ends: str) -> None:
    lines = ["WARC/1.0", "warc-type: Resource", "WARC-Target-URI:<http://a.test/é>", "X : folded"]
    lines += ["  over lines", "no field", "Content-Length: 2", "Content-Length: 9", "", "ok", ""]
    (found,), damages = read(tmp_path / "a", ends.join(lines).encode())
    assert damages == []
    assert (found.kind, found.url, found.block) == ("resource", "http://a.test/é", b"ok")
    assert (found.get("x"), found.get("absent")) == ("folded over lines", "")


def test_arc_line_with_blanks_in_its_url_is_read_from_the_right(tmp_path: Path) -> None:
    data = arc_record(b"1 0 x\n", "filedesc://a.arc") + arc_record(b"page", "http://a.test/b c d")
    (header, found), damages = read(tmp_path / "a.arc", data)
    assert damages == []
    assert (header.kind, found.kind) == ("arc_header", "response")
    assert found.url == "http://a.test/b c d"
    assert found.get("WARC-Date") == "2014-02-16T05:02:21Z"


def test_arc_with_a_damaged_beginning_is_still_read(tmp_path: Path) -> None:
    each = [arc_record(b"<p>" * i, f"http://a.test/{i}") for i in range(4)]
    records, damages = read(tmp_path / "a.arc", b"\xff\xfe" + b"".join(each)[40:])
    assert urls(records) == ["http://a.test/1", "http://a.test/2", "http://a.test/3"]
    assert [d.offset for d in damages] == [0]


def test_other_compression_is_one_damage(tmp_path: Path) -> None:
    data = bz2.compress(record(b"x"))
    assert read(tmp_path / "a", data) == (
        [],
        [Damage(offset=0, end=len(data), reason="bytes that belong to no record")],
    )


def test_fields_of_a_hostile_header_are_what_can_be_read() -> None:
    assert fields_of(b"WARC/1.0\r\n: x\r\n\xff: \xfe\r\na:b:c\n\n") == (("�", "�"), ("a", "b:c"))


# What a reader must make of each real file: the records that warcio reads (as the folder's README
# counts them), ours, our damages, and why ours is the better answer where the two differ.
BETTER_CUT = "the only record is cut short; warcio gives its beginning as if it were whole"
BETTER_ONE_MEMBER = "all records of a file that is one gzip member; warcio stops at the second"
REAL = {
    "dolma/sample-0000.warc.gz": (48, 48, 0, ""),
    "dolma/sample-0001.warc.gz": (34, 34, 0, ""),
    "resiliparse/block-sized-records.warc.gz": (3, 3, 0, ""),
    "resiliparse/block-sized-records.warc.lz4": (3, 3, 0, ""),
    "resiliparse/clipped.warc.gz": (1, 0, 1, BETTER_CUT),
    "resiliparse/clueweb-quirk.warc.gz": (30, 30, 0, ""),
    "resiliparse/warcfile.warc.gz": (50, 50, 0, ""),
    "resiliparse/warcfile.warc.lz4": (50, 50, 0, ""),
    "stormcrawler/test.warc.gz": (42, 42, 0, ""),
    "stormcrawler/unparsable-date.warc.gz": (1, 3, 0, BETTER_ONE_MEMBER),
    "warcio/bad.arc": (4, 1, 3, "three of the four records have no usable length: -1, -1, abc"),
    "warcio/example-bad-non-chunked.warc.gz": (1, 6, 0, BETTER_ONE_MEMBER),
    "warcio/example-bad.warc.gz.bad": (1, 6, 0, BETTER_ONE_MEMBER),
    "warcio/example-digest.warc": (4, 4, 0, ""),
    "warcio/example-iana.org-chunked.warc": (3, 3, 0, ""),
    "warcio/example-resource.warc.gz": (3, 3, 0, ""),
    "warcio/example-space-in-target-uri.warc.gz": (2, 2, 0, ""),
    "warcio/example-space-in-url.arc": (2, 1, 1, "1579 of 1591 bytes; " + BETTER_CUT),
    "warcio/example-trunc.warc": (4, 4, 0, ""),
    "warcio/example-wget-bad-target-uri.warc.gz": (6, 6, 0, ""),
    "warcio/example-wrong-chunks.warc.gz": (1, 2, 0, "the second record too, spread over members"),
    "warcio/example.arc": (2, 2, 0, ""),
    "warcio/example.arc.gz": (2, 2, 0, ""),
    "warcio/example.warc": (6, 6, 0, ""),
    "warcio/example.warc.gz": (6, 6, 0, ""),
    "warcio/post-test.warc.gz": (6, 6, 0, ""),
    "warcio/standard-torture-missing.warc": (1, 1, 0, ""),
    "warcio/standard-torture-validate-field.warc": (3, 3, 1, "what is behind them; warcio raises"),
    "warcio/standard-torture-validate-record.warc": (17, 17, 0, ""),
    "whirlwind/whirlwind.warc.gz": (4, 4, 0, ""),
    "whirlwind/whirlwind.warc.wat.gz": (2, 2, 0, ""),
    "whirlwind/whirlwind.warc.wet.gz": (2, 2, 0, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_file_gives_the_records_of_its_readme_or_more(real_data: Path, name: str) -> None:
    theirs, n_records, n_damages, why = REAL[name]
    found = Counter(type(each) for each in read_records(real_data / "warc" / name))
    assert (found[Record], found[Damage]) == (n_records, n_damages)
    assert (n_records == theirs and not n_damages) or why


def test_every_real_file_is_in_the_table(real_data: Path) -> None:
    folder = real_data / "warc"
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {name for name in there if "warc" in name or "arc" in name} == set(REAL)

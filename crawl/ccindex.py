"""A Common Crawl index, read as it lies on the web: which captures of a page there are, and where.

    collinfo.json ─> collections, each with its time
    cluster.idx   ─> first key of every block of 3,000 lines; fetched once, searched on disk
    cdx-00042.gz  ─> one block by its byte range; its lines are the captures

Decisions:
- Blocks by byte range, not the CDX API: the API answers one or two requests a second, for everyone
  together; the files lie where bulk traffic belongs. A block serves all links next to each other.
- Nothing that an index says is believed before it is checked: file names stay below the archive's
  address, lengths below the limits, and a capture counts for a link only if its address has the
  link's own key.

Source: https://commoncrawl.org/blog/announcing-the-common-crawl-index (the ZipNum format).
"""

import json
import mmap
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from pipeline.store.errors import ManifestError

BLOCK_BYTES = 64 << 20  # of a block without gzip; 3,000 lines have about 1.5 MB

NUMBER = re.compile(r"[0-9]{1,18}")  # Python refuses to read one of 5,000 digits
_NAME = re.compile(r"CC-MAIN-(\d{4})-(\d{2})")
_FILE = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w./+=-]*")


class Collection(NamedTuple):
    """One crawl of the archive; `begin` and `end` in seconds since 1970."""

    name: str
    begin: float
    end: float

    def distance_s(self, utc: float) -> float:
        """Returns how far every capture of the collection is from an instant, at least."""
        return max(self.begin - utc, utc - self.end, 0.0)


class Block(NamedTuple):
    """A stretch of a file: its name, where it begins, how long it is, bytes."""

    file: str
    offset: int
    length: int


class Capture(NamedTuple):
    """One capture of a page; `captured_utc` in seconds since 1970, `digest` SHA-1 in base 32."""

    url: str
    captured_utc: int
    status: str
    mimes: tuple[str, ...]
    digest: str
    place: Block


def parse_collections(body: bytes) -> list[Collection]:
    """Returns the collections of `collinfo.json`; those whose time is not known are left out.

    >>> parse_collections(b'[{"id": "CC-MAIN-2017-51", "from": "2017-12-10T23:20:28",'
    ...                   b' "to": "2017-12-18T22:53:41"}, {"id": "CC-MAIN-2009-2010"}]')
    [Collection(name='CC-MAIN-2017-51', begin=1512948028.0, end=1513637621.0)]

    Raises:
        ManifestError: If it is no such list.
    """
    try:
        told = [(str(each["id"]), each.get("from"), each.get("to")) for each in json.loads(body)]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ManifestError(
            f"the list of collections is none ({error}); look at its URL"
        ) from error
    found = []
    for name, begin, end in told:
        spans = _span(begin, end) or _span_of_week(name)
        if spans is not None and _FILE.fullmatch(name):
            found.append(Collection(name, *spans))
    return found


def _span(begin: object, end: object) -> tuple[float, float] | None:
    try:
        spans = [datetime.fromisoformat(str(x)).replace(tzinfo=UTC) for x in (begin, end)]
    except ValueError:
        return None
    return spans[0].timestamp(), spans[1].timestamp()


def _span_of_week(name: str) -> tuple[float, float] | None:
    """Returns the weeks before the one that a collection is named after, in which it was made."""
    found = _NAME.fullmatch(name)
    try:
        monday = date.fromisocalendar(int(found[1]), int(found[2]), 1) if found else None
    except ValueError:
        return None
    if monday is None:
        return None
    begin, end = monday - timedelta(days=21), monday + timedelta(days=7)
    instants = (datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp() for d in (begin, end))
    return next(instants), next(instants)


def by_distance(
    collections: list[Collection], utc: float, max_s: float, n_most: int
) -> list[Collection]:
    """Returns the collections that may hold a capture near an instant, the nearest first."""
    near = [c for c in collections if c.distance_s(utc) <= max_s]
    return sorted(near, key=lambda c: (c.distance_s(utc), c.name))[:n_most]


class Cluster:
    """A `cluster.idx` on disk: sorted lines, each the first key of a block."""

    def __init__(self, path: Path) -> None:
        """Maps the file.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it is empty.
        """
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def blocks(self, key: str) -> list[Block]:
        """Returns the blocks that may hold lines of a key, at most eight.

        The first is the one before the first line that is not below the key: the key's lines may
        begin in its midst.
        """
        wanted = key.encode() + b" "
        position = self._first_not_below(wanted)
        if position:
            position = self._data.rfind(b"\n", 0, position - 1) + 1
        found: list[Block] = []
        for line in _lines(self._data, position):
            if len(found) == 8 or (found and not line.startswith(wanted)):
                break
            if block := _block(line):
                found.append(block)
        return found

    def _first_not_below(self, key: bytes) -> int:
        """Returns where the first line begins that is not below a key."""
        low, high = 0, len(self._data)  # always at the beginning of a line, or the end
        while low < high:
            middle = self._data.rfind(b"\n", low, (low + high) // 2) + 1 or low
            after = self._data.find(b"\n", middle) + 1 or len(self._data)
            if self._data[middle:after] < key:
                low = after
            else:
                high = middle
        return low


def _lines(data: bytes | mmap.mmap, position: int) -> Iterator[bytes]:
    """Yields lines from one that begins there."""
    while position < len(data):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        yield data[position:end]
        position = end + 1


def _block(line: bytes) -> Block | None:
    fields = line.decode("utf-8", "replace").split("\t")
    if len(fields) < 4 or not _FILE.fullmatch(fields[1]):
        return None
    if not (NUMBER.fullmatch(fields[2]) and NUMBER.fullmatch(fields[3])):
        return None
    return Block(fields[1], int(fields[2]), int(fields[3]))


def inflate(data: bytes, max_bytes: int) -> bytes | None:
    """Returns what one gzip member holds, None if it is damaged or longer than allowed."""
    inflater = zlib.decompressobj(31)
    try:
        whole = inflater.decompress(data, max_bytes + 1)
    except zlib.error:
        return None
    return whole if inflater.eof and len(whole) <= max_bytes else None


def captures(block: bytes, key: str) -> list[Capture]:
    """Returns the captures of a key among the lines of a block.

    >>> line = b'org,a)/ 20171212000000 {"url": "http://a.org/", "status": "200", "mime": ""'
    >>> line += b', "digest": "X", "filename": "a.warc.gz", "offset": "7", "length": "9"}'
    >>> captures(line, "org,a)/")[0].place, captures(line, "org,a)/b")
    (Block(file='a.warc.gz', offset=7, length=9), [])
    """
    wanted = key.encode() + b" "
    begin = 0 if block.startswith(wanted) else block.find(b"\n" + wanted) + 1
    lines = takewhile(lambda line: line.startswith(wanted), _lines(block, begin))
    found = (_capture(line[len(wanted) :]) for line in lines)
    return [capture for capture in found if capture is not None]


def _capture(line: bytes) -> Capture | None:
    stamp, _, told = line.partition(b" ")
    try:
        fields = {name: str(value) for name, value in json.loads(told).items()}
        instant = datetime.strptime(stamp.decode()[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        place = Block(fields["filename"], int(fields["offset"]), int(fields["length"]))
        mimes = (fields.get("mime-detected", ""), fields.get("mime", ""))
        capture = Capture(
            url=fields["url"],
            captured_utc=int(instant.timestamp()),
            status=fields.get("status", ""),
            mimes=tuple(mime for mime in mimes if mime),
            digest=fields["digest"].removeprefix("sha1:"),
            place=place,
        )
    except (ValueError, KeyError, AttributeError):
        return None
    is_sane = _FILE.fullmatch(place.file) and place.offset >= 0 and place.length > 0
    return capture if is_sane else None

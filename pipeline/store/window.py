"""A view ahead into the decoded bytes of an archive, and a way back to a place seen before."""

import re
from typing import NamedTuple

from pipeline.store.members import Broken, Members

MAX_HEADER_BYTES = 256 << 10  # of one record

_PADDING = b"\r\n\0"
_PADDING_BYTES = 64


class Mark(NamedTuple):
    """A place: where the member begins in the file, and decoded bytes from its beginning."""

    member: int
    position: int


class Window:
    """Decoded bytes of the current member, with a view ahead.

    Attributes:
        members: The file; only a window moves in it.
        broken: Why the member has no more bytes than are in view, "" while it may.
    """

    def __init__(self, members: Members) -> None:
        """Looks at the first member.

        Args:
            members: The file.
        """
        self.members = members
        self._reset(0)

    def _reset(self, base: int) -> None:
        self._data, self._at, self._base = b"", 0, base
        self._is_whole = False  # the member's last byte is in view
        self.broken = ""

    @property
    def mark(self) -> Mark:
        """This place, to come back to."""
        return Mark(self.members.offset, self._base + self._at)

    @property
    def offset(self) -> int:
        """The place in the file, as precise as the packing allows."""
        return self.mark.position if self.members.is_plain else self.members.offset

    def view(self, n_bytes: int) -> bytes:
        """Returns the next bytes, at most that many; fewer only at the member's end."""
        while len(self._data) - self._at < n_bytes and not (self._is_whole or self.broken):
            self._extend()
        return self._data[self._at : self._at + n_bytes]

    def _extend(self) -> None:
        try:
            piece = self.members.read()
        except Broken as error:
            self.broken = str(error)
            return
        self._is_whole = not piece
        self._base += self._at
        self._data, self._at = self._data[self._at :] + piece, 0

    def take(self, n_bytes: int) -> bytes:
        """Returns what is in view and moves over it, at most that many bytes; none at the end."""
        if self._at == len(self._data):
            self.view(1)
        taken = self._data[self._at : self._at + n_bytes]
        self._at += len(taken)
        return taken

    def skip_padding(self) -> bool:
        """Moves over line ends and zeros; returns whether the member has more."""
        while view := self.view(_PADDING_BYTES):
            n_bytes = len(view) - len(view.lstrip(_PADDING))
            self._at += n_bytes
            if n_bytes < len(view):
                return True
        return False

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Returns the match of a header's pattern that begins here."""
        found = pattern.match(self._data, self._at)
        return found or pattern.match(self.view(MAX_HEADER_BYTES))

    def open_next(self) -> bool:
        """Goes to the next member; False at the end of the file, where it stays."""
        is_there = self.members.next()
        if is_there or not self.members.is_plain:
            self._reset(0)
        return is_there

    def jump(self, offset: int) -> None:
        """Goes to the beginning of a member."""
        self.members.begin(offset)
        self._reset(0)

    def rewind(self, mark: Mark) -> None:
        """Goes back to a place that was read before."""
        self.members.begin(mark.position if self.members.is_plain else mark.member)
        self._reset(mark.position if self.members.is_plain else 0)
        while (left := mark.position - self.mark.position) > 0 and self.take(left):
            pass

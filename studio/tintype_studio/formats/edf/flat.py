"""FlatBuffers tables, as far as Arrow files have them, read without trust: what lies outside is refused."""

from __future__ import annotations

import struct


class Damaged(Exception):
    """What is read is not what it says; the text completes "The Arrow file cannot be read: …"."""


class Flat:
    """A table: fields by number, each present or not."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        if not 0 <= at <= len(data) - 4:
            raise Damaged("its structure is damaged")
        (back,) = struct.unpack_from("<i", data, at)
        self._fields = at - back
        if not 0 <= self._fields <= len(data) - 4:
            raise Damaged("its structure is damaged")
        (self._size,) = struct.unpack_from("<H", data, self._fields)

    @classmethod
    def root(cls, data: bytes) -> Flat:
        """The table that a buffer begins with."""
        (at,) = struct.unpack_from("<I", data, 0)
        return cls(data, at)

    def _place(self, field: int) -> int:
        at = 4 + 2 * field
        if at + 2 > self._size:
            return 0
        (offset,) = struct.unpack_from("<H", self._data, self._fields + at)
        return self._at + offset if offset else 0

    def has(self, field: int) -> bool:
        """Whether a field is there."""
        return self._place(field) != 0

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """A whole number, ``kind`` as ``struct`` has it."""
        at = self._place(field)
        found: int = struct.unpack_from(f"<{kind}", self._data, at)[0] if at else default
        return found

    def table(self, field: int) -> Flat:
        """A table in this one; refused if it is not there."""
        at = self._place(field)
        if not at:
            raise Damaged("a part of its structure is missing")
        return Flat(self._data, self._behind(at))

    def text(self, field: int) -> str:
        """A text without zero characters, which Arrow's C interface cannot carry; empty if there is none."""
        at = self._place(field)
        if not at:
            return ""
        at = self._behind(at)
        (length,) = struct.unpack_from("<I", self._data, at)
        data = self._data[at + 4 : at + 4 + length]
        if len(data) < length or b"\0" in data:
            raise Damaged("a name in it is damaged")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise Damaged("a name in it is damaged") from None

    def tables(self, field: int) -> list[Flat]:
        """A list of tables."""
        at, count = self._vector(field)
        if count > (len(self._data) - at) // 4:
            raise Damaged("its structure is damaged")
        return [Flat(self._data, self._behind(at + 4 * n)) for n in range(count)]

    def structs(self, field: int, size: int) -> list[bytes]:
        """A list of structs of ``size`` bytes each."""
        at, count = self._vector(field)
        if at + count * size > len(self._data):
            raise Damaged("its structure is damaged")
        return [self._data[n : n + size] for n in range(at, at + count * size, size)]

    def _vector(self, field: int) -> tuple[int, int]:
        at = self._place(field)
        if not at:
            return 0, 0
        at = self._behind(at)
        return at + 4, struct.unpack_from("<I", self._data, at)[0]

    def _behind(self, at: int) -> int:
        found: int = at + struct.unpack_from("<I", self._data, at)[0]
        return found

"""What an Arrow file claims of its size, looked at before anything is made of it.

A reader takes memory for what a file says: a few bytes may say a billion rows, or buffers that unpack to a
terabyte. So the footer and the header of every batch are read here first, and whatever does not fit into the file
or into the limits is refused. The tables are FlatBuffers; only the fields that are needed are read.
"""

from __future__ import annotations

import struct
from typing import IO, NoReturn

from tintype_studio.errors import InvalidInput, TooLarge

MAX_ROWS = 50_000_000
MAX_BYTES = 4 << 30
"""Of a file, and of what its buffers unpack to."""

MAX_HEADER = 64 << 20
MAX_BATCHES = 100_000

MAGIC = b"ARROW1"
_COMPRESSED = 3  # field of a record batch


class _Bad(Exception):
    pass


def check_claims(file: IO[bytes], size: int, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> int:
    """How many rows an Arrow IPC file of ``size`` bytes holds. The position of ``file`` is moved.

    Raises:
        InvalidInput: it is no such file, is cut off, or claims what its bytes cannot hold (``broken_file``).
        TooLarge: more rows or bytes than are taken (``file_too_large``).
    """
    if size > max_bytes:
        raise _too_large(f"has {size / (1 << 30):.1f} GiB; {max_bytes >> 30} GiB is the most")
    try:
        return _checked(file, size, max_rows, max_bytes)
    except (_Bad, struct.error, IndexError, OverflowError) as error:
        _refuse(str(error) if isinstance(error, _Bad) else "its structure is damaged")


def _checked(file: IO[bytes], size: int, max_rows: int, max_bytes: int) -> int:
    file.seek(0)
    if size < 24 or file.read(6) != MAGIC:
        raise _Bad("it is no Arrow file (an .arrow file begins and ends with ARROW1)")
    file.seek(size - 10)
    length, end = struct.unpack("<i6s", file.read(10))
    if end != MAGIC:
        raise _Bad("it is cut off: its end is missing")
    if not 0 < length <= min(size - 18, MAX_HEADER):
        raise _Bad("its footer is damaged")
    file.seek(size - 10 - length)
    footer = _Table.root(file.read(length))
    rows = unpacked = 0
    for field, counts in ((2, False), (3, True)):
        blocks = footer.structs(field, 24)
        if len(blocks) > MAX_BATCHES:
            raise _Bad(f"it has {len(blocks):,} batches")
        for block in blocks:
            offset, head, body = struct.unpack("<qixxxxq", block)
            batch_rows, bytes_out = _batch(file, size, offset, head, body)
            rows += batch_rows if counts else 0
            unpacked += bytes_out
            if rows > max_rows:
                raise _too_large(f"claims {rows:,} rows or more; {max_rows:,} is the most")
            if unpacked > max_bytes:
                raise _too_large(f"unpacks to more than {max_bytes >> 30} GiB")
    return rows


def _batch(file: IO[bytes], size: int, offset: int, head: int, body: int) -> tuple[int, int]:
    """Rows of a batch, and the bytes that its buffers take in memory."""
    if not (0 < offset and 8 <= head <= MAX_HEADER and 0 <= body and offset + head + body <= size):
        raise _Bad("a batch lies outside the file")
    file.seek(offset)
    data = file.read(head)
    start = 8 if data[:4] == b"\xff\xff\xff\xff" else 4
    message = _Table.root(data[start:])
    batch = message.table(2)
    if message.byte(1) == 2:  # a dictionary wraps a batch
        batch = batch.table(1)
    elif message.byte(1) != 3:
        raise _Bad("a batch is none")
    rows = batch.long(0)
    if rows < 0:
        raise _Bad("a batch claims a negative number of rows")
    for node in batch.structs(1, 16):
        length, nulls = struct.unpack("<qq", node)
        # No value takes less than a bit, unless it is packed, and then the buffers below tell.
        if length < 0 or not 0 <= nulls <= length:
            raise _Bad("a column claims a negative number of values")
    packed, unpacked = batch.has(_COMPRESSED), 0
    for buffer in batch.structs(2, 16):
        at, length = struct.unpack("<qq", buffer)
        if at < 0 or length < 0 or at + length > body:
            raise _Bad("a column lies outside its batch")
        if packed and length:
            file.seek(offset + head + at)
            told = file.read(8) if length >= 8 else b""
            if len(told) < 8:
                raise _Bad("a packed column is cut off")
            (claim,) = struct.unpack("<q", told)
            if claim < -1:
                raise _Bad("a packed column claims a negative size")
            if claim >= 0 and not batch.table(_COMPRESSED).byte(0):
                _check_lz4(file, length - 8, claim)
            unpacked += max(claim, 0)
        else:
            unpacked += length
    return rows, unpacked


_LZ4 = b"\x04\x22\x4d\x18"
_SLACK = 8 << 20


def _check_lz4(file: IO[bytes], length: int, claim: int) -> None:
    """Look at the sizes of the blocks of a column: its reader unpacks them all, then compares with the claim."""
    end, most = file.tell() + length, 0
    while file.tell() < end:
        magic, flags, sizes = struct.unpack("<4sBB", file.read(6))
        if magic != _LZ4:
            raise _Bad("a packed column is damaged")
        file.seek(8 * (flags >> 3 & 1) + 4 * (flags & 1) + 1, 1)
        block = 1 << (8 + 2 * max(sizes >> 4 & 7, 4))
        while True:
            (told,) = struct.unpack("<I", file.read(4))
            if not told:
                break
            size = told & 0x7FFFFFFF
            most += size if told >> 31 else min(block, 255 * size)
            if most > 4 * claim + _SLACK or file.tell() + size > end:
                raise _Bad("a packed column holds more than it claims")
            file.seek(size + 4 * (flags >> 4 & 1), 1)
        file.seek(4 * (flags >> 2 & 1), 1)


class _Table:
    """A FlatBuffers table: fields by number, each present or not."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        if not 0 <= at <= len(data) - 4:
            raise _Bad("its structure is damaged")
        (back,) = struct.unpack_from("<i", data, at)
        self._fields = at - back
        if not 0 <= self._fields <= len(data) - 4:
            raise _Bad("its structure is damaged")
        (self._size,) = struct.unpack_from("<H", data, self._fields)

    @classmethod
    def root(cls, data: bytes) -> _Table:
        (at,) = struct.unpack_from("<I", data, 0)
        return cls(data, at)

    def _place(self, field: int) -> int:
        at = 4 + 2 * field
        if at + 2 > self._size:
            return 0
        (offset,) = struct.unpack_from("<H", self._data, self._fields + at)
        return self._at + offset if offset else 0

    def has(self, field: int) -> bool:
        return self._place(field) != 0

    def long(self, field: int) -> int:
        at = self._place(field)
        found: int = struct.unpack_from("<q", self._data, at)[0] if at else 0
        return found

    def byte(self, field: int) -> int:
        at = self._place(field)
        return self._data[at] if at else 0

    def table(self, field: int) -> _Table:
        at = self._place(field)
        if not at:
            raise _Bad("a batch has no content")
        return _Table(self._data, at + struct.unpack_from("<I", self._data, at)[0])

    def structs(self, field: int, size: int) -> list[bytes]:
        at = self._place(field)
        if not at:
            return []
        at += struct.unpack_from("<I", self._data, at)[0]
        (count,) = struct.unpack_from("<I", self._data, at)
        if at + 4 + count * size > len(self._data):
            raise _Bad("its structure is damaged")
        return [self._data[n : n + size] for n in range(at + 4, at + 4 + count * size, size)]


def _too_large(what: str) -> TooLarge:
    return TooLarge(
        f"The Arrow file {what}.", code="file_too_large", fix="Split the dataset into several files."
    )


def _refuse(why: str) -> NoReturn:
    raise InvalidInput(
        f"The Arrow file cannot be read: {why}.",
        code="broken_file",
        fix="Check that it was copied whole, or write it again.",
    )

"""What an Arrow file claims of its size, looked at before anything is made of it.

A reader takes memory for what a file says: a few bytes may say a billion rows, or buffers that unpack to a
terabyte. So the footer and the header of every batch are read here first, and whatever does not fit into the
file, the schema or the limits is refused.
"""

from __future__ import annotations

import struct
from typing import IO, NoReturn

from tintype_studio.errors import InvalidInput, TooLarge
from tintype_studio.formats.edf.flat import Damaged, Flat
from tintype_studio.formats.edf.shapes_of_columns import Columns, check_buffers, columns_of

MAX_ROWS = 50_000_000
MAX_BYTES = 4 << 30
"""Of a file, and of what its buffers unpack to."""

MAX_HEADER = 64 << 20
MAX_BATCHES = 100_000

MAGIC = b"ARROW1"
_COMPRESSED = 3  # field of a record batch


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
    except (Damaged, struct.error, IndexError, OverflowError, RecursionError) as error:
        _refuse(str(error) if isinstance(error, Damaged) else "its structure is damaged")


def _checked(file: IO[bytes], size: int, max_rows: int, max_bytes: int) -> int:
    file.seek(0)
    if size < 24 or file.read(6) != MAGIC:
        raise Damaged("it is no Arrow file (an .arrow file begins and ends with ARROW1)")
    file.seek(size - 10)
    length, end = struct.unpack("<i6s", file.read(10))
    if end != MAGIC:
        raise Damaged("it is cut off: its end is missing")
    if not 0 < length <= min(size - 18, MAX_HEADER):
        raise Damaged("its footer is damaged")
    file.seek(size - 10 - length)
    footer = Flat.root(file.read(length))
    columns = columns_of(footer.table(1))
    rows = unpacked = 0
    for field in (2, 3):
        blocks = footer.structs(field, 24)
        if len(blocks) > MAX_BATCHES:
            raise Damaged(f"it has {len(blocks):,} batches")
        for block in blocks:
            offset, head, body = struct.unpack("<qixxxxq", block)
            batch = _Batch(file, size, offset, head, body, columns, dictionary=field == 2)
            rows += batch.rows if field == 3 else 0
            if max(rows, batch.rows) > max_rows:
                raise _too_large(f"claims {max(rows, batch.rows):,} rows; {max_rows:,} is the most")
            unpacked += sum(batch.sizes)
            if unpacked > max_bytes:
                raise _too_large(f"unpacks to more than {max_bytes >> 30} GiB")
            batch.check()
    return rows


class _Batch:
    """The header of a batch, or of a dictionary: ``rows``, and the ``sizes`` of its buffers in memory."""

    def __init__(
        self,
        file: IO[bytes],
        size: int,
        offset: int,
        head: int,
        body: int,
        columns: Columns,
        *,
        dictionary: bool,
    ) -> None:
        if not (offset > 0 and 8 <= head <= MAX_HEADER and body >= 0 and offset + head + body <= size):
            raise Damaged("a batch lies outside the file")
        file.seek(offset)
        data = file.read(head)
        message = Flat.root(data[8 if data[:4] == b"\xff\xff\xff\xff" else 4 :])
        if message.number(1, "B") != (2 if dictionary else 3):
            raise Damaged("a batch is none")
        batch = message.table(2)
        self._layouts = columns.layouts
        if dictionary:
            layout = columns.dictionaries.get(batch.number(0, "q"))
            if layout is None:
                raise Damaged("it has a dictionary that no column has")
            self._layouts, batch = (layout,), batch.table(1)
        self.rows = batch.number(0, "q")
        if self.rows < 0:
            raise Damaged("a batch claims a negative number of rows")
        self._nodes = [struct.unpack("<qq", node) for node in batch.structs(1, 16)]
        self._more = [struct.unpack("<q", count)[0] for count in batch.structs(4, 8)]
        codec = batch.table(_COMPRESSED).number(0, "b") if batch.has(_COMPRESSED) else None
        self.sizes = [
            _size(file, offset + head, body, struct.unpack("<qq", buffer), codec)
            for buffer in batch.structs(2, 16)
        ]

    def check(self) -> None:
        """Compare it with the columns of the schema."""
        check_buffers(self._layouts, self.rows, self._nodes, self.sizes, self._more)


def _size(file: IO[bytes], start: int, body: int, buffer: tuple[int, int], codec: int | None) -> int:
    """The bytes that a buffer takes in memory; ``buffer`` is its place in the body and its length."""
    at, length = buffer
    if at < 0 or length < 0 or at + length > body or at % 8:
        raise Damaged("a column lies outside its batch")
    if codec is None or not length:
        return length
    file.seek(start + at)
    told = file.read(8) if length >= 8 else b""
    if len(told) < 8:
        raise Damaged("a packed column is cut off")
    (claim,) = struct.unpack("<q", told)
    if claim < -1:
        raise Damaged("a packed column claims a negative size")
    if claim < 0:
        return length - 8
    if codec == 0:
        _check_lz4(file, length - 8, claim)
    return int(claim)


_LZ4 = b"\x04\x22\x4d\x18"
_SLACK = 8 << 20


def _check_lz4(file: IO[bytes], length: int, claim: int) -> None:
    """Look at the sizes of a column's blocks: its reader unpacks them all, then compares with the claim."""
    end, most = file.tell() + length, 0
    while file.tell() < end:
        magic, flags, sizes = struct.unpack("<4sBB", file.read(6))
        if magic != _LZ4:
            raise Damaged("a packed column is damaged")
        file.seek(8 * (flags >> 3 & 1) + 4 * (flags & 1) + 1, 1)
        block = 1 << (8 + 2 * max(sizes >> 4 & 7, 4))
        while True:
            (told,) = struct.unpack("<I", file.read(4))
            if not told:
                break
            size = told & 0x7FFFFFFF
            most += size if told >> 31 else min(block, 255 * size)
            if most > 4 * claim + _SLACK or file.tell() + size > end:
                raise Damaged("a packed column holds more than it claims")
            file.seek(size + 4 * (flags >> 4 & 1), 1)
        file.seek(4 * (flags >> 2 & 1), 1)


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

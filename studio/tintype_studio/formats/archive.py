"""The ZIP that an export becomes, and what waits for its place in it.

``zipfile`` writes a member through a stream: for a label file that takes several times what its bytes do,
and a large one is deflated only when its time has come. Here a small member is deflated and written at
once, and what gathers for a large one is deflated as it comes, beside the thread that makes it. The
directory is ``zipfile``'s.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import IO, Any

from tintype_studio.errors import Conflict

try:
    # A third of the time of zlib at its fastest, for fewer bytes.
    from isal import isal_zlib as zlib
except ImportError:  # there is none for every machine
    import zlib  # type: ignore[no-redef]

DEFLATE_LEVEL = 1
"""Digits compress badly: zlib's level 6 takes five times as long to make a COCO file a tenth smaller."""

SPOOL_IN_MEMORY = 1 << 19
"""Bytes that a spool holds before it moves to disk."""

COPY_CHUNK = 1 << 18
PIECE = 1 << 18
"""Bytes that are deflated together; the thread gets its turn only every few milliseconds."""

MOST_PIECES = 2
"""That wait to be deflated."""

_LAST_BLOCK = b"\x03\x00"
"""The empty block that ends a deflated stream."""


class Archive:
    """Writes members with a fixed time, fixed permissions and one name each."""

    def __init__(self, zip_file: zipfile.ZipFile, created_at: datetime) -> None:
        moment = created_at.replace(tzinfo=UTC) if created_at.tzinfo is None else created_at.astimezone(UTC)
        # A ZIP can hold the years 1980 to 2107 only.
        moment = min(max(moment, datetime(1980, 1, 1, tzinfo=UTC)), datetime(2107, 12, 31, tzinfo=UTC))
        self.created_at = moment
        self._date_time = moment.timetuple()[:6]
        self._zip = zip_file

    def __contains__(self, path: str) -> bool:
        return path in self._zip.NameToInfo

    def write(self, path: str, data: bytes, *, deflate: bool = True) -> None:
        """Add the member ``path``.

        Raises:
            Conflict: the ZIP has a member of this name.
        """
        packed = deflated(data) if deflate else data
        self._member(path, len(data), zlib.crc32(data), [packed], len(packed), deflate=deflate)

    def write_chunks(self, path: str, parts: Sequence[bytes | PackedSpool]) -> None:
        """Add the text member ``path``, made of ``parts`` one after the other. Raises as :meth:`write`."""
        size = crc = packed_size = 0
        chunks: list[bytes | PackedSpool] = []
        for part in parts:
            if isinstance(part, PackedSpool):
                part.seal()
                size, crc = size + len(part), joined_crc(crc, part.crc, len(part))
                chunks.append(part)
                packed_size += part.packed_size
            else:
                size, crc = size + len(part), zlib.crc32(part, crc)
                chunks.append(_open_ended(part))
                packed_size += len(chunks[-1])
        pieces = (
            piece
            for chunk in (*chunks, _LAST_BLOCK)
            for piece in ((chunk,) if isinstance(chunk, bytes) else chunk.packed())
        )
        self._member(path, size, crc, pieces, packed_size + len(_LAST_BLOCK), deflate=True)

    def _member(
        self, path: str, size: int, crc: int, pieces: Any, packed_size: int, *, deflate: bool
    ) -> None:
        """Write a member whose bytes are known, in the way of ``ZipFile.mkdir``."""
        if path in self:
            raise Conflict(
                f"Two images of this export would be written to {path}.",
                fix="Rename one of them, or export them apart.",
            )
        archive: Any = self._zip
        info = zipfile.ZipInfo(path, self._date_time)
        info.create_system = 3  # else it depends on the machine
        info.external_attr = 0o100644 << 16
        info.compress_type = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
        info.file_size, info.CRC, info.compress_size = size, crc, packed_size
        info.header_offset = archive.start_dir
        header = info.FileHeader()
        # To seek is to write out what the file has gathered.
        if archive._seekable and archive.fp.tell() != archive.start_dir:
            archive.fp.seek(archive.start_dir)
        archive._didModify = True
        archive.fp.write(header)
        for piece in pieces:
            archive.fp.write(piece)
        archive.start_dir += len(header) + packed_size
        archive.filelist.append(info)
        archive.NameToInfo[path] = info


class Spool:
    """Bytes set aside until their place comes: in memory while few, on disk beyond that."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=SPOOL_IN_MEMORY)  # noqa: SIM115 - closed by close()

    def append(self, record: bytes) -> None:
        """Add ``record``."""
        self._file.write(record)

    def reopened(self) -> IO[bytes]:
        """Everything, from its beginning; nothing is added after this."""
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Free the memory or the temporary file."""
        self._file.close()


class PackedSpool:
    """Text set aside for a member, deflated as it comes; by a thread of its own once it is long."""

    def __init__(self, separator: bytes = b"") -> None:
        self.crc = 0
        self.packed_size = 0
        self._file = tempfile.SpooledTemporaryFile(max_size=SPOOL_IN_MEMORY)  # noqa: SIM115 - closed by close()
        self._separator = separator
        self._length = 0
        self._waiting = bytearray()  # not a list: short texts of orjson hold on to 4 KiB each
        self._packer = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._thread: ThreadPoolExecutor | None = None
        self._pieces: deque[Future[None]] = deque()
        self._sealed = False

    def __len__(self) -> int:
        return self._length

    def append(self, record: bytes) -> None:
        """Add ``record``, after a separator unless it is the first."""
        if self._separator and self._length:
            self._waiting += self._separator
            self._length += len(self._separator)
        self._waiting += record
        self._length += len(record)
        if len(self._waiting) >= PIECE:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="deflate")
            self._pieces.append(self._thread.submit(self._pack, self._taken()))
            if len(self._pieces) > MOST_PIECES:
                self._pieces.popleft().result()

    def _taken(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        self.crc = zlib.crc32(data, self.crc)
        return data

    def _pack(self, data: bytes) -> None:
        self._write(self._packer.compress(data))

    def _write(self, packed: bytes) -> None:
        self._file.write(packed)
        self.packed_size += len(packed)

    def seal(self) -> None:
        """Deflate what is left; nothing is added after this."""
        if not self._sealed:
            while self._pieces:
                self._pieces.popleft().result()
            self._pack(self._taken())
            self._write(self._packer.flush(zlib.Z_FULL_FLUSH))
            self._sealed = True

    def packed(self) -> Iterator[bytes]:
        """The deflated bytes, in pieces, without the block that ends a stream."""
        self.seal()
        self._file.seek(0)
        while chunk := self._file.read(COPY_CHUNK):
            yield chunk

    def lines(self) -> Iterator[bytes]:
        """The text again, by lines (their ends included)."""
        opener, rest = zlib.decompressobj(-zlib.MAX_WBITS), b""
        for chunk in self.packed():
            *whole, rest = (rest + opener.decompress(chunk)).split(b"\n")
            for line in whole:
                yield line + b"\n"
        if rest:
            yield rest

    def close(self) -> None:
        """Free the memory or the temporary file; also the way to give up half-way."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._file.close()


def deflated(data: bytes) -> bytes:
    """A member's bytes, with a window no larger than they are: to set up the usual one takes longer than to
    deflate a label file, the more so where the heap is given back to the system each time.
    """
    size = len(data)
    bits = 12 if size <= 1 << 12 else 13 if size <= 1 << 13 else 14 if size <= 1 << 14 else 15
    if bits == 12:  # a single call, in half the time
        return zlib.compress(data, DEFLATE_LEVEL, -bits)
    packer = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -bits, bits - 7)
    return packer.compress(data) + packer.flush()


def _open_ended(data: bytes) -> bytes:
    packer = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


# --- CRC-32 of two texts one after the other, from theirs -------------------------------------------------
#
# A CRC is a polynomial over GF(2) modulo the fixed one, its bits from the highest power down. To append n
# bytes is to multiply by x^8n.

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31


def _product(a: int, b: int) -> int:
    out = 0
    while a:
        if a & _ONE:
            out ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ (_POLYNOMIAL if b & 1 else 0)
    return out


def joined_crc(first: int, second: int, second_size: int) -> int:
    """``crc32(a + b)`` from ``crc32(a)``, ``crc32(b)`` and the size of ``b`` in bytes."""
    power, factor, exponent = _ONE >> 1, _ONE, 8 * second_size
    while exponent:
        if exponent & 1:
            factor = _product(power, factor)
        power = _product(power, power)
        exponent >>= 1
    return _product(factor, first) ^ second

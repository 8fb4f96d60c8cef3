"""The state of a dataset as a file: compact, the same bytes for the same state, readable in parts.

Samples stand in blocks of ``SPAN`` row ids. Where a block begins depends on nothing but the ids, so two
states that differ in one sample differ in one block, and whoever compares them skips the others unread. A
block holds columns, not rows: they compress to a fraction, and parse fast.

    b"TTV1"  blocks  head  index  length of the index (8 bytes, big-endian)

Blocks, head and index are JSON under zlib. The file names revisions of annotations and files; it holds
neither, so a version costs some tens of bytes per sample, and what was purged since is gone from it, too.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import orjson

from tintype_studio.errors import Unavailable

MAGIC = b"TTV1"
SPAN = 2048
"""Row ids in one block."""
KEPT_BLOCKS = 4
"""Blocks that a reader keeps parsed."""
_LEVEL = 3
_LENGTH = 8

Read = Callable[[int, int], bytes]
"""``length`` bytes from ``start`` on."""


class SampleRow(NamedTuple):
    """A sample as the file keeps it; sequences by row id, the rest as in the database.

    Its size is not in it: that is a fact about the picture, and every revision of the annotations is in its
    units, whenever it was learned.
    """

    id: int
    uuid: str
    filename: str
    display_name: str | None
    folder: str
    status: str
    split: str | None
    annotation_count: int
    sequence_id: int | None
    frame_number: int | None
    meta: dict[str, Any] | None
    files: list[list[Any]]
    """``[type, sha256, size, mime_type, filename]`` of each, by type."""
    revisions: list[list[int]]
    """``[row of the annotation set, row of the revision]`` of each set that has one, by set."""


FIELDS = SampleRow._fields


@dataclass(frozen=True, slots=True)
class BlockRef:
    """Where a block lies, and what tells it from another."""

    number: int
    start: int
    length: int
    digest: str
    samples: int


class Writer:
    """Writes a file front to back, holding one block."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._place = file.write(MAGIC)
        self._index: list[list[Any]] = []
        self._number = -1
        self._rows: list[SampleRow] = []

    def add(self, row: SampleRow) -> None:
        """Samples come in the order of their ids."""
        number = row.id // SPAN
        if number != self._number:
            self._flush()
            self._number = number
        self._rows.append(row)

    def finish(self, head: dict[str, Any]) -> None:
        """Write what is left, the head and the index."""
        self._flush()
        start, length = self._put(_packed(head))
        index = _packed({"blocks": self._index, "head": [start, length]})
        self._put(index)
        self._file.write(len(index).to_bytes(_LENGTH, "big"))

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = dict(zip(FIELDS, zip(*self._rows, strict=True), strict=True))
        data = _packed(columns)
        start, length = self._put(data)
        digest = hashlib.blake2b(data, digest_size=12).hexdigest()
        self._index.append([self._number, start, length, digest, len(self._rows)])
        self._rows = []

    def _put(self, data: bytes) -> tuple[int, int]:
        start = self._place
        self._place += self._file.write(data)
        return start, len(data)


class Manifest:
    """Reads such a file, a block at a time. For one thread."""

    def __init__(self, read: Read, size: int) -> None:
        """Read the index and the head."""
        self._read = read
        length = int.from_bytes(read(size - _LENGTH, _LENGTH), "big")
        if not 0 < length < size or read(0, len(MAGIC)) != MAGIC:
            raise damaged()
        index = _unpacked(read(size - _LENGTH - length, length))
        self.blocks = [BlockRef(*each) for each in index["blocks"]]
        self.head: dict[str, Any] = _unpacked(read(*index["head"]))
        self._kept: OrderedDict[int, list[SampleRow]] = OrderedDict()

    @property
    def samples(self) -> int:
        """How many there are."""
        return sum(block.samples for block in self.blocks)

    def rows(self, place: int) -> Sequence[SampleRow]:
        """The samples of the block at a place of ``blocks``."""
        rows = self._kept.get(place)
        if rows is None:
            columns = self.columns(place)
            rows = [SampleRow(*values) for values in zip(*(columns[f] for f in FIELDS), strict=True)]
            self._kept[place] = rows
            while len(self._kept) > KEPT_BLOCKS:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(place)
        return rows

    def columns(self, place: int) -> dict[str, list[Any]]:
        """The same by column: quicker, where few are wanted."""
        ref = self.blocks[place]
        columns: dict[str, list[Any]] = _unpacked(self._read(ref.start, ref.length))
        return columns

    def all_rows(self) -> Iterator[SampleRow]:
        """Every sample, by id."""
        for place in range(len(self.blocks)):
            yield from self.rows(place)


def reader_of(file: BinaryIO) -> Manifest:
    """Read an open, seekable file."""

    def read(start: int, length: int) -> bytes:
        file.seek(start)
        return file.read(length)

    return Manifest(read, file.seek(0, 2))


def damaged() -> Unavailable:
    """The refusal of a file that is not what was written."""
    return Unavailable(
        "The stored state of this version is damaged.",
        code="version_damaged",
        fix="Restore the blob store from a backup, or use another version.",
        retryable=False,
    )


def _packed(value: dict[str, Any]) -> bytes:
    return zlib.compress(orjson.dumps(value), _LEVEL)


def _unpacked(data: bytes) -> Any:
    try:
        return orjson.loads(zlib.decompress(data))
    except (zlib.error, orjson.JSONDecodeError):
        raise damaged() from None

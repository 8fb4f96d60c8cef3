"""What every export writer shares: the items it takes, the ZIP it fills, the summary it gives.

A writer is used once: ``with writer_class(zip, …) as writer``, ``add`` for each image in the order wanted,
``finish`` once. It streams: what must come last in the ZIP waits in a temporary file, so memory holds one
image at a time plus what :class:`zipfile.ZipFile` itself keeps for each member (under 1 kB).

Output is deterministic: the same items, classes and ``created_at`` give the same bytes. Every member
carries ``created_at`` (UTC) as its time; images are stored as they are, text is deflated.
"""

from __future__ import annotations

import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, ClassVar, Self

import orjson

from tintype_studio.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Annotation

SPLITS = ("train", "val", "test")
SPOOL_IN_MEMORY = 1 << 20
"""Bytes that a spool holds before it moves to disk."""

COPY_CHUNK = 1 << 18
DEFLATE_LEVEL = 1
"""Digits compress badly: level 6 takes five times as long to make a COCO file a tenth smaller."""

MAX_MEMBER_PATH = 65_535
"""Bytes; the ZIP format has two bytes for the length of a name."""


@dataclass(frozen=True, slots=True)
class ExportClass:
    """A class of the dataset; ``color`` (such as ``#ff8800``) and ``type`` are passed on where they fit."""

    name: str
    color: str | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True)
class ExportItem:
    """One image with its annotations.

    ``folder`` is ``/`` or ``/stop/left``; ``width`` and ``height`` are pixels of the upright image;
    ``split`` is ``train``, ``val``, ``test`` or None. ``image`` gives the file's bytes, or is None when
    images are left out of the export.
    """

    image_id: str
    filename: str
    folder: str
    width: int
    height: int
    status: str
    split: str | None
    annotations: Sequence[Annotation]
    image: Callable[[], bytes] | None = None


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was written. ``notes`` says, in sentences, what the format could not hold and what was changed."""

    images: int
    annotations: int
    left_out: int = 0
    notes: list[str] = field(default_factory=list)


def to_json(value: Any) -> bytes:
    """UTF-8 JSON, compact."""
    return orjson.dumps(value)


def counted(number: int, one: str, many: str) -> str:
    """``1 box was`` or ``1,200 boxes were``."""
    return f"{number:,} {one if number == 1 else many}"


def folder_segments(folder: str) -> list[str]:
    """``/stop/left`` as ``["stop", "left"]``; the root is an empty list."""
    return [segment for segment in folder.split("/") if segment]


def member_path(root: str, segments: Sequence[str], filename: str) -> str:
    """``root/segment/…/filename``, safe to unpack: relative, with nothing that can step out of ``root``.

    Raises:
        InvalidInput: a segment is empty, ``.`` or ``..``, or holds a separator, a control character or
            text that is not valid Unicode; or the whole is too long for a ZIP.
    """
    for segment in (*segments, filename):
        if segment in {"", ".", ".."} or any(c in "/\\\x7f" or c < " " for c in segment):
            raise InvalidInput(
                f"The name {segment!r} cannot stand in a ZIP path.",
                fix="Rename the image or its folder: no separators, control characters, '.' or '..'.",
            )
    path = "/".join((root, *segments, filename))
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"The name {path!r} is not valid Unicode.", fix="Rename the image.") from None
    if length > MAX_MEMBER_PATH:
        raise InvalidInput(
            f"A path of {length:,} bytes is over the {MAX_MEMBER_PATH:,} bytes that a ZIP can hold.",
            fix="Shorten the names of the folders.",
        )
    return path


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
        try:
            self._zip.getinfo(path)
        except KeyError:
            return False
        return True

    def open(self, path: str, size: int, *, deflate: bool = True) -> IO[bytes]:
        """A stream into the new member ``path``; ``size`` (bytes) decides whether ZIP64 is needed.

        Raises:
            Conflict: the ZIP has a member of this name.
        """
        if path in self:
            raise Conflict(
                f"Two images of this export would be written to {path}.",
                fix="Rename one of them, or export them apart.",
            )
        info = zipfile.ZipInfo(path, self._date_time)
        info.file_size = size
        info.create_system = 3  # else it depends on the machine
        info.external_attr = 0o100644 << 16
        info.compress_type = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
        # Public only since Python 3.13, which keeps the old name working too.
        setattr(
            info, "compress_level" if hasattr(info, "compress_level") else "_compresslevel", DEFLATE_LEVEL
        )
        return self._zip.open(info, "w")

    def write(self, path: str, data: bytes, *, deflate: bool = True) -> None:
        """Add the member ``path``. Raises as :meth:`open`."""
        with self.open(path, len(data), deflate=deflate) as out:
            out.write(data)

    def write_chunks(self, path: str, parts: Sequence[bytes | Spool]) -> None:
        """Add the text member ``path``, made of ``parts`` one after the other. Raises as :meth:`open`."""
        with self.open(path, sum(len(part) for part in parts)) as out:
            for part in parts:
                for chunk in (part,) if isinstance(part, bytes) else part.chunks():
                    out.write(chunk)


class Spool:
    """Bytes set aside until their place in the ZIP comes: in memory while few, on disk beyond that."""

    def __init__(self, separator: bytes = b"") -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=SPOOL_IN_MEMORY)  # noqa: SIM115 - closed by close()
        self._separator = separator
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, record: bytes) -> None:
        """Add ``record``, after a separator unless it is the first."""
        data = self._separator + record if self._length else record
        self._file.write(data)
        self._length += len(data)

    def chunks(self) -> Iterator[bytes]:
        """Everything, in pieces."""
        self._file.seek(0)
        while chunk := self._file.read(COPY_CHUNK):
            yield chunk

    def lines(self) -> Iterator[bytes]:
        """Everything, by lines (their ends included)."""
        self._file.seek(0)
        yield from self._file

    def close(self) -> None:
        """Free the memory or the temporary file."""
        self._file.close()


class ExportWriter(ABC):
    """Fills a ZIP with a dataset in one format. One use: ``add`` many times, ``finish`` once.

    Args of the constructor: an open, writable ZIP (which the caller closes), the dataset's name, its
    classes in their order, and the time to stamp on everything (a naive one is taken as UTC).

    Raises:
        InvalidInput: two classes have the same name, or a name is not valid Unicode.
    """

    format: ClassVar[str]

    def __init__(
        self,
        zip: zipfile.ZipFile,
        *,
        dataset_name: str,
        classes: Sequence[ExportClass],
        created_at: datetime,
    ) -> None:
        self.archive = Archive(zip, created_at)
        self.dataset_name = dataset_name
        self.classes = tuple(classes)
        self.class_index = {c.name: index for index, c in enumerate(self.classes)}
        """Class name to its 0-based position."""
        self.counts: Counter[str] = Counter()
        """How often each thing happened that :meth:`_notes` reports."""
        self.images = 0
        self.written = 0
        self.left_out = 0
        self._spools: list[Spool] = []
        self._closed = False
        if len(self.class_index) != len(self.classes):
            twice = next(name for name, n in Counter(c.name for c in self.classes).items() if n > 1)
            raise InvalidInput(f"The class {twice!r} is listed twice.", fix="Merge or rename one of the two.")
        for name in (dataset_name, *self.class_index):
            try:
                name.encode()
            except UnicodeEncodeError:
                raise InvalidInput(f"The name {name!r} is not valid Unicode.", fix="Rename it.") from None

    def add(self, item: ExportItem) -> None:
        """Write one image and its annotations.

        Raises:
            InvalidInput: an annotation's class is not in the list, the size or split makes no sense, or a
                name cannot stand in a ZIP path. Nothing of the item has been written then.
            Conflict: the ZIP has a member of that name, so two images would be one file.
        """
        if self._closed:
            raise RuntimeError("this writer has finished")
        for annotation in item.annotations:
            if annotation.name not in self.class_index:
                raise InvalidInput(
                    f"Annotation {annotation.id!r} of {item.filename!r} has the class {annotation.name!r}, "
                    "which is not a class of this export.",
                    fix="Add the class to the dataset, rename it in the annotation, or filter it out.",
                    details={"class": annotation.name, "image_id": item.image_id},
                )
        if item.width < 1 or item.height < 1:
            raise InvalidInput(
                f"{item.filename!r} has a size of {item.width} x {item.height} pixels.",
                fix="Upload the image again so that its size is read.",
            )
        if item.split is not None and item.split not in SPLITS:
            raise InvalidInput(
                f"{item.filename!r} has the split {item.split!r}; splits are train, val and test.",
                fix="Set the image's group to train, val, test or none.",
            )
        self._add(item)
        self.images += 1

    def finish(self) -> ExportSummary:
        """Write what had to wait and say what the ZIP holds. The ZIP stays open."""
        if self._closed:
            raise RuntimeError("this writer has finished")
        self._finish()
        summary = ExportSummary(self.images, self.written, self.left_out, self._notes())
        self.close()
        return summary

    def close(self) -> None:
        """Free the temporary files; also the way to give up half-way. May be called twice."""
        self._closed = True
        for spool in self._spools:
            spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def spool(self, separator: bytes = b"") -> Spool:
        """A new :class:`Spool`, closed with this writer."""
        spool = Spool(separator)
        self._spools.append(spool)
        return spool

    def store_image(self, item: ExportItem, path: str) -> None:
        """Put the image's file at ``path``, undeflated; nothing when images are left out."""
        if item.image is not None:
            self.archive.write(path, item.image(), deflate=False)

    @abstractmethod
    def _add(self, item: ExportItem) -> None:
        """Write one checked item and keep the counts."""

    @abstractmethod
    def _finish(self) -> None:
        """Write what comes last."""

    def _notes(self) -> list[str]:
        """What the format could not hold, in sentences."""
        return []

"""A ZIP as the source of a dataset.

It is judged as a whole before anything of it is read: names that step out of it, links, names that occur
twice, archives inside it, members that overlap, encryption, and sizes that only a bomb has are all refused.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from tintype_studio.errors import InvalidInput, TooLarge
from tintype_studio.formats.reading.source import (
    MAX_FILES,
    MAX_MEMBER_BYTES,
    READ,
    Source,
    not_there,
    too_large,
    too_many,
    unreadable,
    without_junk,
)
from tintype_studio.names import printable

MAX_TOTAL_BYTES = 200 << 30
MAX_DIRECTORY_BYTES = 256 << 20
"""Of a ZIP's table of contents, which is held in memory."""
MAX_RATIO = 200
"""Inflated size to size in the ZIP, for members over ``SMALL`` bytes. Label files reach about 30."""
MAX_TOTAL_RATIO = 100
SMALL = 1 << 20

ARCHIVES = frozenset(
    {".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".lzma", ".7z", ".rar", ".jar"}
)
_DRIVE = re.compile(r"^[A-Za-z]:")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")


class ZipSource(Source):
    """A ZIP on the local disk."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            descriptor = os.open(path, READ)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR}:
                raise not_there(path) from None
            raise unreadable(path.name) from None
        self._file = os.fdopen(descriptor, "rb")
        try:
            self._size = os.fstat(descriptor).st_size
            self._members = self._judged(path.name)
        except BaseException:
            self.close()
            raise
        self.paths = without_junk(self._members)

    def _judged(self, name: str) -> dict[str, zipfile.ZipInfo]:
        if _directory_size(self._file) > MAX_DIRECTORY_BYTES:
            raise too_many(name)
        try:
            self._zip = zipfile.ZipFile(self._file)
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, OSError, EOFError):
            raise InvalidInput(
                f"{printable(name)[:200]!r} is no whole ZIP file.",
                code="broken_archive",
                fix="Download or make the ZIP again.",
            ) from None
        infos = self._zip.infolist()
        if len(infos) > MAX_FILES:
            raise too_many(name)
        self._judge_sizes(infos)
        members: dict[str, zipfile.ZipInfo] = {}
        seen: set[str] = set()
        for info in infos:
            self._judge(info)
            composed = unicodedata.normalize("NFC", info.filename)
            if composed in seen:
                raise _unsafe(info, "occurs twice")
            seen.add(composed)
            if not info.is_dir():
                members[info.filename] = info
        return members

    def _judge(self, info: zipfile.ZipInfo) -> None:
        name = info.orig_filename
        segments = name.removesuffix("/").split("/")
        if "\0" in name or "\\" in name or _DRIVE.match(name) or name != info.filename:
            raise _unsafe(info, "has a name that is no path inside the archive")
        if any(segment in {"", ".", ".."} for segment in segments):
            raise _unsafe(info, "has a name that leads out of the archive")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise _unsafe(info, "is a link or a special file")
        if info.flag_bits & 0x1:
            raise _unsafe(info, "is encrypted")
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise _unsafe(info, "is packed by a method other than deflate")
        if Path(segments[-1]).suffix.lower() in ARCHIVES and not info.is_dir():
            raise _unsafe(info, "is an archive in the archive")

    def _judge_sizes(self, infos: list[zipfile.ZipInfo]) -> None:
        total, last, end = 0, None, 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.file_size > MAX_MEMBER_BYTES:
                raise too_large(info.filename, MAX_MEMBER_BYTES)
            if info.file_size > SMALL and info.file_size > MAX_RATIO * max(info.compress_size, 1):
                raise _unsafe(info, f"inflates to more than {MAX_RATIO} times its size")
            if last is not None and info.header_offset < end:
                raise _unsafe(info, "overlaps another one")
            total += info.file_size
            last, end = info, info.header_offset + 30 + info.compress_size
        if total > MAX_TOTAL_BYTES or total > MAX_TOTAL_RATIO * self._size + (SMALL << 4):
            raise TooLarge(
                f"The ZIP inflates to {total >> 20:,} MiB.",
                code="unsafe_archive",
                fix=f"At most {MAX_TOTAL_BYTES >> 30} GiB and {MAX_TOTAL_RATIO} times the size of the ZIP.",
            )

    def size(self, path: str) -> int:
        return self._members[path].file_size

    def open(self, path: str) -> IO[bytes]:
        try:
            return self._zip.open(self._members[path])
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError):
            raise unreadable(path) from None

    def close(self) -> None:
        with suppress(AttributeError):
            self._zip.close()
        self._file.close()


def _directory_size(file: IO[bytes]) -> int:
    """Bytes of the table of contents by the record at the end, in all its forms; 0 when there is none."""
    end = file.seek(0, io.SEEK_END)
    start = max(0, end - _END.size - (1 << 16))
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        return 0
    size: int = _END.unpack_from(tail, at)[5]
    if size == 0xFFFFFFFF:
        big = tail.rfind(b"PK\6\6", 0, at)
        if big >= 0 and big + _END64.size <= len(tail):
            size = _END64.unpack_from(tail, big)[8]
    return size


def _unsafe(info: zipfile.ZipInfo, why: str) -> InvalidInput:
    return InvalidInput(
        f"The ZIP is refused: its member {printable(info.orig_filename)[:200]!r} {why}.",
        code="unsafe_archive",
        fix="Make the ZIP again from plain files, or unpack it yourself and import the folder.",
    )

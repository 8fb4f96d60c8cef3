"""Where a dataset is read from: a folder or a ZIP, neither of which is trusted.

In a folder no link is followed; what of a ZIP is refused, ``zip_source`` says.
"""

from __future__ import annotations

import os
import stat
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Self

from tintype_studio.errors import InvalidInput, TooLarge
from tintype_studio.names import printable

MAX_FILES = 1_000_000
MAX_MEMBER_BYTES = 1 << 30
PEEK_BYTES = 1 << 16
MAX_DEPTH = 32
MAX_OPEN = 64
"""Folders kept open at a time; more than ``MAX_DEPTH``."""

_JUNK = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_JUNK_FOLDERS = frozenset({"__MACOSX", ".git", ".svn", ".ipynb_checkpoints"})
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Not blocking, because opening a named pipe would wait for its other end."""


class Source(ABC):
    """Files by their path inside the source, ``/`` between segments. Reading is safe from many threads."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        """Regular files, sorted; what systems leave beside them is left out."""
        self.links: list[str] = []
        """What was left out because it is a link."""

    @abstractmethod
    def size(self, path: str) -> int:
        """Bytes of a file."""

    @abstractmethod
    def open(self, path: str) -> IO[bytes]:
        """A stream of a file's bytes. ``InvalidInput`` when it cannot be opened."""

    def read(self, path: str, limit: int = MAX_MEMBER_BYTES) -> bytes:
        """A file's bytes.

        Raises:
            TooLarge: it has more than ``limit`` bytes.
            InvalidInput: it is damaged or gone.
        """
        size = self.size(path)
        if size > limit:
            raise too_large(path, limit)
        try:
            with self.open(path) as stream:
                # One byte more than the size shows a file that grew meanwhile.
                data = stream.read(size + 1)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
            raise unreadable(path) from None
        if len(data) > size:
            raise unreadable(path)
        return data

    def peek(self, path: str) -> bytes:
        """The first bytes of a file, up to ``PEEK_BYTES``; empty when it cannot be read."""
        try:
            with self.open(path) as stream:
                return stream.read(PEEK_BYTES)
        except (InvalidInput, OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
            return b""

    def local(self, path: str) -> Path | None:
        """Where a file lies on the disk; None for what is inside of another file."""
        return None

    def close(self) -> None:  # noqa: B027  (not every source holds something open)
        """Let go of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_source(path: str | Path) -> Source:
    """The folder or ZIP at ``path``, which must be real (no link on the way).

    Raises:
        InvalidInput: there is neither (``source_not_found``), or the ZIP is damaged (``broken_archive``) or
            of a kind that is refused (``unsafe_archive``).
        TooLarge: it holds too much.
    """
    path = Path(path)
    if os.path.realpath(path) != str(path):
        raise not_there(path)
    if path.is_dir():
        return FolderSource(path)
    if not path.is_file():
        raise not_there(path)
    from tintype_studio.formats.reading.zip_source import ZipSource

    if path.suffix.lower() != ".zip":
        raise InvalidInput(
            f"{printable(path.name)[:200]!r} is neither a folder nor a .zip file.",
            code="source_not_found",
            fix="Name a folder or a ZIP file; unpack other archives first.",
        )
    return ZipSource(path)


class FolderSource(Source):
    """A folder on the local disk.

    Files are opened from the folder that holds them, folder by folder from the topmost one, each without
    following links: whatever is put in the way after the folder was walked is not entered.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._lock = threading.Lock()
        self._open: OrderedDict[str, int] = OrderedDict()
        """Descriptors of folders, the last used ones at the end; under the lock."""
        pending = [("", 0)]
        while pending:
            prefix, depth = pending.pop()
            for entry in _entries(folder / prefix, prefix):
                relative = prefix + entry.name
                if entry.is_symlink():
                    self.links.append(relative)
                elif entry.is_dir(follow_symlinks=False):
                    if depth < MAX_DEPTH and entry.name not in _JUNK_FOLDERS:
                        pending.append((relative + "/", depth + 1))
                elif entry.is_file(follow_symlinks=False):
                    self.paths.append(relative)
            if len(self.paths) > MAX_FILES:
                raise too_many(folder.name)
        self.paths = without_junk(self.paths)

    def size(self, path: str) -> int:
        with self.open(path) as stream:
            return os.fstat(stream.fileno()).st_size

    def local(self, path: str) -> Path | None:
        return self._folder / path

    def open(self, path: str) -> IO[bytes]:
        return os.fdopen(self._descriptor(path), "rb")

    def read(self, path: str, limit: int = MAX_MEMBER_BYTES) -> bytes:
        descriptor = self._descriptor(path)
        try:
            size = os.fstat(descriptor).st_size
            if size > limit:
                raise too_large(path, limit)
            data = os.read(descriptor, size + 1)
            while len(data) < size and (more := os.read(descriptor, size + 1 - len(data))):
                data += more
        except OSError:
            raise unreadable(path) from None
        finally:
            os.close(descriptor)
        if len(data) > size:  # it grew meanwhile
            raise unreadable(path)
        return data

    def close(self) -> None:
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])

    def _descriptor(self, path: str) -> int:
        folder, _, name = path.rpartition("/")
        try:
            with self._lock:
                descriptor = os.open(name, READ, dir_fd=self._opened(folder))
        except OSError:
            raise unreadable(path) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise unreadable(path)
        return descriptor

    def _opened(self, folder: str) -> int:
        """The descriptor of a folder, kept for the next file in it."""
        found = self._open.get(folder)
        if found is not None:
            self._open.move_to_end(folder)
            return found
        if folder:
            above, _, name = folder.rpartition("/")
            found = os.open(name, READ | os.O_DIRECTORY, dir_fd=self._opened(above))
        else:
            found = os.open(self._folder, READ | os.O_DIRECTORY)
        self._open[folder] = found
        if len(self._open) > MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return found


def _entries(folder: Path, prefix: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        raise InvalidInput(
            f"The folder {printable(prefix)[:200] or '.'!r} cannot be listed.",
            code="unreadable",
            fix="Check that the server may read it.",
        ) from None


def without_junk(paths: Iterable[str]) -> list[str]:
    """Sorted, without what systems leave beside files, such as a ``._a.jpg`` beside an ``a.jpg``."""
    there = set(paths)

    def is_junk(path: str) -> bool:
        folder, slash, name = path.rpartition("/")
        if name in _JUNK or (folder and not _JUNK_FOLDERS.isdisjoint(folder.split("/"))):
            return True
        return name.startswith("._") and f"{folder}{slash}{name[2:]}" in there

    return sorted(path for path in there if not is_junk(path))


def too_large(path: str, limit: int) -> TooLarge:
    """A file of more than ``limit`` bytes."""
    return TooLarge(
        f"{printable(path)[:200]!r} has more than {limit >> 20:,} MiB.",
        code="file_too_large",
        fix="Split it, or leave it out.",
    )


def too_many(name: str) -> TooLarge:
    """More files than are taken."""
    return TooLarge(
        f"{printable(name)[:200]!r} holds more than {MAX_FILES:,} files.",
        code="too_many_files",
        fix="Import it in parts.",
    )


def unreadable(path: str) -> InvalidInput:
    """A file that is damaged, or gone."""
    return InvalidInput(
        f"{printable(path)[:200]!r} cannot be read: it is damaged, or gone.",
        code="unreadable",
        fix="Check the file, then import again.",
    )


def not_there(path: Path) -> InvalidInput:
    """No source at the path."""
    return InvalidInput(
        f"There is no folder and no ZIP file {printable(path.name)[:200]!r} at this path.",
        code="source_not_found",
        fix="Check the path; links are not followed.",
    )

"""Files on their way in: put under a signed link, and kept until something takes them up.

An upload has no row. Its address carries who may put it (a signed token) and who may take it up (the
organization, in its path). Until then it lies beside the blobs, where nothing lists it; what nobody takes up
is swept after a day.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from tempfile import NamedTemporaryFile

import obstore
from obstore.store import LocalStore

from tintype_studio import clock
from tintype_studio.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    TintypeError,
    TooLarge,
    Unavailable,
)
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_name
from tintype_studio.storage.blobs import CHUNK, Blobs, storage_errors
from tintype_studio.storage.database import rehearsing
from tintype_studio.storage.signing import Signer

LINK_SECONDS = 3600
"""How long a link takes a file."""

KEEP = timedelta(hours=24)
"""How long a file waits to be taken up."""

SWEEP_SECONDS = 3600
"""Between two looks for files that nobody took up; the store may charge for each."""

PART = 8 * 1024 * 1024
"""Bytes of one file that are held in memory; what is larger goes to the store in parts."""

BUCKET = "tintype"
"""What clients that know buckets are told; there is none."""

_PREFIX = "uploads"
_PATH = re.compile(rf"{_PREFIX}/([0-9a-f-]{{36}})/([0-9a-f]{{32}})/([^/]+)")


class UploadKind(StrEnum):
    """What a link is for, which decides how large the file may be."""

    IMAGE = "image"
    VIDEO = "video"


MAX_BYTES = {UploadKind.IMAGE: 50 * 1024**2, UploadKind.VIDEO: 10 * 1024**3}
"""Largest file, in bytes: 50 MiB and 10 GiB."""

MAX_WAITING_BYTES = 4 * MAX_BYTES[UploadKind.VIDEO]
"""Of files of one organization that wait to be taken up: nothing else limits what it may put."""

FREE_BYTES = 256 * 1024**2
"""Of a local disk, left to the database and to what works."""

CHECKED_BYTES = 1024**3
"""Between two looks, while a file comes in, whether there is room: others come in at the same time."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to put one file."""

    token: str
    """For ``PUT /_upload/{token}``; it works by itself for an hour."""
    path: str
    """What the file is taken up by."""
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a link puts its file."""

    key: str
    max_bytes: int


class Uploads:
    """Takes files under signed links, and hands them to whoever may have them. Thread-safe."""

    def __init__(self, blobs: Blobs, signer: Signer, scratch: Path) -> None:
        """``scratch`` is a folder for copies of files that lie on another machine."""
        self._store = blobs.store
        self._signer = signer
        self._scratch = scratch
        self._swept = float("-inf")

    def issue(self, principal: Principal, filename: str, kind: UploadKind) -> Ticket:
        """Leave to put a file of this name; ``InvalidInput`` when no file can have it.

        ``Unavailable`` (``disk_full``) when there is no room, and for videos ``Conflict`` (``uploads_full``)
        when the organization has too much waiting.
        """
        name = clean_name(filename, "File name", max_length=255)
        # The name stays out of the key: stores differ in what they allow there.
        key = f"{_PREFIX}/{principal.organization_uuid}/{secrets.token_hex(16)}"
        self._require_disk()
        if kind is UploadKind.VIDEO:  # images are small, and asked for by the thousand
            self._require_few_waiting(key)
        limit = MAX_BYTES[kind]
        token = self._signer.token({"op": "put", "key": key, "max": limit}, LINK_SECONDS)
        return Ticket(token, f"{key}/{name}", limit)

    def slot(self, token: str) -> Slot:
        """What a link allows; ``Forbidden`` when it is none or has expired."""
        claims = self._signer.claims(token)
        if claims is None or claims.get("op") != "put":
            raise Forbidden(
                "This link is invalid or has expired.",
                code="invalid_link",
                fix="Ask for a fresh upload link; each works for an hour.",
            )
        return Slot(str(claims["key"]), int(claims["max"]))

    async def receive(self, slot: Slot, chunks: AsyncIterator[bytes]) -> int:
        """Store what comes in; returns how many bytes.

        All or nothing: when ``chunks`` raises, or brings more than the slot takes (``TooLarge``), nothing is
        kept. A second file under the same link replaces the first. Raises as ``issue``, too, for what is
        larger than ``PART``.
        """
        size, first = 0, bytearray()
        async for chunk in chunks:
            size += len(chunk)
            _require_fit(size, slot)
            first += chunk
            if len(first) >= PART:
                break
        else:
            with storage_errors():
                await obstore.put_async(self._store, slot.key, bytes(first), use_multipart=False)
            return size
        await asyncio.to_thread(self._require_room, slot.key)
        checked = size
        # Left by an exception, the writer gives its parts up.
        with storage_errors():
            async with obstore.open_writer_async(
                self._store, slot.key, buffer_size=PART, max_concurrency=1
            ) as writer:
                await writer.write(bytes(first))
                first.clear()
                async for chunk in chunks:
                    size += len(chunk)
                    _require_fit(size, slot)
                    if size - checked >= CHECKED_BYTES:
                        await asyncio.to_thread(self._require_room, slot.key)
                        checked = size
                    await writer.write(chunk)
        return size

    def size(self, principal: Principal, path: str) -> int:
        """Bytes of an upload; ``NotFound`` when it is not there or of another organization."""
        try:
            return int(obstore.head(self._store, _key(principal, path))["size"])
        except FileNotFoundError:
            raise _not_found() from None

    def version(self, principal: Principal, path: str) -> str:
        """Changes when another file is put in the place of an upload; ``NotFound`` as in ``size``."""
        try:
            found = obstore.head(self._store, _key(principal, path))
        except FileNotFoundError:
            raise _not_found() from None
        # Without the store's own tag: where files are files, it changes when a workspace is moved.
        return f"{found['size']} {found['last_modified'].isoformat()}"

    def read(self, principal: Principal, path: str, *, max_bytes: int) -> bytes:
        """A small upload whole; ``TooLarge`` when it is larger than ``max_bytes``."""
        try:
            found = obstore.get(self._store, _key(principal, path))
        except FileNotFoundError:
            raise _not_found() from None
        _require_fit(int(found.meta["size"]), Slot("", max_bytes))
        return found.bytes().to_bytes()

    @contextmanager
    def open(self, principal: Principal, path: str) -> Iterator[Path]:
        """An upload as a local file for the time of the block; ``NotFound`` as in ``size``.

        On a local store it is the stored file itself and must not be changed; from any other it is a copy.
        """
        key = _key(principal, path)
        if (here := self._local(key)) is not None:
            if not here.is_file():
                raise _not_found()
            yield here
            return
        with NamedTemporaryFile(dir=self._scratch, prefix="upload-") as copy:
            try:
                for chunk in obstore.get(self._store, key).stream(min_chunk_size=CHUNK):
                    copy.write(chunk)
            except FileNotFoundError:
                raise _not_found() from None
            copy.flush()
            yield Path(copy.name)

    def discard(self, principal: Principal, path: str) -> None:
        """Remove an upload that was taken up; nothing, when it is gone already."""
        if not rehearsing():
            with suppress(FileNotFoundError):
                obstore.delete(self._store, _key(principal, path))

    def sweep(self, kept: Callable[[], set[str]] = set, *, now: bool = False) -> int:
        """Remove what nobody took up within a day; returns how many files.

        ``kept`` tells the paths of those that stay all the same. Looks at most once an hour, unless ``now``.
        """
        if not now and time.monotonic() - self._swept < SWEEP_SECONDS:
            return 0
        self._swept = time.monotonic()
        before = clock.now() - KEEP
        keys = {path.rpartition("/")[0] for path in kept()}
        folder = self._local(_PREFIX)
        if folder is not None:
            return _sweep_folder(folder, before.timestamp(), keys)
        old = [
            meta["path"]
            for page in obstore.list(self._store, prefix=_PREFIX)
            for meta in page
            if meta["last_modified"] < before and meta["path"] not in keys
        ]
        if old:
            with suppress(FileNotFoundError):
                obstore.delete(self._store, old)
        return len(old)

    def require_room(self, principal: Principal) -> None:
        """Refuse (``uploads_full``, ``disk_full``) where the organization may put nothing more for now."""
        self._require_room(f"{_PREFIX}/{principal.organization_uuid}/")

    def _require_room(self, key: str) -> None:
        self._require_disk()
        self._require_few_waiting(key)

    def _require_disk(self) -> None:
        root = self._local("")
        if root is not None and shutil.disk_usage(root).free < FREE_BYTES:
            raise Unavailable(
                "The server's disk is full.",
                code="disk_full",
                fix="Ask the operator to free disk space, then put the file again.",
            )

    def _require_few_waiting(self, key: str) -> None:
        """Refuse when the folder of a key, which is one organization's, holds too much."""
        prefix = key.rpartition("/")[0]
        folder = self._local(prefix)
        if folder is not None:
            waiting = _size_of_folder(folder)
        else:
            waiting = sum(meta["size"] for page in obstore.list(self._store, prefix=prefix) for meta in page)
        if waiting >= MAX_WAITING_BYTES:
            raise Conflict(
                f"Uploads of {waiting // 1024**3:,} GiB wait to be used.",
                code="uploads_full",
                fix="Use them first, or call again tomorrow: what nobody uses is removed after a day, what "
                "was predicted with its task.",
            )

    def _local(self, key: str) -> Path | None:
        """The path of a key on a local store; None on any other."""
        if not isinstance(self._store, LocalStore) or self._store.prefix is None:
            return None
        return Path(self._store.prefix, key)


def _size_of_folder(folder: Path) -> int:
    """Bytes, with those of files that are still coming in, which the store does not show."""
    size = 0
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


def _sweep_folder(folder: Path, before: float, kept: set[str]) -> int:
    """As ``sweep``, past the store, which does not show what a killed process left half written."""
    removed = 0
    for path in folder.glob("*/*"):
        if f"{_PREFIX}/{path.parent.name}/{path.name}" in kept:
            continue
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed


def _key(principal: Principal, path: str) -> str:
    """The key of an upload that the principal may take up."""
    match = _PATH.fullmatch(path)
    if match is None or match[1] != principal.organization_uuid:
        raise _not_found()
    return path.rpartition("/")[0]


def _require_fit(size: int, slot: Slot) -> None:
    if size > slot.max_bytes:
        raise too_large(slot)


def too_large(slot: Slot) -> TintypeError:
    """The refusal of a file that is larger than its slot."""
    return TooLarge(
        f"The file is over the limit of {slot.max_bytes // 1048576:,} MiB.",
        code="file_too_large",
        fix="Compress or cut the file below the limit, then ask for a new upload link.",
    )


def cut_off() -> TintypeError:
    """The refusal of a file that stopped coming."""
    return InvalidInput(
        "The upload stopped before its end; nothing was kept.",
        code="upload_incomplete",
        fix="Put the whole file again, under the same link.",
    )


def slow_store() -> TintypeError:
    """Too many files come in at once."""
    return Unavailable(
        "Too many uploads at once.", code="uploads_busy", fix="Put the file again in some seconds."
    )


def _not_found() -> NotFound:
    return NotFound(
        "There is no upload at this path.",
        code="upload_not_found",
        fix="Ask for an upload link, put the file there, then use the path that came with the link.",
    )

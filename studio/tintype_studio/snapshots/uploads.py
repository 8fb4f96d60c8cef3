"""Large files that come in parts under signed links, and are joined to one blob.

A part lies beside the blobs, under its upload's id, until all are there; nothing lists it. The digest of a
part is its ETag, so that what is joined is what was sent. A file is recorded only when it was joined: a
crash at any line leaves parts that are put again or swept, never a file with a hole.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.store import LocalStore

from tintype_studio import clock
from tintype_studio.errors import Forbidden, InvalidInput, TintypeError, TooLarge, Unavailable
from tintype_studio.storage.blobs import CHUNK, Blobs, blob_key, storage_errors
from tintype_studio.storage.signing import Signer
from tintype_studio.storage.uploads import FREE_BYTES, PART, SWEEP_SECONDS

PART_BYTES = 100 * 1024 * 1024
"""Of every part but the last, which may be smaller."""
LINK_SECONDS = 24 * 3600
"""How long the link of a part takes it."""
KEEP = timedelta(hours=48)
"""How long parts wait for the others."""
MAX_JOINS = 2
"""Files that are joined at a time."""
TICK_SECONDS = 0.1

_PREFIX = "parts"


@dataclass(frozen=True, slots=True)
class PartSlot:
    """Where a link puts its part, and how many bytes it has."""

    key: str
    size: int
    number: int
    """From 1."""

    @property
    def upload_id(self) -> str:
        """The upload that it is a part of."""
        return self.key.split("/")[-2]


def parts_of(size: int) -> list[int]:
    """Bytes of each part of a file; none for an empty one."""
    whole, rest = divmod(size, PART_BYTES)
    return [PART_BYTES] * whole + ([rest] if rest else [])


class Parts:
    """Takes parts under signed links, and joins them. Thread-safe."""

    def __init__(
        self, blobs: Blobs, signer: Signer, storing: Callable[[str], None] = lambda _sha256: None
    ) -> None:
        """``storing`` is told the digest of a file before it is stored: no row may ever name it."""
        self._blobs = blobs
        self._storing = storing
        self._store = blobs.store
        self._signer = signer
        self._swept = float("-inf")
        self._pool: ThreadPoolExecutor | None = None
        self._joins: dict[str, Future[str]] = {}
        self._lock = threading.Lock()

    def tokens(self, upload_id: str, size: int) -> list[str]:
        """One for each part, for ``PUT /_part/{token}``; each works by itself for a day."""
        return [
            self._signer.token(
                {"op": "part", "key": _key(upload_id, number), "size": part, "n": number}, LINK_SECONDS
            )
            for number, part in enumerate(parts_of(size), 1)
        ]

    def slot(self, token: str) -> PartSlot:
        """What a link takes; ``Forbidden`` when it is none or has expired."""
        claims = self._signer.claims(token)
        if claims is None or claims.get("op") != "part":
            raise Forbidden(
                "This link is invalid or has expired.",
                code="invalid_link",
                fix="Begin the snapshot's upload again; each link works for 24 hours.",
            )
        return PartSlot(str(claims["key"]), int(claims["size"]), int(claims["n"]))

    async def receive(self, slot: PartSlot, chunks: AsyncIterator[bytes]) -> str:
        """Store a part; returns its ETag, the SHA-256 (hex) of its bytes.

        All or nothing; another one under the same link replaces it. ``TooLarge`` and ``InvalidInput``
        (``part_incomplete``) unless it has exactly the bytes that were said.
        """
        await asyncio.to_thread(self.require_disk, slot.size)
        digest, size, held = hashlib.sha256(), 0, bytearray()
        with storage_errors():
            async with obstore.open_writer_async(
                self._store, slot.key, buffer_size=PART, max_concurrency=1
            ) as writer:
                # Left by an exception, the writer gives up what it has.
                async for chunk in chunks:
                    size += len(chunk)
                    if size > slot.size:
                        raise part_too_large(slot)
                    digest.update(chunk)
                    held += chunk
                    if len(held) >= CHUNK:
                        await writer.write(bytes(held))
                        held.clear()
                if size < slot.size:
                    raise _incomplete(slot, size)
                await writer.write(bytes(held))
        return digest.hexdigest()

    def join(
        self,
        upload_id: str,
        size: int,
        name: str,
        etags: Mapping[int, str] | None,
        check: Callable[[], None] = lambda: None,
    ) -> str:
        """The file of all parts as a blob; returns its SHA-256 (hex).

        ``etags`` by number are compared where they are given. ``check`` is called while it waits; whoever
        gives up and asks again finds the work going on. Raises ``InvalidInput``: ``part_missing`` with the
        numbers, ``part_mismatch`` for bytes that are not those of the ETag.
        """
        if not size:
            return self._blobs.put(b"")
        self.require_whole(upload_id, size, name, etags)
        with self._lock:
            future = self._joins.get(upload_id)
            if future is None or (future.done() and future.exception() is not None):
                self._pool = self._pool or ThreadPoolExecutor(MAX_JOINS, thread_name_prefix="join")
                future = self._joins[upload_id] = self._pool.submit(self._join, upload_id, size, name, etags)
        while True:
            check()
            with suppress(NotYet):
                return future.result(TICK_SECONDS)

    def discard(self, upload_id: str) -> None:
        """Remove the parts of a file that was joined or given up."""
        with self._lock:
            self._joins.pop(upload_id, None)
        self._delete([meta["path"] for meta in self._listed(upload_id)])

    def sweep(self, wanted: Callable[[], set[str]], *, now: bool = False) -> int:
        """Remove parts that are older than two days and whose upload is not ``wanted``; returns how many.

        Looks at most once an hour, unless ``now``.
        """
        if not now and time.monotonic() - self._swept < SWEEP_SECONDS:
            return 0
        self._swept = time.monotonic()
        before, keep = clock.now() - KEEP, wanted()
        old = [
            meta["path"]
            for page in obstore.list(self._store, prefix=_PREFIX)
            for meta in page
            if meta["last_modified"] < before and meta["path"].split("/")[1] not in keep
        ]
        self._delete(old)
        return len(old) + self._sweep_drafts(before.timestamp())

    def require_disk(self, size: int) -> None:
        """Refuse (``disk_full``) bytes that a local disk has no room for."""
        root = self._local()
        if root is not None and shutil.disk_usage(root).free < size + FREE_BYTES:
            raise Unavailable(
                "The server's disk has no room for this.",
                code="disk_full",
                fix="Ask the operator to free disk space, then send it again.",
            )

    def close(self) -> None:
        """Let nothing be joined any more."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def require_whole(self, upload_id: str, size: int, name: str, etags: Mapping[int, str] | None) -> None:
        """``InvalidInput`` (``part_missing``) unless all parts were put, and ``etags`` has all."""
        sizes = parts_of(size)
        there = {int(meta["path"].rpartition("/")[2]): meta["size"] for meta in self._listed(upload_id)}
        missing = [
            number
            for number, part in enumerate(sizes, 1)
            if there.get(number) != part or (etags is not None and number not in etags)
        ]
        if missing:
            which = ", ".join(map(str, missing[:20]))
            raise InvalidInput(
                f"{name!r} is not whole: of its {len(sizes)} parts, {which} "
                f"{'is' if len(missing) == 1 else 'are'} missing.",
                code="part_missing",
                fix="Put the missing parts under their links, then complete the file again.",
                details={"missing": missing[:1000], "parts": len(sizes)},
            )

    def _join(self, upload_id: str, size: int, name: str, etags: Mapping[int, str] | None) -> str:
        whole = hashlib.sha256()
        for number in range(1, len(parts_of(size)) + 1):
            digest = hashlib.sha256()
            for chunk in self._part(upload_id, number, name):
                digest.update(chunk)
                whole.update(chunk)
            if etags is not None and etags[number].strip('" ').lower() != digest.hexdigest():
                raise _mismatch(name, number)
        sha256 = whole.hexdigest()
        if not self._blobs.exists(sha256):
            self.require_disk(size)
            self._storing(sha256)
            self._write(upload_id, size, name, sha256)
        return sha256

    def _write(self, upload_id: str, size: int, name: str, sha256: str) -> None:
        """The parts, one after the other, as a blob."""
        digest = hashlib.sha256()
        with (
            storage_errors(),
            obstore.open_writer(self._store, blob_key(sha256), buffer_size=PART, max_concurrency=1) as writer,
        ):
            # Left by an exception, the writer gives up what it has.
            for number in range(1, len(parts_of(size)) + 1):
                for chunk in self._part(upload_id, number, name):
                    digest.update(chunk)
                    writer.write(chunk)
            if digest.hexdigest() != sha256:  # a part was put again meanwhile
                raise _mismatch(name, 1)

    def _part(self, upload_id: str, number: int, name: str) -> Iterator[bytes]:
        try:
            found = obstore.get(self._store, _key(upload_id, number))
            for chunk in found.stream(min_chunk_size=CHUNK):
                yield bytes(chunk)
        except FileNotFoundError:
            raise _mismatch(name, number) from None

    def _listed(self, upload_id: str) -> Iterator[obstore.ObjectMeta]:
        for page in obstore.list(self._store, prefix=f"{_PREFIX}/{upload_id}"):
            yield from page

    def _delete(self, paths: list[str]) -> None:
        for path in paths:
            with suppress(FileNotFoundError):
                obstore.delete(self._store, path)
        if (root := self._local()) is not None:
            for folder in {Path(root, path).parent for path in paths}:
                with suppress(OSError):
                    folder.rmdir()

    def _sweep_drafts(self, before: float) -> int:
        """Remove what a killed process left half written, which a local store does not list."""
        root, removed = self._local(), 0
        for path in Path(root, _PREFIX).glob("*/*#*") if root is not None else ():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
        return removed

    def _local(self) -> Path | None:
        if not isinstance(self._store, LocalStore) or self._store.prefix is None:
            return None
        return Path(self._store.prefix)


def _key(upload_id: str, number: int) -> str:
    return f"{_PREFIX}/{upload_id}/{number:05}"


def _mismatch(name: str, number: int) -> InvalidInput:
    return InvalidInput(
        f"Part {number} of {name!r} is not what its ETag says.",
        code="part_mismatch",
        fix=f"Put part {number} again, and complete the file with the ETag of that answer.",
        details={"part": number},
    )


def part_too_large(slot: PartSlot) -> TintypeError:
    """The refusal of a part that has more bytes than it was said to have."""
    return TooLarge(
        f"Part {slot.number} has more than the {slot.size:,} bytes that were said.",
        code="part_too_large",
        fix="Put exactly the bytes of this part, or begin the upload again with the right size.",
    )


def _incomplete(slot: PartSlot, size: int) -> InvalidInput:
    return InvalidInput(
        f"Part {slot.number} has {size:,} bytes instead of {slot.size:,}; nothing was kept.",
        code="part_incomplete",
        fix="Put the whole part again, under the same link.",
    )

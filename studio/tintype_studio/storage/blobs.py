"""Content-addressed blobs on a local folder or an S3-compatible store.

A blob's key is its SHA-256; equal bytes are kept once. A blob is written whole and renamed into place, so
a reader never sees a part of one. Bytes go in before the row that names them: a crash can leave a blob
without a row, which nothing shows and the next upload of the same file takes up; never a row without its
blob.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import LocalStore, ObjectStore, from_url

from tintype_studio.errors import NotFound, Unavailable
from tintype_studio.storage.database import rehearsing

CHUNK = 1 << 20


def blob_key(sha256: str) -> str:
    """The object key of a digest: ``sha256/ab/abcd…``.

    One level of 256 folders: with a second, nearly every blob would need a folder of its own, and making
    it takes a local disk longer than writing the picture.
    """
    return f"sha256/{sha256[:2]}/{sha256}"


class Blobs:
    """Put and get by digest. Thread-safe."""

    def __init__(self, url: str) -> None:
        if "://" in url:
            self.store: ObjectStore = from_url(url)
        else:
            Path(url).mkdir(parents=True, exist_ok=True)
            self.store = LocalStore(url)

    def put(self, data: bytes) -> str:
        """Store bytes; returns their SHA-256 (hex)."""
        digest = hashlib.sha256(data).hexdigest()
        self._put(blob_key(digest), data)
        return digest

    def put_derived(self, key: str, data: bytes) -> None:
        """Store something that can be made again (a thumbnail) under ``derived/``."""
        self._put(f"derived/{key}", data)

    def get_derived(self, key: str) -> bytes | None:
        """Bytes stored by ``put_derived``, or None."""
        try:
            return obstore.get(self.store, f"derived/{key}").bytes().to_bytes()
        except FileNotFoundError:
            return None

    def delete_derived(self, key: str) -> None:
        """Remove something stored by ``put_derived``, if it is there."""
        if not rehearsing():
            with suppress(FileNotFoundError):
                obstore.delete(self.store, f"derived/{key}")

    def delete_derived_under(self, prefix: str) -> None:
        """Remove everything stored by ``put_derived`` whose key begins with the folders of ``prefix``."""
        if not rehearsing():
            for page in obstore.list(self.store, prefix=f"derived/{prefix}"):
                for meta in page:
                    with suppress(FileNotFoundError):
                        obstore.delete(self.store, meta["path"])

    def put_file(self, file: BinaryIO) -> tuple[str, int]:
        """Store an open, seekable file without holding it in memory; returns ``(sha256, size in bytes)``."""
        digest, size = hashlib.sha256(), 0
        file.seek(0)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
        if not rehearsing() and not self.exists(digest.hexdigest()):
            file.seek(0)
            # In parts, because a single put reads the whole file into memory.
            with storage_errors():
                obstore.put(self.store, blob_key(digest.hexdigest()), file, use_multipart=True)
        return digest.hexdigest(), size

    def _put(self, key: str, data: bytes) -> None:
        if rehearsing():
            return
        with storage_errors(), suppress(AlreadyExistsError):
            obstore.put(self.store, key, data, mode="create", use_multipart=False)

    def get(self, sha256: str) -> bytes:
        """The whole blob."""
        try:
            return obstore.get(self.store, blob_key(sha256)).bytes().to_bytes()
        except FileNotFoundError:
            raise NotFound("The stored bytes are missing.", code="blob_missing") from None

    def stream(self, sha256: str) -> Iterator[bytes]:
        """The blob in chunks of about 1 MiB."""
        try:
            result = obstore.get(self.store, blob_key(sha256))
        except FileNotFoundError:
            raise NotFound("The stored bytes are missing.", code="blob_missing") from None
        for chunk in result.stream(min_chunk_size=CHUNK):
            yield bytes(chunk)

    def part(self, sha256: str, start: int, length: int) -> bytes:
        """``length`` bytes of the blob, from ``start`` on."""
        try:
            return bytes(obstore.get_range(self.store, blob_key(sha256), start=start, length=length))
        except FileNotFoundError:
            raise NotFound("The stored bytes are missing.", code="blob_missing") from None

    def size(self, sha256: str) -> int:
        """The blob's length in bytes."""
        try:
            return int(obstore.head(self.store, blob_key(sha256))["size"])
        except FileNotFoundError:
            raise NotFound("The stored bytes are missing.", code="blob_missing") from None

    def exists(self, sha256: str) -> bool:
        """Whether the blob is there."""
        try:
            obstore.head(self.store, blob_key(sha256))
        except FileNotFoundError:
            return False
        return True

    def digests(self) -> Iterator[str]:
        """Every stored digest."""
        for page in obstore.list(self.store, prefix="sha256"):
            for meta in page:
                yield meta["path"].rsplit("/", 1)[-1]

    def delete(self, sha256: str) -> None:
        """Remove a blob. The caller knows that no row names it."""
        if rehearsing():
            return
        obstore.delete(self.store, blob_key(sha256))


@contextmanager
def storage_errors() -> Iterator[None]:
    """What the store raises while it takes bytes, as ``Unavailable``."""
    try:
        yield
    except AlreadyExistsError:
        raise
    except (GenericError, OSError) as error:
        raise Unavailable(
            "The blob store did not accept the bytes; nothing was recorded.",
            code="storage_failed",
            fix="Ask the operator to check the blob store's free space, then call again.",
        ) from error

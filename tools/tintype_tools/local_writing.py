"""Writing a stored file to a local path: whole and as it should be, or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tintype_studio.errors import Conflict, Unavailable
from tintype_studio.names import printable


def would_write(target: Path, sha256: str) -> bool:
    """Whether ``write_stored`` would write anything; ``Conflict`` (``file_exists``) as it would raise it."""
    if not target.exists():
        return True
    _require_same(target, sha256)
    return False


def write_stored(target: Path, chunks: Iterable[bytes], sha256: str, check: Callable[[], None]) -> None:
    """Write bytes to a path that ``LocalFiles.target`` gave. Nothing that exists is replaced; a file that
    holds these bytes already is left as it is. ``check`` raises where the caller has gone.

    Raises ``Conflict`` (``file_exists``) for another file, and ``Unavailable`` for bytes that do not have
    this digest (``checksum_mismatch``) or cannot be written (``write_failed``).
    """
    if not would_write(target, sha256):
        return
    try:
        _write_whole(target, chunks, sha256, check)
    except OSError as error:
        raise Unavailable(
            f"The file could not be written: {error.strerror}.",
            code="write_failed",
            fix="Choose another name or folder, or free disk space, then call again.",
            retryable=False,
        ) from error


def _write_whole(target: Path, chunks: Iterable[bytes], sha256: str, check: Callable[[], None]) -> None:
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".tintype-")
    part, digest = Path(name), hashlib.sha256()
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                check()
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != sha256:
            raise Unavailable(
                "The stored bytes are damaged: their checksum is not the one on record. Nothing was written.",
                code="checksum_mismatch",
                fix="Ask the operator to bring the blob back from a backup.",
                retryable=False,
            )
        part.chmod(0o644)
        try:
            # A link appears whole, and only where nothing stands.
            os.link(part, target)
        except FileExistsError:
            _require_same(target, sha256)
        except OSError:  # a file system without links
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _require_same(target: Path, sha256: str) -> None:
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise Conflict(
                f"A file named {printable(target.name)!r} exists there and is something else.",
                code="file_exists",
                fix="Choose another file name; nothing was overwritten.",
            )

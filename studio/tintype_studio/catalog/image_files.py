"""Files of images and other sensors on a local disk: read whole, bounded, and never through a link."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from tintype_studio.errors import InvalidInput, TooLarge
from tintype_studio.names import printable

MAX_FILE_BYTES = 50 * 1024 * 1024
"""Largest image file, in bytes (50 MiB)."""


def read_image_file(path: str | Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """A regular file's bytes; one over the size limit is refused before it is read.

    ``path`` must be real: a link is refused, so that none can be put in its place after it was judged.
    """
    try:
        # Not blocking, because opening a named pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENXIO, errno.ELOOP, errno.ENOTDIR}:
            raise _no_file(path) from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _no_file(path)
        if status.st_size > max_bytes:
            raise too_large(status.st_size, max_bytes)
        # One byte more than the size shows a file that grew meanwhile.
        data = os.read(descriptor, status.st_size + 1)
        while len(data) < status.st_size and (more := os.read(descriptor, status.st_size + 1 - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


def _no_file(path: str | Path) -> InvalidInput:
    return InvalidInput(
        f"There is no regular file {printable(Path(path).name)!r} at this path.",
        code="file_not_found",
        fix="Check the path; it must name one file.",
    )


def too_large(size: int, max_bytes: int = MAX_FILE_BYTES) -> InvalidInput:
    """The refusal of a file of ``size`` bytes."""
    return TooLarge(
        f"The file has {size / 1048576:.1f} MiB; the limit is {max_bytes // 1048576} MiB.",
        code="file_too_large",
        fix=f"Compress or scale it below {max_bytes // 1048576} MiB.",
    )

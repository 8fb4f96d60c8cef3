"""Files that commands read and write for a person: whole or not at all, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tintype_studio.errors import InvalidInput, Unavailable
from tintype_studio.names import printable
from tintype_tools.local_files import LocalFiles

LARGEST_JSON = 200 * 2**20


def make_folder(folder: Path) -> None:
    """Make a folder and what is missing above it; raises ``InvalidInput`` (``invalid_path``)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"The folder {printable(str(folder)[:200])!r} cannot be made: {_reason(error)}.",
            code="invalid_path",
            fix="Choose another folder.",
        ) from error


def save_file(
    files: LocalFiles, path: Path, chunks: Iterable[bytes], sha256: str | None, *, overwrite: bool
) -> Path:
    """Write bytes to a path whose folder exists, and tell where that really is. ``sha256`` is what they must
    have; None for bytes that were just made.

    Raises ``Conflict`` (``file_exists``) where another file stands, unless it may be overwritten; what
    ``LocalFiles`` says of the path; and ``Unavailable`` for what cannot be written.
    """
    import hashlib

    from tintype_studio import clock
    from tintype_tools.local_writing import write_stored

    target = files.target(str(path))
    if sha256 is None:
        chunks = list(chunks)
        sha256 = hashlib.sha256(b"".join(chunks)).hexdigest()
    if not (overwrite and target.exists()):
        write_stored(target, chunks, sha256, _nobody_goes)
        return target
    part = target.with_name(f".tintype-{clock.new_id()}")
    try:
        write_stored(part, chunks, sha256, _nobody_goes)
        part.replace(target)
    except OSError as error:
        raise Unavailable(
            f"The file could not be written: {_reason(error)}.",
            code="write_failed",
            fix="Choose another name or folder, or free disk space, then call again.",
            retryable=False,
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return target


def read_json(path: str) -> Any:
    """The content of a JSON file, or of stdin for ``-``; raises ``InvalidInput``."""
    import sys

    try:
        if path == "-":
            text = sys.stdin.buffer.read(LARGEST_JSON + 1)
        else:
            with Path(path).expanduser().open("rb") as file:
                text = file.read(LARGEST_JSON + 1)
    except IsADirectoryError:
        raise InvalidInput(
            f"{printable(path[:200])!r} is a folder, not a file.",
            code="file_not_found",
            fix="Name one file in it.",
        ) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidInput(
            f"{printable(path[:200])!r} cannot be read: {_reason(error)}.",
            code="file_not_found",
            fix="Check the path; it must name one file.",
        ) from error
    if len(text) > LARGEST_JSON:
        raise InvalidInput(f"{printable(path[:200])!r} is too large.", fix="Send less at a time.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput(
            f"{printable(path[:200])!r} holds no valid JSON.",
            code="invalid_json",
            fix="Correct the file, then run the command again.",
        ) from None


def _nobody_goes() -> None:
    """At the command line, whoever goes away sends a signal."""


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__

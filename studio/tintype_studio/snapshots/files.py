"""A snapshot's files as a local folder, for readers that want paths."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from obstore.store import LocalStore

from tintype_studio import clock
from tintype_studio.errors import NotFound
from tintype_studio.snapshots.snapshot import SnapshotFile
from tintype_studio.storage.blobs import Blobs, blob_key

PREFIX = "snapshot-"
"""Of folders in the scratch folder."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file whose bytes are a blob. Size in bytes."""

    path: str
    size: int
    sha256: str


@contextmanager
def laid_out(
    blobs: Blobs, files: Sequence[SnapshotFile] | Sequence[StoredFile], scratch: Path
) -> Iterator[Path]:
    """A folder with the files under their paths, which must not be changed: on a local store each is the
    blob itself under a second name, from any other it is a copy.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix=PREFIX) as name:
        folder = Path(name)
        for file in files:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _lay(blobs, file.sha256 or "", target)
        yield folder


def sweep_layouts(scratch: Path, older_than: timedelta) -> None:
    """Remove folders that a killed process left."""
    before = clock.now().timestamp() - older_than.total_seconds()
    for folder in scratch.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.is_dir() and folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


def _lay(blobs: Blobs, sha256: str, target: Path) -> None:
    if isinstance(blobs.store, LocalStore) and blobs.store.prefix is not None:
        try:
            os.link(Path(blobs.store.prefix, blob_key(sha256)), target)
            return
        except FileNotFoundError:
            raise NotFound("The stored bytes are missing.", code="blob_missing") from None
        except OSError:  # another disk, or one without links
            pass
    with target.open("wb") as out:
        for chunk in blobs.stream(sha256):
            out.write(chunk)

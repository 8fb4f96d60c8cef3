"""The pictures below a folder on a local disk, without reading them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tintype_studio.errors import InvalidInput
from tintype_studio.names import printable

WALKED_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif"}
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that was not taken, and why. ``path`` is relative to the uploaded folder."""

    path: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """A picture below a folder, and the virtual folder that it goes to."""

    path: Path
    relative: str
    folder: str
    filename: str
    is_link: bool


def walk_pictures(folder: Path, organize_by_class: bool) -> Iterator[Found | Failure]:
    """Pictures below a folder in sorted order, one directory in memory at a time; hidden ones left out.

    A subfolder that cannot be listed is a ``Failure``, and so is a link to a folder: it is not followed,
    because it may lead in a circle or outside.
    """
    pending = [(folder, "")]
    while pending:
        directory, prefix = pending.pop()
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as error:
            if not prefix:
                raise _no_folder(directory) from error
            yield Failure(printable(prefix), "unreadable", error.strerror or "the folder cannot be listed")
            continue
        subdirectories = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            relative = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                subdirectories.append((Path(entry.path), relative + "/"))
            elif entry.is_symlink() and _is_folder(entry.path):
                yield Failure(printable(relative), "link_not_followed", "the folder is a link")
            elif Path(entry.name).suffix.lower() in WALKED_EXTENSIONS:
                first, _, rest = relative.partition("/")
                virtual = f"/{first}" if rest and organize_by_class else "/"
                yield Found(Path(entry.path), printable(relative), virtual, entry.name, entry.is_symlink())
        pending.extend(reversed(subdirectories))


def _is_folder(path: str) -> bool:
    # Not Path.is_dir: it raises where a folder on the way is closed to this user.
    return os.path.isdir(path)  # noqa: PTH112


def _no_folder(folder: Path) -> InvalidInput:
    return InvalidInput(
        f"There is no folder {printable(folder.name)!r} that can be listed at this path.",
        code="folder_not_found",
        fix="Check the path; it must name a folder that the server may read.",
    )

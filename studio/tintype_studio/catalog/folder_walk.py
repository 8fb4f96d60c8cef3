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


MOST_EXAMPLES = 5
"""Ignored files that are named."""


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


@dataclass(frozen=True, slots=True)
class Ignored:
    """A file whose name is not a picture's."""

    relative: str


def walk_pictures(folder: Path, organize_by_class: bool) -> Iterator[Found | Ignored | Failure]:
    """Files below a folder in sorted order, one directory in memory at a time; hidden ones left out.

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
            else:
                yield Ignored(printable(relative))
        pending.extend(reversed(subdirectories))


def require_pictures(folder: Path) -> None:
    """Raise ``InvalidInput`` (``no_pictures``) for a folder without any, and nothing that may hide some."""
    ignored: list[str] = []
    for found in walk_pictures(folder, organize_by_class=True):
        if not isinstance(found, Ignored):
            return
        ignored.append(found.relative)
    others = ""
    if ignored:
        named = ", ".join(map(repr, ignored[:MOST_EXAMPLES]))
        more = ", …" if len(ignored) > MOST_EXAMPLES else ""
        others = f", only {len(ignored):,} other file{'s' * (len(ignored) > 1)} ({named}{more})"
    raise InvalidInput(
        f"There is no picture in the folder {printable(folder.name)!r}{others}.",
        code="no_pictures",
        fix=f"Name a folder with {', '.join(sorted(e[1:] for e in WALKED_EXTENSIONS))} files. Unpack "
        "archives first; frames of videos come in with extract_video_frames.",
    )


def _is_folder(path: str) -> bool:
    # Not Path.is_dir: it raises where a folder on the way is closed to this user.
    return os.path.isdir(path)  # noqa: PTH112


def _no_folder(folder: Path) -> InvalidInput:
    return InvalidInput(
        f"There is no folder {printable(folder.name)!r} that can be listed at this path.",
        code="folder_not_found",
        fix="Check the path; it must name a folder that the server may read.",
    )

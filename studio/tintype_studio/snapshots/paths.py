"""Names of files inside a snapshot: relative paths that are safe to write anywhere."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from tintype_studio.errors import InvalidInput
from tintype_studio.names import UNPRINTED, printable

MAX_PATH = 1000
MAX_PART = 255
_BAD = frozenset('\\:*?"<>|')
"""What some system takes for more than a letter of a name."""


def clean_path(path: str) -> str:
    """A relative path with ``/`` between its names, in NFC; ``InvalidInput`` for one that leads elsewhere.

    Refused: empty and absolute ones, ``.`` and ``..``, backslashes, colons and the like, control characters,
    names over 255 and paths over 1,000 characters.
    """
    path = unicodedata.normalize("NFC", path)
    names = path.split("/")
    why = None
    if not path or len(path) > MAX_PATH:
        why = f"must have 1 to {MAX_PATH:,} characters"
    elif any(name in {"", ".", ".."} for name in names):
        why = "must be relative, without empty names, '.' and '..'"
    elif any(len(name.encode("utf-8", "replace")) > MAX_PART for name in names):
        why = f"holds a name of more than {MAX_PART} bytes"
    elif any(char in _BAD or unicodedata.category(char) in UNPRINTED for char in path):
        why = "holds a character that is not allowed in file names"
    elif any(name != name.strip() or name.endswith(".") for name in names):
        why = "holds a name that begins or ends with a space, or ends with a dot"
    if why is not None:
        raise InvalidInput(
            f"The file name {printable(path[:80])!r} {why}.",
            code="invalid_path",
            fix="Use relative paths such as images/0001.jpg.",
        )
    return path


def clean_paths(paths: Iterable[str]) -> list[str]:
    """Each as ``clean_path``; ``InvalidInput`` when two would be one file, or one the folder of another."""
    found = [clean_path(path) for path in paths]
    seen: set[str] = set()
    folders: set[str] = set()
    for path in found:
        key = path.casefold()  # on many disks these are one file
        if key in seen:
            raise InvalidInput(
                f"Two files are named {path!r}.", code="invalid_path", fix="Name each file once."
            )
        seen.add(key)
        folders.update(str(parent) for parent in PurePosixPath(key).parents)
    if both := seen & folders:
        raise InvalidInput(
            f"{min(both)!r} is named as a file and as a folder.",
            code="invalid_path",
            fix="Give one of them another name.",
        )
    return found


def flat_names(paths: Sequence[str]) -> list[str]:
    """A file name for each path: its last name, or the whole path with _ where that is not unique."""
    last = [path.rpartition("/")[2] for path in paths]
    count: dict[str, int] = {}
    for name in last:
        count[name.casefold()] = count.get(name.casefold(), 0) + 1
    taken: set[str] = set()
    found = []
    for path, name in zip(paths, last, strict=True):
        wanted = name if count[name.casefold()] == 1 else path.replace("/", "_")[-200:]
        number, free = 1, wanted
        while free.casefold() in taken:
            number += 1
            free = f"{number}_{wanted}"
        taken.add(free.casefold())
        found.append(free)
    return found

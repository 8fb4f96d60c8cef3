"""Paths for images whose annotation file is found by the image's stem: no two images may share one."""

from __future__ import annotations

from collections.abc import Sequence

from tintype_studio.formats.base import counted, member_path


class Stems:
    """Gives each image a path of its own without the extension; a second ``a`` becomes ``a_2``."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._renamed = 0
        self._first = ("", "")

    def place(
        self, root: str, segments: Sequence[str], filename: str, *, original: str | None = None
    ) -> tuple[str, str]:
        """``("root/segment/…/stem", ".jpg")``; raises as ``member_path``.

        ``original``: the path that the image had without any renaming, if it is not this one.
        """
        stem, dot, extension = filename.rpartition(".")
        if stem in {"", ".", ".."}:
            stem, dot, extension = filename, "", ""
        wanted = path = member_path(root, segments, stem)
        number = 1
        while path in self._taken:
            number += 1
            path = f"{wanted}_{number}"
        self._taken.add(path)
        original = original or f"{wanted}{dot}{extension}"
        if f"{path}{dot}{extension}" != original:
            self._first = self._first if self._renamed else (original, f"{path}{dot}{extension}")
            self._renamed += 1
        return path, f"{dot}{extension}"

    def notes(self) -> list[str]:
        """How many images were renamed, in a sentence."""
        if not self._renamed:
            return []
        old, new = self._first
        return [
            f"{counted(self._renamed, 'image was', 'images were')} renamed so that each has its own "
            f"label file (first: {old} is {new})."
        ]

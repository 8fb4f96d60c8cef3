"""File names for a dataset's download into one folder, where equal names would overwrite each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class NamesApart:
    """Gives images names, page by page, of which no two are the same.

    The first image of a name keeps it; one of another folder gets that in front: ``night__1.jpg``.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def __call__(self, images: Iterable[Mapping[str, Any]]) -> list[str]:
        """The names of some images, in their order; each has a ``filename`` and a ``folder``."""
        return [self._name_of(image["filename"], image["folder"]) for image in images]

    def _name_of(self, filename: str, folder: str) -> str:
        name = filename
        if name in self._taken:
            place = folder.strip("/").replace("/", "__")
            name = f"{place}__{filename}" if place else filename
            number = 2
            while name in self._taken:
                name, number = f"{number}__{filename}", number + 1
        self._taken.add(name)
        return name

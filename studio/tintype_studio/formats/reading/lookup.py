"""Which image file an annotation file means, and which split a folder's or a file's name tells."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from tintype_studio.catalog.folder_walk import WALKED_EXTENSIONS

_SPLIT = re.compile(r"^(train|training|val|valid|validation|dev|test|testing)[-_]?(?:\d{4}|set|split)?$")
_WORDS = {"train": "train", "val": "val", "dev": "val", "test": "test"}
_DRIVE = re.compile(r"^[A-Za-z]:/")


@lru_cache(maxsize=1024)
def split_of(name: str) -> str | None:
    """``train``, ``val`` or ``test`` for a name such as ``valid`` or ``train2017``; None for others."""
    found = _SPLIT.match(name.lower())
    if found is None:
        return None
    return next(split for word, split in _WORDS.items() if found[1].startswith(word))


def split_among(folders: Sequence[str]) -> str | None:
    """The split that the innermost of the folders named so tells."""
    return next((split for folder in reversed(folders) if (split := split_of(folder))), None)


def split_in(path: str) -> str | None:
    """The split that a path tells: the innermost folder with such a name, or a part of the file's stem."""
    *folders, filename = path.split("/")
    if split := split_among(folders):
        return split
    parts = re.split(r"[-_. ]", filename.rpartition(".")[0])
    found = {split for part in parts if (split := split_of(part))}
    return found.pop() if len(found) == 1 else None


def is_image(path: str) -> bool:
    """Whether a file's name is that of a picture."""
    return path[path.rfind(".") :].lower() in WALKED_EXTENSIONS if "." in path else False


def reference(text: str) -> list[str]:
    """The segments of what an annotation file calls an image; of an absolute path only the file's name."""
    text = text.strip().replace("\\", "/")
    segments = [segment for segment in text.split("/") if segment not in {"", ".", ".."}]
    return segments[-1:] if text.startswith("/") or _DRIVE.match(text) else segments


class Images:
    """The picture files of a source, found by what annotation files call them."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = [path for path in paths if is_image(path)]
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            self._by_name[path.rpartition("/")[2]].append(path)
        self._stems: dict[str, list[str]] | None = None

    def find(self, segments: list[str], *, near: str = "", split: str | None = None) -> str | None:
        """The file that ``segments`` (folders and name) mean; None when there is none.

        Of several, the one under a folder of the ``split``, then the nearest to the file ``near``.
        """
        found = self._by_name.get(segments[-1], []) if segments else []
        if len(segments) > 1:
            tail = "/".join(segments)
            found = [p for p in found if p == tail or p.endswith(f"/{tail}")] or found
        return self._best(found, near, split)

    def find_stem(self, stem: str, *, near: str = "", split: str | None = None) -> str | None:
        """The same by a name without its extension."""
        if self._stems is None:
            self._stems = defaultdict(list)
            for path in self.paths:
                self._stems[path.rpartition("/")[2].rpartition(".")[0]].append(path)
        return self._best(self._stems.get(stem, []), near, split)

    @staticmethod
    def _best(found: list[str], near: str, split: str | None) -> str | None:
        if len(found) <= 1:
            return found[0] if found else None
        folders = near.split("/")[:-1]

        def fitness(path: str) -> tuple[bool, int, int]:
            own = path.split("/")[:-1]
            shared = next((n for n, (a, b) in enumerate(zip(own, folders, strict=False)) if a != b), None)
            common = min(len(own), len(folders)) if shared is None else shared
            return split is not None and split_in(path) == split, common, -len(own)

        return max(found, key=fitness)


def place(segments: list[str]) -> tuple[str, str]:
    """``(folder, filename)`` of a reference."""
    return "/" + "/".join(segments[:-1]), segments[-1] if segments else ""


def stem_of(path: str) -> str:
    """A file's name without its folder and its extension."""
    return PurePosixPath(path).stem

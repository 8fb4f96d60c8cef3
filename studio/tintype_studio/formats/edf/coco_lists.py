"""Categories and images of COCO files, checked, and the names that samples get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tintype_studio.formats.edf.coco_file import CocoFile, whole_numbers
from tintype_studio.formats.reading.base import broken
from tintype_studio.names import printable

IMAGE_COLUMNS = {
    "sequence_name": "",
    "frame_number": "frame",
    "group_name": "group",
    "location": "location",
    "pose": "pose",
    "degradation": "degradation",
    "neg_category_ids": "neg_label_indices",
    "not_exhaustive_category_ids": "not_exhaustive_label_indices",
}
"""Members of an image that become columns; a frame is named by its sequence."""

_PLAIN = frozenset(("width", "height", "file_name", *IMAGE_COLUMNS))
FACTS = {"def": "definition"}
"""Members of a category by their names here."""


class Categories:
    """Categories of all files: the same id must have the same name everywhere."""

    def __init__(self, files: Sequence[CocoFile]) -> None:
        self.indices: dict[str, int] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.names: dict[int, str] = {}
        self.frequencies: dict[int, str] = {}
        for file in files:
            whole_numbers([entry.get("id") for entry in file.categories], "a category id", file.path)
            seen: set[int] = set()
            for entry in file.categories:
                self._add(entry, file.path, seen)

    def _add(self, entry: dict[str, Any], path: str, seen: set[int]) -> None:
        id, name = entry["id"], entry.get("name")
        if not isinstance(name, str) or not name:
            raise broken(path, f"category {id} has no name")
        if id in seen:
            raise broken(path, f"the category id {id} occurs twice")
        seen.add(id)
        if self.names.setdefault(id, name) != name or self.indices.setdefault(name, id) != id:
            raise broken(path, f"the category {printable(name)[:80]!r} has two ids, or {id} has two names")
        if isinstance(frequency := entry.get("frequency"), str):
            self.frequencies[id] = frequency
        self.facts[name] = {FACTS.get(key, key): value for key, value in entry.items() if key != "name"}


class Images:
    """Images of all files, one after the other: names, sizes and what else is said of them."""

    def __init__(self, files: Sequence[tuple[CocoFile, str | None]]) -> None:
        import numpy as np

        self.entries = [entry for file, _ in files for entry in file.images]
        self.groups = [entry.get("group_name") or group for file, group in files for entry in file.images]
        self.first = np.cumsum([0, *(len(file.images) for file, _ in files)]).tolist()
        self.places: list[dict[int, int]] = []
        for (file, _), first in zip(files, self.first, strict=False):
            ids: list[Any] = [entry.get("id") for entry in file.images]
            whole_numbers(ids, "an image id", file.path)
            places = {id: first + number for number, id in enumerate(ids)}
            if len(places) < len(ids):
                twice = next(id for id, times in Counter(ids).items() if times > 1)
                raise broken(file.path, f"the image id {twice} occurs twice")
            self.places.append(places)
        paths = [file.path for file, _ in files for _ in file.images]
        sizes = [_size(entry, path) for entry, path in zip(self.entries, paths, strict=True)]
        self.sizes = np.array(sizes, dtype=np.float64).reshape(-1, 2)
        self.file_names = [_file_name(entry, path) for entry, path in zip(self.entries, paths, strict=True)]
        self.frames = [_frame(entry) for entry in self.entries]
        self.names = names_of(self.file_names, self.entries)
        self.told = self._told()

    def _told(self) -> list[str]:
        """The JSON of ``x_image``: the entry as it is, less what has columns; and its place in the list."""
        found = []
        for at, entry in enumerate(self.entries):
            rest = {k: v for k, v in entry.items() if k not in _PLAIN}
            found.append(orjson.dumps({"coco": rest, "at": at}).decode())
        return found


def names_of(file_names: Sequence[str], entries: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """A name for each image: as little of its path as tells it from others; the sequence's for a frame."""
    stems = [_stem(name.rpartition("/")[2]) for name in file_names]
    frames = [
        isinstance(entry.get("sequence_name"), str) and _frame(entry) is not None for entry in entries
    ] or [False] * len(stems)
    for choose in (_stem, None):
        twice = {name for name, times in Counter(stems).items() if times > 1}
        if not twice:
            break
        for number, name in enumerate(stems):
            if name in twice and not frames[number]:
                whole = file_names[number]
                stems[number] = choose(whole) if choose else whole
    return [
        str(entries[number]["sequence_name"]) if frames[number] else name for number, name in enumerate(stems)
    ]


def _stem(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{folder}{slash}{(stem if dot and stem else name).removesuffix('.camera')}"


def _frame(entry: Mapping[str, Any]) -> int | None:
    frame = entry.get("frame_number")
    return frame if type(frame) is int and 0 <= frame < 2**32 else None


def _size(entry: Mapping[str, Any], path: str) -> tuple[int, int]:
    found = [entry.get("width"), entry.get("height")]
    if not all(isinstance(side, int | float) and 1 <= side < 2**31 and side == int(side) for side in found):
        shown = printable(str(entry.get("id")))[:40]
        raise broken(path, f"image {shown} has no width and height in whole pixels, and shares need them")
    return int(found[0]), int(found[1])  # type: ignore[arg-type]


def _file_name(entry: Mapping[str, Any], path: str) -> str:
    name = entry.get("file_name")
    if not isinstance(name, str) or not name.strip():
        raise broken(path, f"image {printable(str(entry.get('id')))[:40]} has no file_name")
    return name

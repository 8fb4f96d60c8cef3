"""Objects cut out for the attribute heads, with room around each one's box, so that training can move it.

Two files in the folder of the prepared data: ``patches`` has plain pixels one after the other, and
``patches.npz`` says where each begins, what it shows and which options it has.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import cv2
import numpy as np
import orjson
from numpy.typing import NDArray

from tintype_studio.vision.crops import MARGIN, region_of
from tintype_studio.vision.heads import Attributes, HeadsSignature

if TYPE_CHECKING:
    from tintype_studio.vision.train.reading import LabelledImage, Shape

PIXELS, INDEX = "patches", "patches.npz"

ROOM = 0.2
"""Beyond the margin, as a share of the box's longer side."""
LONGEST = 160
"""Pixels of a patch's longer side; larger ones are made smaller."""
MOST = 20_000
"""Objects; beyond it, options that many objects have make place for the others."""

Column = tuple[str, str, tuple[str, ...]]
"""A class, an attribute of it, and its declared options."""


@dataclass(frozen=True, slots=True)
class Patch:
    """An object cut out."""

    pixels: NDArray[np.uint8]
    box: tuple[float, float, float, float]
    """Left, top, right, bottom in pixels of the patch."""
    name: str
    """Its class."""
    options: dict[str, str]


def cut(image: NDArray[np.uint8], shape: Shape, name: str, scale: float) -> Patch:
    """An object of an image (H, W, 3) that is ``scale`` times as large as the original."""
    height, width = image.shape[:2]
    box = [value * scale for value in shape.box]
    x0, y0, x1, y1 = region_of(box, width, height, MARGIN + ROOM)
    part = image[y0:y1, x0:x1]
    reduced = min(1.0, LONGEST / max(part.shape[:2]))
    if reduced < 1:
        size = (max(1, round(part.shape[1] * reduced)), max(1, round(part.shape[0] * reduced)))
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    left, top, right, bottom = box
    inside = (
        (left - x0) * reduced,
        (top - y0) * reduced,
        (right - x0) * reduced,
        (bottom - y0) * reduced,
    )
    return Patch(part.copy(), inside, name, shape.options)


def wanted(images: Sequence[LabelledImage], classes: Sequence[str], seed: int) -> tuple[list[list[int]], int]:
    """Which shapes of each image are cut out, and how many were left out because there are too many."""
    places = [
        (row, index)
        for row, image in enumerate(images)
        for index, shape in enumerate(image.shapes)
        if shape.options
    ]
    chosen, left = places, 0
    if len(places) > MOST:
        keys = [
            [
                (classes[images[row].shapes[index].label], *pair)
                for pair in images[row].shapes[index].options.items()
            ]
            for row, index in places
        ]
        share = MOST // len({key for mine in keys for key in mine})
        counts: Counter[tuple[str, str, str]] = Counter()
        chosen = []
        for place in np.random.default_rng(seed).permutation(len(places)).tolist():
            if any(counts[key] < share for key in keys[place]):
                counts.update(keys[place])
                chosen.append(places[place])
        left = len(places) - len(chosen)
    found: list[list[int]] = [[] for _ in images]
    for row, index in sorted(chosen):
        found[row].append(index)
    return found, left


class PatchWriter:
    """Collects patches image after image. ``file`` takes their pixels."""

    def __init__(self, file: BinaryIO, attributes: Attributes) -> None:
        self._file = file
        self._columns: list[Column] = [
            (name, attribute, tuple(options))
            for name, of_class in attributes.items()
            for attribute, options in of_class.items()
        ]
        self._place = {(name, attribute): k for k, (name, attribute, _) in enumerate(self._columns)}
        self._offsets, self._sizes = [0], list[tuple[int, int]]()
        self._boxes, self._items = list[tuple[float, ...]](), list[int]()
        self._names, self._choices = list[str](), list[NDArray[np.int16]]()

    def append(self, item: int, patches: Sequence[Patch]) -> None:
        """Those of the next image, which is item ``item`` of the prepared data."""
        for patch in patches:
            self._file.write(patch.pixels.tobytes())
            self._offsets.append(self._offsets[-1] + patch.pixels.size)
            self._sizes.append((patch.pixels.shape[0], patch.pixels.shape[1]))
            self._boxes.append(patch.box)
            self._items.append(item)
            self._names.append(patch.name)
            row = np.full(len(self._columns), -1, np.int16)
            for attribute, option in patch.options.items():
                column = self._place[patch.name, attribute]
                row[column] = self._columns[column][2].index(option)
            self._choices.append(row)

    def options_of(self, item_splits: Sequence[str]) -> dict[tuple[str, str, str], Counter[str]]:
        """Of each class, attribute and declared option the objects by split, given those of the items."""
        found: dict[tuple[str, str, str], Counter[str]] = {
            (name, attribute, option): Counter()
            for name, attribute, options in self._columns
            for option in options
        }
        for item, row in zip(self._items, self._choices, strict=True):
            for column in np.flatnonzero(row >= 0).tolist():
                name, attribute, options = self._columns[column]
                found[name, attribute, options[row[column]]][item_splits[item]] += 1
        return found

    def labels_of_items(self, count: int, first: int) -> list[set[int]]:
        """Of each item, numbers from ``first`` on that stand for the options in it."""
        numbers: dict[tuple[int, int], int] = {}
        found: list[set[int]] = [set() for _ in range(count)]
        for item, row in zip(self._items, self._choices, strict=True):
            for column in np.flatnonzero(row >= 0).tolist():
                found[item].add(numbers.setdefault((column, int(row[column])), first + len(numbers)))
        return found

    def save(self, path: Path) -> None:
        """Write what is not pixels."""
        np.savez(
            path,
            columns=np.frombuffer(orjson.dumps(self._columns), np.uint8),
            names=np.frombuffer(orjson.dumps(self._names), np.uint8),
            offsets=np.array(self._offsets, np.int64),
            sizes=np.array(self._sizes, np.int32).reshape(-1, 2),
            boxes=np.array(self._boxes, np.float32).reshape(-1, 4),
            items=np.array(self._items, np.int64),
            choices=np.array(self._choices, np.int16).reshape(-1, len(self._columns)),
        )


class Patches:
    """Reads what a ``PatchWriter`` has made. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / INDEX, allow_pickle=False) as kept:
            columns = orjson.loads(kept["columns"].tobytes())
            self.names: list[str] = orjson.loads(kept["names"].tobytes())
            self.boxes, self.items = kept["boxes"], kept["items"]
            self._offsets, self._sizes, self._choices = kept["offsets"], kept["sizes"], kept["choices"]
        self._columns: list[Column] = [(name, a, tuple(options)) for name, a, options in columns]
        with (folder / PIXELS).open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB; do not write into it."""
        height, width = self._sizes[index].tolist()
        flat = np.frombuffer(self._bytes, np.uint8, height * width * 3, int(self._offsets[index]))
        return flat.reshape(height, width, 3)

    def options(self, index: int) -> dict[str, str]:
        """The declared options that an object has, by attribute."""
        row = self._choices[index]
        return {
            self._columns[column][1]: self._columns[column][2][row[column]]
            for column in np.flatnonzero(row >= 0).tolist()
        }

    def targets(self, signature: HeadsSignature) -> NDArray[np.int64]:
        """``[P, heads]``: the place of each object's option among those of the head; -1 where it has none,
        or none that the head knows.
        """
        found = np.full((len(self.names), len(signature.heads)), -1, np.int64)
        for place, head in enumerate(signature.heads):
            column = next(
                k
                for k, (name, attr, _) in enumerate(self._columns)
                if (name, attr) == (head.name, head.attribute)
            )
            declared = self._columns[column][2]
            known = {option: number for number, option in enumerate(head.options)}
            # One more at the end, for those that have no option: -1.
            table = np.array([*(known.get(option, -1) for option in declared), -1], np.int64)
            found[:, place] = table[self._choices[:, column]]
        return found

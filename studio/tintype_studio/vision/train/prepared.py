"""Images laid out for training on the local disk: letterboxed once, read at random many times.

A folder with ``about.json`` (written last: without it the folder is half made), ``objects.npz`` and
``pixels``: plain pixels one after the other, or JPEG files where those would take too much room.
"""

from __future__ import annotations

import mmap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tintype_studio.vision.evaluate.truth import Truth
from tintype_studio.vision.letterbox import scale_of
from tintype_studio.vision.train.patches import Patches
from tintype_studio.vision.train.protocol import Target
from tintype_studio.vision.train.session import Prepared

Rings = list[NDArray[np.float32]]

ABOUT, OBJECTS, PIXELS = "about.json", "objects.npz", "pixels"


@dataclass(frozen=True, slots=True)
class Item:
    """One image."""

    image_id: str
    name: str
    """Folder and file name."""
    width: int
    height: int
    """Of the original, in pixels."""
    split: str


class PreparedData:
    """Reads a folder that ``prepare`` has made. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        about = orjson.loads((folder / ABOUT).read_bytes())
        self.size: int = about["size"]
        self.prepared = Prepared.from_json(about["prepared"])
        self.items = [Item(**each) for each in about["items"]]
        self.splits = {
            split: [i for i, item in enumerate(self.items) if item.split == split]
            for split in ("train", "val", "test")
        }
        self._offsets: list[int] | None = about["offsets"]
        with (folder / PIXELS).open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.patches = Patches(folder) if self.prepared.attributes else None
        with np.load(folder / OBJECTS, allow_pickle=False) as kept:
            self._boxes, self._labels = kept["boxes"], kept["labels"]
            self._starts = kept["starts"]
            self._points = kept["points"]
            self._ring_starts, self._object_rings = kept["ring_starts"], kept["object_rings"]

    def image(self, index: int) -> NDArray[np.uint8]:
        """``[S, S, 3]`` RGB; do not write into it."""
        if self._offsets is None:
            count = self.size * self.size * 3
            pixels = np.frombuffer(self._bytes, np.uint8, count, index * count)
            return pixels.reshape(self.size, self.size, 3)
        import cv2

        data = np.frombuffer(self._bytes, np.uint8)[self._offsets[index] : self._offsets[index + 1]]
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return np.ascontiguousarray(np.asarray(decoded, np.uint8)[..., ::-1])

    def target(self, index: int) -> Target:
        """What is true of the image, in its letterboxed pixels."""
        start, end = self._starts[index], self._starts[index + 1]
        polygons = [self._rings(k) for k in range(start, end)] if len(self._points) else ()
        return Target(self._boxes[start:end], self._labels[start:end], polygons)

    def truth(self, index: int, *, original: bool) -> Truth:
        """For evaluation, in pixels of the original or of the square."""
        target, item = self.target(index), self.items[index]
        if not original:
            return Truth(self.size, self.size, target.boxes, target.labels, target.polygons)
        scale = np.float32(scale_of(item.width, item.height, self.size))
        polygons = [[ring / scale for ring in rings] for rings in target.polygons]
        return Truth(item.width, item.height, target.boxes / scale, target.labels, polygons)

    @property
    def validation(self) -> list[int]:
        """Images to validate on; those trained on where all others were given another split."""
        return self.splits["val"] or self.splits["train"]

    @property
    def testing(self) -> tuple[str, list[int]]:
        """The split to test on, and its images."""
        split = next(s for s in ("test", "val", "train") if self.splits[s])
        return split, self.splits[split]

    def content(self, index: int) -> tuple[int, int]:
        """Width and height of the part of the square that the picture fills."""
        item = self.items[index]
        scale = scale_of(item.width, item.height, self.size)
        return max(1, round(item.width * scale)), max(1, round(item.height * scale))

    def patches_of(self, split: str) -> list[int]:
        """Which patches show objects of the images of a split."""
        if self.patches is None:
            return []
        mine = np.isin(self.patches.items, self.splits[split])
        return [int(index) for index in np.flatnonzero(mine)]

    def _rings(self, thing: int) -> Rings:
        first, last = self._object_rings[thing], self._object_rings[thing + 1]
        return [self._points[self._ring_starts[r] : self._ring_starts[r + 1]] for r in range(first, last)]


class Objects:
    """Collects what is true of image after image, and writes it."""

    def __init__(self) -> None:
        self._boxes: list[NDArray[np.float32]] = []
        self._labels: list[NDArray[np.int64]] = []
        self._polygons: list[Rings] = []

    def append(self, target: Target) -> None:
        """The next image's."""
        self._boxes.append(target.boxes.reshape(-1, 4))
        self._labels.append(target.labels)
        self._polygons += [list(rings) for rings in target.polygons]

    def save(self, path: Path) -> None:
        """Write them all."""
        counts = [len(labels) for labels in self._labels]
        rings = [ring for polygon in self._polygons for ring in polygon]
        np.savez(
            path,
            boxes=np.concatenate([*self._boxes, np.zeros((0, 4))]).astype(np.float32),
            labels=np.concatenate([*self._labels, np.zeros(0)]).astype(np.int64),
            starts=np.cumsum([0, *counts]),
            points=np.concatenate([*rings, np.zeros((0, 2))]).astype(np.float32),
            ring_starts=np.cumsum([0, *(len(ring) for ring in rings)]),
            object_rings=np.cumsum([0, *(len(polygon) for polygon in self._polygons)]),
        )


def write_about(
    folder: Path, *, size: int, prepared: Prepared, items: list[Item], offsets: list[int] | None
) -> None:
    """The file that makes the folder whole."""
    about: dict[str, Any] = {
        "size": size,
        "prepared": prepared.as_json(),
        "items": [asdict(item) for item in items],
        "offsets": offsets,
    }
    (folder / ABOUT).write_bytes(orjson.dumps(about))

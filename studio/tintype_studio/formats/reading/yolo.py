"""YOLO: boxes and outlines in text files, in the layouts of Ultralytics and Darknet.

    data.yaml                               names and folders; or classes.txt, obj.names, *.names
    labels/<split>/<folder>/<stem>.txt      beside images/<split>/<folder>/<stem>.jpg; or beside the image

A line is ``class cx cy w h``, ``class cx cy w h confidence`` or ``class x1 y1 x2 y2 x3 y3 …``, each in
shares of the image's size, which is why the image must be there, in the source or in the dataset. Lines of
keypoints (a ``kpt_shape`` in data.yaml) are a box and its landmarks, in shares as well; those with
visibility 0 are left out.

Splits are told by the folders that data.yaml names, or by folders called train, val or test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import orjson

from tintype_studio.formats.base import SPLITS
from tintype_studio.formats.reading.base import ImportItem, Reader, no_annotations
from tintype_studio.formats.reading.converted import Converted, invalid
from tintype_studio.formats.reading.data_yaml import DataYaml, read_data_yaml, text_lines
from tintype_studio.formats.reading.lookup import Images, place, reference, split_of

if TYPE_CHECKING:
    from tintype_studio.formats.reading.source import Source

MAX_LABEL_BYTES = 64 << 20
_NUMBERS = frozenset({int, float})
_NO_LABELS = frozenset({"classes.txt", "labels.txt"})
_LAYOUT = re.compile(r"images|labels|obj_\w+_data")


class YoloReader(Reader):
    """Reads YOLO labels."""

    format: ClassVar[str] = "yolo"

    def __init__(self, source: Source, names: str) -> None:
        """``names`` is the path of data.yaml or of a list of class names."""
        super().__init__(source)
        self._base = names[: names.rfind("/") + 1]
        data = source.read(names, MAX_LABEL_BYTES)
        if names.endswith((".yaml", ".yml")):
            self._yaml = read_data_yaml(data, names)
        else:
            self._yaml = DataYaml(names=dict(enumerate(text_lines(data, names))))
        self._names = {number: self.list_class(name) for number, name in self._yaml.names.items()}
        inside = [path for path in source.paths if path.startswith(self._base)]
        self._images = Images(inside)
        self._labels = {path[:-4]: path for path in inside if path.endswith(".txt") and self._is_label(path)}
        self._listed = self._read_lists(frozenset(inside))

    def _is_label(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        at_top = path[len(self._base) :] == name
        return not (at_top and name in _NO_LABELS) and not name.lower().startswith(("readme", "license"))

    def _read_lists(self, inside: frozenset[str]) -> dict[str, str]:
        """Splits by image, from the text files that data.yaml names or that stand beside it."""
        found: dict[str, str] = {}
        lists = {f"{split}.txt": split for split in SPLITS} | {"valid.txt": "val"} | self._yaml.lists
        for name, split in lists.items():
            path = self._base + name
            if path not in inside:
                continue
            self._labels.pop(path[:-4], None)
            for line in text_lines(self.source.read(path, MAX_LABEL_BYTES), path):
                image = self._images.find(reference(line), near=path)
                if image is not None:
                    found.setdefault(image, split)
        return found

    def _items(self) -> Iterator[ImportItem]:
        seen: set[str] = set()
        self.counts["no_label"] = 0
        for image in self._images.paths:
            label = self._label_of(image)
            if label is not None:
                seen.add(label)
            else:
                self.counts["no_label"] += 1
            folder, filename, split = self._place(image)
            convert = partial(self._convert, label) if label else no_annotations
            yield ImportItem(folder, filename, image, convert, self._listed.get(image, split))
        for stem, label in self._labels.items():
            if label not in seen:
                folder, filename, split = self._place(stem)
                convert = partial(self._convert, label)
                yield ImportItem(folder, filename, None, convert, split, any_extension=True)

    def _label_of(self, image: str) -> str | None:
        """The label file beside the image, or where ``labels`` stands for the last ``images``."""
        stem = image[: image.rfind(".")]
        head, images, tail = f"/{stem}".rpartition("/images/")
        twin = f"{head}/labels/{tail}"[1:] if images else stem
        return self._labels.get(twin)

    def _place(self, path: str) -> tuple[str, str, str | None]:
        """Folder, name and split of an image: what is left when layout and split are taken off its path."""
        *folders, filename = path[len(self._base) :].split("/")
        split, layout, start = None, False, 0
        for folder in folders:
            if not layout and _LAYOUT.fullmatch(folder):
                layout = True
            elif split is None and split_of(folder):
                split = split_of(folder)
            else:
                break
            start += 1
        folder, filename = place([*folders[start:], filename])
        return folder, filename, split or self._yaml.split_of(folders)

    def _convert(self, path: str, width: int, height: int) -> Converted:
        converted = Converted(width, height)
        points = self._yaml.points
        for number, values in enumerate(_rows(self.source.read(path, MAX_LABEL_BYTES), path), 1):
            if not values:
                continue
            name, shares = self._class(values[0], path, number), values[1:]
            if points is not None:
                self._landmarks(converted, name, shares, width, height, points)
            elif len(shares) in {4, 5}:
                _box(converted, name, shares, width, height)
            elif len(shares) >= 6 and len(shares) % 2 == 0:
                xs, ys = [x * width for x in shares[::2]], [y * height for y in shares[1::2]]
                converted.polygon(None, name, [(xs, ys)])
            else:
                raise invalid(f"Line {number} of {path[:200]} has {len(shares)} numbers after the class.")
        return converted

    def _class(self, number: float, path: str, line: int) -> str:
        try:
            return self._names[int(number)] if number == int(number) else self._names[-1]
        except (ValueError, OverflowError, KeyError):
            raise invalid(
                f"Line {line} of {path[:200]} has the class {number:g}; "
                f"there are {len(self._names)}, counted from 0."
            ) from None

    def _landmarks(
        self,
        converted: Converted,
        name: str,
        shares: list[float],
        width: int,
        height: int,
        shape: tuple[int, int],
    ) -> None:
        count, numbers = shape
        if len(shares) != 4 + count * numbers:
            raise invalid(
                f"A line has {len(shares)} numbers after the class; "
                f"kpt_shape {list(shape)} makes it {4 + count * numbers}."
            )
        _box(converted, name, shares[:4], width, height)
        for start in range(4, len(shares), numbers):
            if numbers == 3 and not shares[start + 2]:
                converted.notice("hidden")
                continue
            converted.keypoint(None, name, shares[start] * width, shares[start + 1] * height)
            converted.notice("landmarks")


def _rows(data: bytes, path: str) -> list[list[float]]:
    """The numbers of each line."""
    data = data.removeprefix(b"\xef\xbb\xbf").rstrip()
    if not data:
        return []
    try:
        # As JSON they are read in a third of the time; most files can be.
        rows = orjson.loads(b"[[%b]]" % data.replace(b" ", b",").replace(b"\n", b"],["))
        if all(_NUMBERS.issuperset(map(type, row)) for row in rows):
            return list(rows)
    except orjson.JSONDecodeError:
        pass
    rows = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            rows.append([*map(float, line.split())])
        except ValueError:
            raise invalid(f"Line {number} of {path[:200]} holds something that is no number.") from None
    return rows


def _box(converted: Converted, name: str, shares: list[float], width: int, height: int) -> None:
    cx, cy, w, h, *confidence = shares
    converted.box(
        None,
        name,
        (cx - w / 2) * width,
        (cy - h / 2) * height,
        w * width,
        h * height,
        confidence=confidence[0] if confidence else None,
    )

"""LabelMe JSON: one file per image, beside it.

    …/<stem>.json       ``{"shapes": […], "imagePath": "a.jpg", "imageData": null or base64, …}``

- ``rectangle``, ``polygon``, ``linestrip``, ``line``, ``point`` and ``points`` are taken as they are;
  ``circle`` becomes a polygon of 64 points, ``oriented_rectangle`` one of four, ``mask`` the outline of its
  pixels.
- Polygons of one ``group_id``, label, flags and score that lie apart become one polygon of several parts.
- ``flags`` that are set become attributes, as do ``description`` and what stands under ``attributes``.
- An image that is only there as ``imageData`` is taken from it.

Folders stay folders; there are no splits, unless the topmost folders are called train, val or test.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from tintype_studio.errors import TintypeError
from tintype_studio.formats.reading.base import ImportItem, Reader, broken, no_annotations, parse_json
from tintype_studio.formats.reading.converted import Converted, invalid, label_of, number
from tintype_studio.formats.reading.data_yaml import text_lines
from tintype_studio.formats.reading.lookup import Images, place, reference, split_of
from tintype_studio.formats.reading.rings import Groups, Ring, oval

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import PolygonGeometry
    from tintype_studio.formats.reading.source import Source

MAX_JSON_BYTES = 96 << 20
"""Of one file, which may hold the image."""


class LabelMeReader(Reader):
    """Reads LabelMe files."""

    format: ClassVar[str] = "labelme"

    def __init__(self, source: Source, files: Sequence[str]) -> None:
        super().__init__(source)
        self._files = sorted(files)
        self._images = Images(source.paths)
        for path in source.paths:
            if path == "labels.txt":
                self._read_labels(path)

    def _read_labels(self, path: str) -> None:
        for name in text_lines(self.source.read(path, MAX_JSON_BYTES), path):
            if name in {"__ignore__", "_background_"} or label_of(name) in {c.name for c in self.classes}:
                continue
            self.list_class(name)

    def _items(self) -> Iterator[ImportItem]:
        listed: set[str] = set()
        for path in self._files:
            try:
                document = parse_json(self.source.read(path, MAX_JSON_BYTES), path)
                shapes = document.get("shapes") if isinstance(document, dict) else None
                if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
                    raise broken(path, "its shapes are no list of objects")
            except TintypeError as error:
                yield ImportItem("/", path, None, no_annotations, error=error)
                continue
            item = self._item(document, path)
            if item.image is not None:
                listed.add(item.image)
            yield item
        self.counts["unlisted"] = len(set(self._images.paths) - listed)

    def _item(self, document: Mapping[str, Any], path: str) -> ImportItem:
        *folders, name = path.split("/")
        stem = name.removesuffix(".json")
        told = document.get("imagePath")
        named = reference(told)[-1:] if isinstance(told, str) else []
        found = self._images.find([*folders, *named], near=path) if named else None
        found = found or self._images.find_stem(stem, near=path)
        split = None
        if folders[:1] == ["images"]:
            folders = folders[1:]
        elif folders and split_of(folders[0]):
            split, folders = split_of(folders[0]), folders[1:]
        filename = found.rpartition("/")[2] if found else (named or [stem])[0]
        data = document.get("imageData")
        embedded = partial(_decoded, data, path) if found is None and isinstance(data, str) and data else None
        size = (document.get("imageWidth"), document.get("imageHeight"))
        return ImportItem(
            place([*folders, filename])[0],
            filename,
            found,
            partial(_convert, document["shapes"]),
            split,
            size=size if all(isinstance(side, int) and side > 0 for side in size) else None,  # type: ignore[arg-type]
            embedded=embedded,
        )


def _decoded(data: str, path: str) -> bytes:
    import base64

    try:
        return base64.b64decode(data, validate=True)
    except ValueError:
        raise broken(path, "its imageData is no base64") from None


def _convert(shapes: list[dict[str, Any]], width: int, height: int) -> Converted:
    converted = Converted(width, height)
    groups = Groups(converted)
    sizes = Counter(str(shape.get("group_id")) for shape in shapes)
    for shape in shapes:
        name, more = converted.label(shape.get("label")), _more(shape)
        kind, group = shape.get("shape_type") or "polygon", shape.get("group_id")
        group = group if sizes[str(group)] > 1 else None  # a group of one tells nothing
        if group is not None and kind == "polygon":
            groups.add(group, name, _ring(shape), more)
            continue
        if group is not None:
            more["attributes"] = [*more["attributes"], {"group_id": group}]
        _add(converted, shape, str(kind), name, more)
    groups.finish()
    return converted


def _add(converted: Converted, shape: dict[str, Any], kind: str, name: str, more: dict[str, Any]) -> None:
    xs, ys = _ring(shape)
    match kind:
        case "rectangle" if len(xs) == 2:
            (x0, x1), (y0, y1) = _numbers(xs), _numbers(ys)
            left, top, w, h = min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)
            converted.box(None, name, left, top, w, h, **more)
        case "polygon" | "oriented_rectangle":
            converted.polygon(None, name, [(xs, ys)], **more)
        case "linestrip" | "line":
            converted.polyline(None, name, xs, ys, **more)
        case "point" | "points":
            for x, y in zip(xs, ys, strict=True):
                converted.keypoint(None, name, x, y, **more)
        case "circle" if len(xs) == 2:
            (x, at_x), (y, at_y) = _numbers(xs), _numbers(ys)
            radius = math.hypot(at_x - x, at_y - y)
            converted.notice("ovals")
            converted.polygon(None, name, [oval(x, y, radius, radius)], **more)
        case "mask" if len(xs) == 2:
            outline = _outline(shape.get("mask"), int(_numbers(xs)[0]), int(_numbers(ys)[0]))
            converted.geometry(None, name, outline, **more)
        case "rectangle" | "circle" | "mask":
            raise invalid(f"A {kind} has {len(xs)} points instead of 2.")
        case _:
            converted.notice("others")


def _ring(shape: Mapping[str, Any]) -> Ring:
    points = shape.get("points")
    try:
        xs, ys = [x for x, _ in points], [y for _, y in points]  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise invalid("The points of a shape are no list of [x, y].") from None
    return xs, ys


def _numbers(values: Sequence[object]) -> list[float]:
    return [number(value, "a coordinate") for value in values]


def _more(shape: Mapping[str, Any]) -> dict[str, Any]:
    flags, kept, text = shape.get("flags"), shape.get("attributes"), shape.get("description")
    attributes: list[Any] = [name for name, on in flags.items() if on] if isinstance(flags, dict) else []
    if kept:
        attributes += kept if isinstance(kept, list) else [kept]
    if text:
        attributes.append({"description": text})
    return {"attributes": attributes, "confidence": shape.get("score")}


def _outline(data: object, left: int, top: int) -> PolygonGeometry | None:
    """The outline of a mask that is a PNG in base64, whose top left pixel is at ``left``, ``top``."""
    import numpy as np

    from tintype_studio.media.inspect import open_header
    from tintype_studio.vision.polygons import mask_to_polygon

    try:
        image, _ = open_header(_decoded(str(data), "the mask"))
        pixels = np.asarray(image.convert("L")) > 0
    except TintypeError as error:
        raise invalid(f"A mask cannot be read: {error.message}") from None
    except (OSError, ValueError, SyntaxError):
        raise invalid("A mask cannot be read: its PNG is damaged.") from None
    return mask_to_polygon(pixels, offset=(left, top), tolerance=0)

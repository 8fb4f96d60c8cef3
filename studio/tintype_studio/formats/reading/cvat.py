"""CVAT for images 1.1: one or more XML files, read as streams.

- ``box`` (a turned one becomes a polygon), ``polygon``, ``polyline``, ``points`` (one keypoint each),
  ``mask`` (the outline of its pixels) and ``ellipse`` (a polygon of 64 points) are taken; ``tag``,
  ``cuboid``, ``skeleton`` and tracks of videos are left out and counted.
- Polygons of one ``group_id``, label and attributes that lie apart become one polygon of several parts.
- Labels come from ``meta`` with their colours, and with the attributes of which one option is chosen (select,
  radio, checkbox); ``subset`` (else the file's name or folder) is the split; the
  path in ``name`` the folder.
- ``attribute`` elements become attributes, as ``formats.attributes`` says; ``occluded`` becomes one, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from xml.etree.ElementTree import Element

import orjson

from tintype_studio.formats.attributes import restore
from tintype_studio.formats.reading.base import ImportItem, Reader, broken, no_annotations
from tintype_studio.formats.reading.class_attributes import CHECKBOX, listed_attributes
from tintype_studio.formats.reading.converted import Converted, invalid, label_of, number
from tintype_studio.formats.reading.lookup import Images, place, reference, split_in, split_of
from tintype_studio.formats.reading.rings import Groups, Ring, outline_of_rows, oval, rotated_box
from tintype_studio.formats.reading.safe_xml import stream_xml

if TYPE_CHECKING:
    from tintype_studio.formats.reading.source import Source

_CHOICES = frozenset({"select", "radio"})
_LEFT_OUT = {"tag": "tags", "cuboid": "others", "skeleton": "skeletons"}


class CvatReader(Reader):
    """Reads XML files of CVAT: first their labels, then the images as they come."""

    format: ClassVar[str] = "cvat"

    def __init__(self, source: Source, files: Sequence[str]) -> None:
        super().__init__(source)
        self._files = sorted(files)
        self._images = Images(source.paths)
        for path in self._files:
            self._read_meta(path)

    def _read_meta(self, path: str) -> None:
        """Labels, which stand before the images."""
        with self.source.open(path) as stream:
            for event, depth, element in stream_xml(stream, path):
                if event == "start" and depth == 0 and element.tag != "annotations":
                    raise broken(path, f"its root is <{element.tag[:40]}>, not <annotations>")
                if element.tag in {"image", "track"} and depth < 2:
                    return
                if event == "end" and element.tag == "label" and element.find("name") is not None:
                    self._label(element)

    def _label(self, element: Element) -> None:
        name = element.findtext("name")
        # Skeletons list their parts as labels of their own; tasks of a project repeat its labels.
        if element.findtext("parent") or label_of(name) in {known.name for known in self.classes}:
            return
        attributes = listed_attributes(map(_attribute, element.iterfind("attributes/attribute")))
        self.list_class(name, element.findtext("color"), attributes=attributes)

    def _items(self) -> Iterator[ImportItem]:
        self.counts["no_split"] = self.counts["tracks"] = 0
        for path in self._files:
            yield from self._of_file(path)

    def _of_file(self, path: str) -> Iterator[ImportItem]:
        root: Element | None = None
        with self.source.open(path) as stream:
            for event, depth, element in stream_xml(stream, path, down_to=1):
                root = element if root is None else root
                if event == "end" and depth == 1:
                    if element.tag == "image":
                        yield self._item(element, path)
                    self.counts["tracks"] += element.tag == "track"
                    root.clear()

    def _item(self, element: Element, path: str) -> ImportItem:
        segments = reference(f"./{element.get('name') or ''}")
        if not segments:
            error = invalid(f"The image {str(element.get('id'))[:40]} has no name.", code="no_file_name")
            name = f"{path} (image {str(element.get('id'))[:40]})"
            return ImportItem("/", name, None, no_annotations, error=error)
        subset = element.get("subset") or ""
        split = split_of(subset) if subset else split_in(path)
        self.counts["no_split"] += split is None and subset not in {"", "default"}
        folder, filename = place(segments)
        found = self._images.find(segments, near=path, split=split)
        try:
            size = int(element.get("width") or 0), int(element.get("height") or 0)
        except ValueError:
            size = (0, 0)
        convert = partial(_convert, list(element))
        return ImportItem(folder, filename, found, convert, split, size=size if all(size) else None)


def _attribute(element: Element) -> tuple[str | None, Sequence[str]]:
    """Name and options of a declared attribute; none for a text or a number."""
    kind, values = element.findtext("input_type"), element.findtext("values") or ""
    if kind == "checkbox":
        return element.findtext("name"), CHECKBOX
    return element.findtext("name"), values.split("\n") if kind in _CHOICES else ()


def _convert(shapes: list[Element], width: int, height: int) -> Converted:
    converted = Converted(width, height)
    groups = Groups(converted)
    sizes = Counter([shape.get("group_id") or "0" for shape in shapes])
    plain = _plain_rings(shapes)
    if plain is not None:
        for shape, ring in zip(shapes, plain, strict=True):
            converted.flat_polygon(None, converted.label(shape.get("label")), [ring])
        return converted
    for shape in shapes:
        if shape.tag in _LEFT_OUT:
            converted.notice(_LEFT_OUT[shape.tag])
            continue
        add = _SHAPES.get(shape.tag)
        if add is None:
            continue
        name, more = converted.label(shape.get("label")), _more(shape)
        group = shape.get("group_id") or "0"
        group = group if sizes[group] > 1 else "0"  # a group of one tells nothing
        if group != "0" and shape.tag == "polygon":
            groups.add(group, name, _points(shape), more)
            continue
        if group != "0":
            more["attributes"] = [*more.get("attributes", []), {"group_id": group}]
        add(converted, shape, name, more)
    groups.finish()
    return converted


def _plain_rings(shapes: list[Element]) -> list[list[float]] | None:
    """The vertices of shapes that are polygons and say no more than their class; None if any is not, or is
    not written in JSON's numbers. Read at once they take half the time.
    """
    for shape in shapes:
        if shape.tag != "polygon" or len(shape) or shape.get("group_id") or shape.get("occluded") == "1":
            return None
    text = "|".join([shape.get("points") or "" for shape in shapes])
    if "[" in text or '"' in text:
        return None
    try:
        rings: list[list[float]] = orjson.loads(f"[[{text.replace(';', ',').replace('|', '],[')}]]")
    except orjson.JSONDecodeError:
        return None
    if len(rings) != len(shapes) or any([len(ring) % 2 for ring in rings]):
        return None
    return rings


def _more(shape: Element) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if len(shape):
        pairs = [(a.get("name") or "", a.text or "") for a in shape.iter("attribute")]
        more["attributes"], more["confidence"] = restore(pairs)
    if shape.get("occluded") == "1":
        more["attributes"] = [*more.get("attributes", []), "occluded"]
    return more


def _flat(shape: Element) -> list[float]:
    text = (shape.get("points") or "").replace(";", ",")
    values: list[float]
    try:
        values = orjson.loads(f"[{text}]")  # in a third of the time that float takes
    except orjson.JSONDecodeError:
        values = _floats(text)
    if len(values) % 2:
        raise invalid(f"The points of a {shape.tag} are no list of x,y;x,y;…")
    return values


def _floats(text: str) -> list[float]:
    """Numbers that are written in other ways than JSON's; one number when some are none."""
    try:
        return [*map(float, text.split(","))]
    except ValueError:
        return [0.0]


def _points(shape: Element) -> Ring:
    values = _flat(shape)
    return values[::2], values[1::2]


def _numbers(shape: Element, *keys: str) -> list[float]:
    return [number(shape.get(key), f"{key} of a {shape.tag}") for key in keys]


def _box(converted: Converted, shape: Element, name: str, more: dict[str, Any]) -> None:
    left, top, right, bottom = _numbers(shape, "xtl", "ytl", "xbr", "ybr")
    turn = number(shape.get("rotation") or 0, "the rotation of a box")
    if turn % 360:
        converted.notice("rotated")
        converted.polygon(None, name, [rotated_box(left, top, right, bottom, turn)], **more)
    else:
        converted.box(None, name, left, top, right - left, bottom - top, **more)


def _polygon(converted: Converted, shape: Element, name: str, more: dict[str, Any]) -> None:
    converted.flat_polygon(None, name, [_flat(shape)], **more)


def _polyline(converted: Converted, shape: Element, name: str, more: dict[str, Any]) -> None:
    converted.polyline(None, name, *_points(shape), **more)


def _keypoints(converted: Converted, shape: Element, name: str, more: dict[str, Any]) -> None:
    xs, ys = _points(shape)
    for x, y in zip(xs, ys, strict=True):
        converted.keypoint(None, name, x, y, **more)
    converted.notice("landmarks", len(xs) if len(xs) > 1 else 0)


def _mask(converted: Converted, shape: Element, name: str, more: dict[str, Any]) -> None:
    left, top, width, height = (int(n) for n in _numbers(shape, "left", "top", "width", "height"))
    try:
        runs = [*map(int, (shape.get("rle") or "").split(","))]
    except ValueError:
        raise invalid("The runs of a mask are no list of whole numbers.") from None
    converted.geometry(None, name, outline_of_rows(runs, left, top, width, height, "a mask"), **more)


def _ellipse(converted: Converted, shape: Element, name: str, more: dict[str, Any]) -> None:
    cx, cy, rx, ry = _numbers(shape, "cx", "cy", "rx", "ry")
    turn = number(shape.get("rotation") or 0, "the rotation of an ellipse")
    converted.notice("ovals")
    converted.polygon(None, name, [oval(cx, cy, rx, ry, turn)], **more)


_SHAPES: dict[str, Callable[[Converted, Element, str, dict[str, Any]], None]] = {
    "box": _box,
    "polygon": _polygon,
    "polyline": _polyline,
    "points": _keypoints,
    "mask": _mask,
    "ellipse": _ellipse,
}

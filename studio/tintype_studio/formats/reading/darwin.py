"""V7 Darwin JSON 2.0: one file per item.

    …/<name>.json       ``{"version": "2.0", "item": {"name", "path", "slots"}, "annotations": […]}``
    images/…            the image files, where the release was downloaded with them

- ``polygon.paths`` are taken as they are, ``bounding_box`` where there is no polygon, ``line.path`` as a
  polyline, ``keypoint`` as a keypoint.
- ``tag``, ``ellipse``, ``mask``, ``raster_layer``, ``skeleton`` and other kinds are left out and counted.
- ``attributes``, ``text``, ``instance_id`` and ``properties`` become attributes, ``inference.confidence``
  the confidence. Properties of which one option is chosen are attributes of their class
  (``darwin_properties``).

Version 1 and versions after 2 are refused, as are videos and items of several slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from tintype_studio.errors import TintypeError, UnsupportedFormat
from tintype_studio.formats.reading.base import ImportItem, Reader, broken, no_annotations, parse_json
from tintype_studio.formats.reading.converted import Converted, invalid, label_of
from tintype_studio.formats.reading.darwin_properties import chosen_of, properties_in
from tintype_studio.formats.reading.lookup import Images, place, reference
from tintype_studio.names import printable

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import ClassAttribute
    from tintype_studio.formats.reading.source import Source

VERSION = "2.0"
MAX_JSON_BYTES = 64 << 20
"""Of one item."""
_LEFT_OUT = {
    "tag": "tags",
    "ellipse": "ellipses",
    "mask": "raster",
    "raster_layer": "raster",
    "skeleton": "skeletons",
}
_KEPT = ("text", "instance_id", "properties")
"""Further members that become attributes."""


class DarwinReader(Reader):
    """Reads a folder of Darwin 2.0 files; their folders in V7 become folders here."""

    format: ClassVar[str] = "darwin"

    def __init__(self, source: Source, files: Sequence[str]) -> None:
        super().__init__(source)
        self._files = sorted(files)
        self._images = Images(source.paths)
        self._properties: dict[str, tuple[ClassAttribute, ...]] = {}
        for name, attributes in properties_in(source).items():
            if label_of(name) not in self._properties:
                self._properties[self.list_class(name, attributes=attributes)] = attributes
        # Another version is one for all files: refused before anything is imported.
        for path in self._files[:1]:
            require_version(parse_json(source.read(path, MAX_JSON_BYTES), path), path)

    def _items(self) -> Iterator[ImportItem]:
        for path in self._files:
            try:
                document = require_version(parse_json(self.source.read(path, MAX_JSON_BYTES), path), path)
                item = document["item"]
                segments = [*reference(f"./{item.get('path') or ''}"), *reference(item["name"])]
                size = _size_of(item)
            except TintypeError as error:
                yield ImportItem("/", path, None, no_annotations, error=error)
                continue
            folder, filename = place(segments)
            found = self._images.find(segments, near=path) or self._slot_file(item, path)
            told = (size[0], size[1]) if size[0] and size[1] else None
            fetched = self._fetched(item) if found is None else None
            convert = partial(self._convert, path)
            yield ImportItem(folder, filename, found, convert, embedded=fetched, size=told)

    def _fetched(self, item: Mapping[str, Any]) -> Callable[[], bytes] | None:
        """How to get an image that the source does not have, for readers that know a way."""
        return None

    def _slot_file(self, item: Mapping[str, Any], near: str) -> str | None:
        """The image under the name of the file that was uploaded to V7."""
        slots = item.get("slots") or [{}]
        files = slots[0].get("source_files") or []
        name = files[0].get("file_name") if files and isinstance(files[0], dict) else None
        return self._images.find(reference(name), near=near) if isinstance(name, str) else None

    def _convert(self, path: str, _width: int, _height: int) -> Converted:
        document = parse_json(self.source.read(path, MAX_JSON_BYTES), path)
        return annotations_of(document, self._properties)


def require_version(document: object, path: str = "the file") -> Mapping[str, Any]:
    """``document`` as a Darwin 2.0 export of one item.

    Raises:
        InvalidInput: it is none.
        UnsupportedFormat: it is of another version (code ``darwin_version``).
    """
    if not isinstance(document, dict):
        raise broken(path, "it is no Darwin JSON: not an object")
    version = document.get("version")
    if version is None and "image" in document:
        version = "1.0"  # the older form did not name itself
    if version != VERSION:
        raise UnsupportedFormat(
            f"{printable(path)[:200]}: Darwin JSON of version {printable(str(version))[:20]!r}; "
            f"only {VERSION} is read.",
            code="darwin_version",
            fix="In V7, export the dataset again as Darwin JSON 2.0.",
        )
    item, annotations = document.get("item"), document.get("annotations", [])
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or not item["name"].strip():
        raise broken(path, "its item has no name")
    if not isinstance(annotations, list) or not all(isinstance(a, dict) for a in annotations):
        raise broken(path, "its annotations are no list of objects")
    return document


def annotations_of(
    document: Mapping[str, Any], properties: Mapping[str, Sequence[ClassAttribute]]
) -> Converted:
    """The annotations of one Darwin 2.0 item; ``properties`` are what may be chosen, by the name of a class.

    Raises:
        InvalidInput: the document is no such item, or an annotation contradicts itself; a video or an item
            of several slots has the code ``unsupported_item``.
        UnsupportedFormat: another version (code ``darwin_version``).
    """
    document = require_version(document)
    width, height = _size_of(document["item"])
    converted = Converted(width, height)
    for entry in document.get("annotations", []):
        _add(converted, entry, properties)
    return converted


def _size_of(item: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Width and height in pixels, where the item tells them."""
    slots = item.get("slots") or [{}]
    if not isinstance(slots, list) or not all(isinstance(slot, dict) for slot in slots):
        raise invalid("The slots of the item are no list of objects.")
    kind = slots[0].get("type", "image")
    if len(slots) > 1 or kind != "image":
        what = f"has {len(slots)} slots" if len(slots) > 1 else f"is of the type {printable(str(kind))[:40]}"
        raise invalid(f"The item {what}; items of one image are read.", code="unsupported_item")
    width, height = slots[0].get("width"), slots[0].get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else (None, None)


def _add(
    converted: Converted, entry: Mapping[str, Any], properties: Mapping[str, Sequence[ClassAttribute]]
) -> None:
    id = entry.get("id")
    if "frames" in entry:
        raise invalid(f"annotation {_shown(id)} is one of a video.", code="unsupported_item")
    polygon, box, line, point = (entry.get(k) for k in ("polygon", "bounding_box", "line", "keypoint"))
    if polygon is None and box is None and line is None and point is None:
        kind = next((kind for kind in _LEFT_OUT if kind in entry), None)
        converted.notice(_LEFT_OUT[kind] if kind else "others")
        return
    if any(kind in entry for kind in ("ellipse", "mask", "raster_layer", "skeleton")):
        # V7 writes an enclosing box beside these; taking it for the shape would tell something else.
        kind = next(kind for kind in _LEFT_OUT if kind in entry)
        converted.notice(_LEFT_OUT[kind])
        return
    name = converted.label(entry.get("name"))
    more = _more(entry, properties.get(name, ()))
    if polygon is not None:
        paths = _member(polygon, "paths", id)
        converted.polygon(id, name, [_path(path, id) for path in paths], **more)
    elif line is not None:
        converted.polyline(id, name, *_path(_member(line, "path", id), id), **more)
    elif point is not None:
        converted.keypoint(id, name, *_pair(point, id), **more)
    else:
        if not isinstance(box, dict):
            raise invalid(f"annotation {_shown(id)}: the bounding box is no object.")
        converted.box(id, name, *(box.get(side) for side in "xywh"), **more)


def _more(entry: Mapping[str, Any], properties: Sequence[ClassAttribute]) -> dict[str, Any]:
    listed = entry.get("attributes") or []
    attributes = [*listed] if isinstance(listed, list) else [listed]
    if properties and isinstance(entry.get("properties"), list):
        options, rest = chosen_of(entry["properties"], properties)
        attributes += options
        entry = {**entry, "properties": rest}
    for key in _KEPT:
        if entry.get(key):
            value = entry[key]
            inner = value.get("value", value.get("text", value)) if isinstance(value, dict) else value
            attributes.append({key: inner})
    inference = entry.get("inference")
    confidence = inference.get("confidence") if isinstance(inference, dict) else None
    return {"attributes": attributes, "confidence": confidence}


def _member(shape: object, key: str, id: object) -> list[Any]:
    value = shape.get(key) if isinstance(shape, dict) else None
    if not isinstance(value, list):
        raise invalid(f"annotation {_shown(id)}: {key!r} is no list.")
    return value


def _path(points: object, id: object) -> tuple[list[float], list[float]]:
    """The points of one path as xs and ys."""
    if not isinstance(points, list):
        raise invalid(f"annotation {_shown(id)}: a path is no list of points.")
    try:
        return [point["x"] for point in points], [point["y"] for point in points]
    except (TypeError, KeyError):
        raise invalid(f"annotation {_shown(id)}: a point has no x or no y.") from None


def _pair(point: object, id: object) -> tuple[float, float]:
    ((x,), (y,)) = _path([point], id)
    return x, y


def _shown(id: object) -> str:
    return printable(str(id))[:40]

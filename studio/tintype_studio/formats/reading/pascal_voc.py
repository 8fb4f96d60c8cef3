"""Pascal VOC: one XML file per image, with the polygons that its users have added to it.

    Annotations/<folder>/<stem>.xml         or beside the images
    ImageSets/Main/<set>.txt                train, val, test; or folders of these names
    labelmap.txt                            classes with their colours, where CVAT or Datumaro wrote it

Coordinates follow the devkit, in which the first pixel has the number 1: ``xmin`` is moved by one, ``xmax``
is not, vertices are. An object with ``polygon`` elements is a polygon of those rings, else a box.
``difficult`` and ``occluded`` become attributes, beside those that stand in ``attributes``; ``part`` elements
are left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar
from xml.etree.ElementTree import Element

from tintype_studio.errors import InvalidInput, TintypeError
from tintype_studio.formats.attributes import restore
from tintype_studio.formats.base import SPLITS
from tintype_studio.formats.reading.base import Convert, ImportItem, Reader, broken, no_annotations
from tintype_studio.formats.reading.converted import Converted, invalid, label_of
from tintype_studio.formats.reading.data_yaml import text_lines
from tintype_studio.formats.reading.lookup import Images, place, reference, split_among, split_of
from tintype_studio.formats.reading.safe_xml import parse_xml
from tintype_studio.formats.reading.voc_plain import PlainObject, plain_objects
from tintype_studio.formats.reading.voc_rings import HELD, parsed_annotation

if TYPE_CHECKING:
    from tintype_studio.formats.reading.source import Source

MAX_XML_BYTES = 32 << 20
_BACKGROUND = "background"
_TRUE = frozenset({"1", "true", "True"})


class PascalVocReader(Reader):
    """Reads Pascal VOC files."""

    format: ClassVar[str] = "pascal_voc"

    def __init__(self, source: Source, files: Sequence[str]) -> None:
        super().__init__(source)
        self._files = sorted(files)
        self._images = Images(source.paths)
        self._splits: dict[str, str] = {}
        for path in source.paths:
            folder, _, name = path.rpartition("/")
            if name == "labelmap.txt":
                self._read_labels(path)
            elif folder.endswith("ImageSets/Main") and name.removesuffix(".txt") in SPLITS:
                for line in text_lines(source.read(path, MAX_XML_BYTES), path):
                    self._splits.setdefault(line.split("  ")[0], name.removesuffix(".txt"))

    def _read_labels(self, path: str) -> None:
        for line in text_lines(self.source.read(path, MAX_XML_BYTES), path):
            name, _, rest = line.partition(":")
            known = {cls.name for cls in self.classes}
            if line.startswith("#") or name == _BACKGROUND or not name or label_of(name) in known:
                continue
            channels = rest.partition(":")[0].split(",")
            is_color = len(channels) == 3 and all(c.isdecimal() and int(c) < 256 for c in channels)
            self.list_class(name, "#" + "".join(f"{int(c):02x}" for c in channels) if is_color else None)

    def _items(self) -> Iterator[ImportItem]:
        listed: set[str] = set()
        for path in self._files:
            try:
                root, convert = _parsed(self.source.read(path, MAX_XML_BYTES), path)
                if root.tag != "annotation":
                    raise broken(path, f"its root is <{root.tag[:40]}>, not <annotation>")
            except TintypeError as error:
                yield ImportItem("/", path, None, no_annotations, error=error)
                continue
            item = self._item(root, convert, path)
            if item.image is not None:
                listed.add(item.image)
            yield item
        self.counts["unlisted"] = len(set(self._images.paths) - listed)

    def _item(self, root: Element, convert: Convert, path: str) -> ImportItem:
        inner = path.removesuffix(".xml").split("/")
        lowered = [segment.lower() for segment in inner]
        start = lowered.index("annotations") + 1 if "annotations" in lowered[:-1] else 0
        stem = "/".join(inner[start:])
        told = reference(f"./{root.findtext('filename') or ''}")
        found = self._images.find(told, near=path) if told else None
        if found is None or found.rpartition("/")[2].rpartition(".")[0] != inner[-1]:
            # Files that were renamed still name the old one inside.
            found = self._images.find_stem(inner[-1], near=path) or found
        folders = inner[start:-1] if start else [f for f in inner[:-1] if not split_of(f)]
        filename = found.rpartition("/")[2] if found else (told or [inner[-1]])[-1]
        folder, _ = place([*(told[:-1] or folders), filename])
        split = self._splits.get(stem) or self._splits.get(inner[-1])
        if not self._splits:
            split = split_among(inner[: start - 1] if start else inner[:-1])
        return ImportItem(folder, filename, found, convert, split, size=_size(root))


def _parsed(data: bytes, path: str) -> tuple[Element, Convert]:
    """The root of a file, perhaps without its objects, and what reads these. Raises as ``parse_xml``."""
    plain = plain_objects(data)
    if plain is not None:
        try:
            return parse_xml(plain[0], path), partial(_convert_plain, plain[1])
        except InvalidInput:
            pass  # the whole file tells the place of the fault
    root, rings = parsed_annotation(data, path)
    return root, partial(_convert, root.findall("object"), rings)


def _size(root: Element) -> tuple[int, int] | None:
    told = root.find("size")
    if told is None:
        return None
    try:
        width, height = int(told.findtext("width") or 0), int(told.findtext("height") or 0)
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def _convert_plain(objects: list[PlainObject], width: int, height: int) -> Converted:
    converted = Converted(width, height)
    for name, occluded, difficult, (left, top, right, bottom), rings in objects:
        more: dict[str, Any] = {}
        flags = (("difficult", difficult), ("occluded", occluded))
        if attributes := [flag for flag, text in flags if text and text.strip().decode() in _TRUE]:
            more = {"attributes": attributes, "confidence": 1.0}
        label = converted.label(name)
        if rings:
            converted.flat_polygon(None, label, rings, **more)
        else:
            converted.box(None, label, left - 1, top - 1, right - left + 1, bottom - top + 1, **more)
    return converted


def _convert(objects: list[Element], rings: list[list[float]], width: int, height: int) -> Converted:
    converted = Converted(width, height)
    for entry in objects:
        first = {child.tag: child for child in entry[::-1]}  # of each name the first
        if "part" in first:
            converted.notice("others", len(entry.findall("part")))
        name, more = converted.label(_text(first.get("name"))), _more(first)
        if "polygon" in first:
            polygons = entry.findall("polygon")
            converted.flat_polygon(None, name, [_ring(polygon, rings) for polygon in polygons], **more)
            continue
        box = first.get("bndbox")
        if box is None:
            raise invalid(f"An object {name[:40]!r} has neither bndbox nor polygon.")
        left, top, right, bottom = _sides(box)
        converted.box(None, name, left - 1, top - 1, right - left + 1, bottom - top + 1, **more)
    return converted


def _text(element: Element | None) -> str | None:
    return None if element is None else element.text or ""


def _sides(box: Element) -> list[float]:
    texts = {child.tag: child.text for child in box[::-1]}
    sides = ("xmin", "ymin", "xmax", "ymax")
    try:
        return [float(texts[side] or "") for side in sides]
    except (KeyError, ValueError):
        return [_number(box, side) for side in sides]


def _number(box: Element, side: str) -> float:
    text = box.findtext(side)
    try:
        return float(text or "")
    except ValueError:
        raise invalid(f"{side} of an object is {str(text)[:40]!r}, not a number.") from None


@lru_cache(maxsize=4096)
def _tags(count: int) -> list[str]:
    return [f"{axis}{n}" for n in range(1, count + 1) for axis in "xy"]


def _ring(polygon: Element, rings: list[list[float]]) -> list[float]:
    """Vertices ``x1, y1, x2, y2, …`` counted from 0, in whatever order they stand."""
    if rings and (place := polygon.get(HELD)):
        return rings[int(place)]
    tags = [child.tag for child in polygon]
    ordered = _tags(len(tags) // 2)
    try:
        values = [float(child.text or "") - 1 for child in polygon]
        if tags == ordered:
            return values
        if len(tags) != len(ordered):
            raise KeyError
        found = dict(zip(tags, values, strict=True))
        return [found[tag] for tag in ordered]
    except ValueError:
        raise invalid("A polygon holds something that is no number.") from None
    except KeyError:
        raise invalid("A polygon is no list of x1, y1, x2, y2, …") from None


def _more(first: dict[str, Element]) -> dict[str, Any]:
    """Attributes and confidence, by the first child of each name; nothing where none is told."""
    attributes: list[Any] = []
    confidence = 1.0
    if (listed := first.get("attributes")) is not None:
        pairs = [(a.findtext("name") or "", a.findtext("value") or "") for a in listed]
        attributes, confidence = restore(pairs)
    for flag in ("difficult", "occluded"):
        element = first.get(flag)
        if element is not None and element.text != "0" and (element.text or "").strip() in _TRUE:
            attributes = [*attributes, flag]
    return {"attributes": attributes, "confidence": confidence} if attributes or confidence < 1 else {}

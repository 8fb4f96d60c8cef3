"""COCO: instances and keypoints. Captions are counted, panoptic files refused.

One or more JSON files, each with ``images``, ``annotations`` and ``categories``; a file's name or its folder
tells the split (``instances_train2017.json``, ``valid/_annotations.coco.json``).

- ``segmentation`` as flat rings becomes a polygon, number for number; readers of COCO unite the rings, so a
  ring inside another one means nothing there and a hole here.
- ``segmentation`` as RLE becomes a mask of the same pixels; in a file that tells another size of the picture
  than it has, the exact outline of them, holes included.
- ``iscrowd`` is kept as an attribute.
- ``bbox`` counts where there is no segmentation.
- ``keypoints`` become one landmark each, named as the category names them; those with visibility 0 do not.
- ``score`` becomes the confidence; ``attributes`` are kept; those of a category, as our own export lists
  them, are what may be chosen.

Ids must be unique and refer to something; an image is failed for what is wrong with its own entries.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from tintype_studio.annotations.masks import outline_of
from tintype_studio.errors import TintypeError, UnsupportedFormat
from tintype_studio.formats.reading.base import (
    ImportItem,
    Reader,
    broken,
    class_twice,
    no_annotations,
    parse_json,
    undisturbed,
)
from tintype_studio.formats.reading.class_attributes import attributes_of_json
from tintype_studio.formats.reading.converted import Converted, invalid, label_of
from tintype_studio.formats.reading.lookup import Images, place, reference, split_in
from tintype_studio.formats.reading.masks import mask_of
from tintype_studio.names import printable

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import ClassAttribute
    from tintype_studio.formats.reading.source import Source

MAX_JSON_BYTES = 512 << 20
_MORE = frozenset({"keypoints", "score", "attributes", "caption"})
_LISTED = 20
"""Ids that one error names."""


class CocoReader(Reader):
    """Reads one or more COCO files."""

    format: ClassVar[str] = "coco"

    def __init__(self, source: Source, files: Sequence[str]) -> None:
        super().__init__(source)
        self._files = [_File.read(source, path) for path in sorted(files)]
        self._images = Images(source.paths)
        for file in self._files:
            for category in file.categories.values():
                if category.name not in {known.name for known in self.classes}:
                    self.list_class(category.told, attributes=category.attributes)
        names = {name for file in self._files for name in file.points}
        for name in sorted(names - {known.name for known in self.classes}):
            self.list_class(name, kind="keypoint")

    def _items(self) -> Iterator[ImportItem]:
        listed: set[str] = set()
        for file in self._files:
            for item in file.items(self._images):
                if item.image is not None:
                    listed.add(item.image)
                yield item
        self.counts["unlisted"] = len(set(self._images.paths) - listed)


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    split: str | None
    categories: dict[int, Category]
    points: tuple[str, ...]
    """Names of keypoints."""
    images: list[dict[str, Any]]
    annotations: dict[int, list[dict[str, Any]]]
    """By the id of the image."""
    twice: frozenset[int]
    """Ids of annotations that occur more than once."""

    @classmethod
    def read(cls, source: Source, path: str) -> _File:
        data = source.read(path, MAX_JSON_BYTES)
        with undisturbed():
            return cls._parsed(data, path)

    @classmethod
    def _parsed(cls, data: bytes, path: str) -> _File:
        document = parse_json(data, path)
        if not isinstance(document, dict):
            raise broken(path, "it is no COCO file: not an object")
        images = _entries(document.get("images"), "images", path)
        annotations = _entries(document.get("annotations", []), "annotations", path)
        if any("segments_info" in entry for entry in annotations[:1]):
            raise UnsupportedFormat(
                f"{printable(path)[:200]} holds panoptic segments, which are not read.",
                fix="Convert it to COCO instances.",
            )
        categories = categories_of(document.get("categories", []), path)
        grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for entry in annotations:
            grouped[entry.get("image_id")].append(entry)  # type: ignore[index]
        ids = [id for entry in annotations if (id := entry.get("id")) is not None]
        twice = () if len(set(ids)) == len(ids) else (id for id, times in Counter(ids).items() if times > 1)
        points = tuple(name for category in categories.values() for name in category.keypoints)
        return cls(path, split_in(path), categories, points, images, grouped, frozenset(twice))

    def items(self, pictures: Images) -> Iterator[ImportItem]:
        ids = Counter(image.get("id") for image in self.images)
        for image in self.images:
            yield self._item(image, pictures, again=ids[image.get("id")] > 1)
        dangling = {id: len(entries) for id, entries in self.annotations.items() if id not in ids}
        if dangling:
            shown = ", ".join(printable(str(id))[:40] for id in list(dangling)[:_LISTED])
            error = invalid(
                f"{sum(dangling.values()):,} annotations of {printable(self.path)[:200]} refer to images "
                f"that it does not list (image_id {shown}); they were left out.",
                code="dangling_id",
            )
            yield ImportItem("/", f"{self.path} (image_id)", None, no_annotations, error=error)

    def _item(self, image: dict[str, Any], pictures: Images, *, again: bool) -> ImportItem:
        name = image.get("file_name")
        segments = reference(name) if isinstance(name, str) else []
        if not segments:
            nameless = invalid(f"The image with the id {_id(image)} has no file_name.", code="no_file_name")
            return ImportItem("/", f"{self.path} (image {_id(image)})", None, no_annotations, error=nameless)
        folder, filename = place(segments)
        found = pictures.find(segments, near=self.path, split=self.split)
        error: TintypeError | None = None
        if again:
            error = invalid(f"The image id {_id(image)} occurs twice.", code="image_twice")
        size = _size(image)
        return ImportItem(
            folder, filename, found, partial(self._convert, image), self.split, size=size, error=error
        )

    def _convert(self, image: dict[str, Any], width: int, height: int) -> Converted:
        entries = self.annotations.get(image.get("id"), [])  # type: ignore[arg-type]
        if self.twice and (twice := [e for e in entries if e.get("id") in self.twice]):
            raise invalid(f"The annotation id {_id(twice[0])} occurs twice in the file.", code="id_twice")
        told = _size(image) or (width, height)
        same = told == (width, height)
        return annotations_of(entries, self.categories, width=told[0], height=told[1], keep_masks=same)


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None


@dataclass(frozen=True, slots=True)
class Category:
    """A category: its class name, and those of its keypoints."""

    name: str
    keypoints: tuple[str, ...] = ()
    told: str = ""
    """The class name as the file has it."""
    attributes: tuple[ClassAttribute, ...] = ()


def categories_of(entries: object, path: str = "categories") -> dict[int, Category]:
    """The categories of a COCO file by id, in their order.

    Raises:
        InvalidInput: an id occurs twice or is no whole number, a name is missing, or two names would be one
            here (``class_twice``).
    """
    found: dict[int, Category] = {}
    names: dict[str, object] = {}
    for entry in _entries(entries, "categories", path):
        label = label_of(entry.get("name"))
        if names.setdefault(label, entry.get("name")) != entry.get("name"):
            raise class_twice(label)
        id, points = entry.get("id"), entry.get("keypoints") or []
        if not isinstance(id, int):
            raise broken(path, f"the category id {str(id)[:40]} is no whole number")
        if id in found:
            raise broken(path, f"the category id {id} occurs twice")
        if not isinstance(points, list):
            raise broken(path, f"the keypoints of category {id} are no list of names")
        keypoints, attributes = tuple(map(label_of, points)), attributes_of_json(entry.get("attributes"))
        found[id] = Category(label, keypoints, entry["name"], attributes)
    return found


def annotations_of(
    annotations: Sequence[Mapping[str, Any]],
    categories: Mapping[int, Category],
    *,
    width: int,
    height: int,
    keep_masks: bool = True,
) -> Converted:
    """The annotations of one COCO image, whose size in the COCO file is ``width`` x ``height`` pixels.

    With ``keep_masks`` off, those become outlines: a mask is of a picture of its own size.

    Raises:
        InvalidInput: an entry contradicts itself, such as by an unknown category or a mask of another size;
            what is wrong with a coordinate is found by ``Converted``.
    """
    converted = Converted(width, height)
    for entry in annotations:
        category = categories.get(entry.get("category_id"))  # type: ignore[arg-type]
        # Most entries are nothing but outlines.
        if category is not None and _MORE.isdisjoint(entry) and not entry.get("iscrowd"):
            segmentation = entry.get("segmentation")
            if isinstance(segmentation, list) and segmentation:
                converted.flat_polygon(entry.get("id"), category.name, _rings(segmentation, entry))
                continue
        if "category_id" not in entry and "caption" in entry:
            converted.notice("captions")
            continue
        if category is None:
            raise invalid(
                f"annotation {_id(entry)} has the category id {str(entry.get('category_id'))[:40]}, "
                "which the file does not list."
            )
        alone = True
        if points := entry.get("keypoints"):
            before = len(converted)
            _landmarks(converted, entry, category, points)
            alone = len(converted) == before
        _shape(converted, entry, category.name, (width, height), alone=alone, keep_masks=keep_masks)
    return converted


def _shape(
    converted: Converted,
    entry: Mapping[str, Any],
    name: str,
    size: tuple[int, int],
    *,
    alone: bool,
    keep_masks: bool,
) -> None:
    """The mask of an annotation, or its box; ``alone`` unless keypoints stand for it already."""
    id, segmentation = entry.get("id"), entry.get("segmentation")
    more: dict[str, Any] = {}
    if "score" in entry:
        more["confidence"] = entry["score"]
    if "attributes" in entry:
        more["attributes"] = entry["attributes"]
    if entry.get("iscrowd"):
        converted.notice("crowds")
        kept = more.get("attributes") or []
        more["attributes"] = [*(kept if isinstance(kept, list) else [kept]), {"iscrowd": True}]
    if isinstance(segmentation, dict):
        mask = mask_of(segmentation, *size, f"annotation {_id(entry)}")
        if keep_masks:
            converted.mask(id, name, mask, **more)
        else:
            converted.geometry(id, name, None if mask is None else outline_of(mask), **more)
        return
    if segmentation:
        converted.flat_polygon(id, name, _rings(segmentation, entry), **more)
        return
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        if alone:
            raise invalid(f"annotation {_id(entry)} has neither a segmentation nor a box of four numbers.")
        return
    if alone or (box[2] and box[3]):
        converted.box(id, name, *box, **more)


def _rings(segmentation: object, entry: Mapping[str, Any]) -> list[list[float]]:
    rings: list[Any] = segmentation if isinstance(segmentation, list) else [None]
    for flat in rings:
        if type(flat) is not list or len(flat) % 2:
            raise invalid(f"annotation {_id(entry)}: a ring is no list of x, y, x, y, …")
    return rings


def _landmarks(converted: Converted, entry: Mapping[str, Any], category: Category, points: object) -> None:
    if not isinstance(points, list) or len(points) % 3:
        raise invalid(f"annotation {_id(entry)}: keypoints are no list of x, y, visibility, …")
    triplets = list(zip(points[::3], points[1::3], points[2::3], strict=True))
    more = {"confidence": entry.get("score"), "attributes": entry.get("attributes")}
    if len(triplets) > 1:
        more = {}
    for number, (x, y, visibility) in enumerate(triplets):
        if not visibility:
            converted.notice("hidden")
            continue
        name = category.keypoints[number] if number < len(category.keypoints) else category.name
        id: object = entry.get("id") if len(triplets) == 1 else f"{_id(entry)}-{number + 1}"
        converted.keypoint(id, name, x, y, **more)
        converted.notice("landmarks", len(triplets) > 1)


def _id(entry: Mapping[str, Any]) -> str:
    return printable(str(entry.get("id")))[:40]


def _entries(value: object, key: str, path: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise broken(path, f"{key!r} is no list of objects")
    return value

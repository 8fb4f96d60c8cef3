"""Pictograph JSON, as ``formats.pictograph`` writes it: nothing is lost.

dataset.json                            classes and the list of images
annotations/<folder>/<filename>.json    one plain array per image
images/<folder>/<filename>              unless images were left out
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError

from tintype_studio.annotations.geometry import AnnotationList, enclosing_box, has_place, with_box
from tintype_studio.errors import InvalidInput
from tintype_studio.formats.reading.base import ImportItem, Reader, broken, no_annotations, parse_json
from tintype_studio.formats.reading.class_attributes import attributes_of_json
from tintype_studio.formats.reading.converted import Converted, invalid, label_of
from tintype_studio.formats.reading.lookup import reference
from tintype_studio.names import clean_name, printable

if TYPE_CHECKING:
    from tintype_studio.formats.reading.source import Source

MAX_JSON_BYTES = 512 << 20
_STATUSES = frozenset({"new", "annotate", "review", "complete"})
_TYPES = frozenset({"bbox", "polygon", "polyline", "keypoint"})
"""Of classes."""


class PictographReader(Reader):
    """Reads the export of this platform."""

    format: ClassVar[str] = "pictograph"

    def __init__(self, source: Source, path: str) -> None:
        super().__init__(source)
        self._base = path.removesuffix("dataset.json")
        self._paths = frozenset(source.paths)
        document = parse_json(source.read(path, MAX_JSON_BYTES), path)
        images = document.get("images") if isinstance(document, dict) else None
        if not isinstance(images, list) or document.get("format") != "pictograph":
            raise broken(path, "it is no dataset.json of an export: it has no list of images")
        self._images: list[Any] = images
        for entry in document.get("classes") or []:
            if not isinstance(entry, dict):
                raise broken(path, "a class is no object")
            kind = entry.get("type")
            kind = kind if kind in _TYPES else None
            attributes = attributes_of_json(entry.get("attributes"))
            self.list_class(entry.get("name"), entry.get("color"), kind, attributes)

    def _items(self) -> Iterator[ImportItem]:
        for number, entry in enumerate(self._images, 1):
            if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
                error = invalid(f"Image {number} of dataset.json has no filename.", code="no_file_name")
                yield ImportItem("/", f"dataset.json (image {number})", None, no_annotations, error=error)
                continue
            yield self._item(entry)

    def _item(self, entry: Mapping[str, Any]) -> ImportItem:
        folder, split, status = entry.get("folder") or "/", entry.get("split"), entry.get("status")
        image, annotations = self._member(entry.get("image")), self._member(entry.get("annotations"))
        error = None
        if not isinstance(folder, str) or not _is_group(split) or status not in {*_STATUSES, None}:
            error = invalid(
                "Its folder, split or status in dataset.json makes no sense.", code="broken_entry"
            )
            folder, split, status = str(folder), None, None
        elif entry.get("annotations") and annotations is None:
            shown = printable(str(entry["annotations"]))[:200]
            error = invalid(f"Its annotations {shown!r} are not there.", code="annotations_missing")
        convert = partial(self._convert, annotations) if annotations else no_annotations
        return ImportItem(folder, entry["filename"], image, convert, split, status, error=error)

    def _member(self, value: object) -> str | None:
        if not isinstance(value, str):
            return None
        path = self._base + "/".join(reference(f"./{value}"))
        return path if path in self._paths else None

    def _convert(self, path: str, width: int, height: int) -> Converted:
        """The array as it is: a class name may be changed, everything else must be right."""
        entries = parse_json(self.source.read(path, MAX_JSON_BYTES), path)
        converted = Converted(width, height)
        try:
            document = AnnotationList.model_validate({"annotations": entries})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"][1:]))
            raise invalid(f"{where or 'The annotations'}: {first['msg']}") from None
        for annotation in document.annotations:
            label = label_of(annotation.name)
            converted.notice("labels", label != annotation.name)
            annotation.name = label
            if annotation.mask is not None and annotation.mask.size != [height, width]:
                raise invalid(
                    f"annotation {printable(annotation.id)[:40]}: its mask is {annotation.mask.size}, not "
                    f"[{height}, {width}] as the image."
                )
            bounds = None
            if has_place(annotation):
                x, y, w, h = enclosing_box(annotation)
                bounds = (x, y, x + w, y + h)
            kept = with_box(annotation).model_dump(mode="json", exclude_none=True)
            converted.document(kept, bounds)
        return converted


def _is_group(split: object) -> bool:
    """Whether it can be the name of a group, or is none."""
    if split is None:
        return True
    try:
        return isinstance(split, str) and bool(clean_name(split, "Group"))
    except InvalidInput:
        return False

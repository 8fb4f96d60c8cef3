"""LabelMe 5 JSON: one file per image, beside it.

    images/<folder>/<stem>.json             shapes, and the image's name and size
    images/<folder>/<filename>              if images are included
    labels.txt                              classes, for LabelMe's option --labels

``imagePath`` is the image's name, relative to its JSON; ``imageData`` is null.

- A box is a ``rectangle``, a polyline a ``linestrip``, a keypoint a ``point``, all in exact coordinates.
- A polygon of several rings that lie apart becomes polygons of one ``group_id``.
- A polygon with holes becomes a ``mask``, for a LabelMe polygon is one outline; the part outside the image
  is cut off.
- Attributes that are plain words are the shape's ``flags``; other ones are kept, as is a confidence below
  1, under the added keys ``attributes`` and ``score``, which LabelMe carries along.

A second image of the same stem is renamed (``a_2.png``). LabelMe knows no splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    KeypointAnnotation,
    PolygonAnnotation,
    PolylineAnnotation,
)
from tintype_studio.formats.base import ExportItem, ExportWriter, counted, folder_segments, to_json
from tintype_studio.formats.regions import Mask, is_whole, mask_of, region_notes
from tintype_studio.formats.shapes import ring_of
from tintype_studio.formats.stems import Stems

VERSION = "5.5.0"
"""Of LabelMe, whose files these are like."""


class LabelMeWriter(ExportWriter):
    """Writes LabelMe JSON."""

    format: ClassVar[str] = "labelme"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stems = Stems()

    def _add(self, item: ExportItem, annotations: Sequence[Annotation]) -> None:
        stem, extension = self._stems.place("images", folder_segments(item.folder), item.filename)
        self.counts["splits"] += item.split is not None
        shapes: list[dict[str, Any]] = []
        for annotation in annotations:
            shapes += self._shapes(annotation, item, len(shapes) + 1)
        document: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": f"{stem.rpartition('/')[2]}{extension}",
            "imageData": None,
            "imageHeight": item.height,
            "imageWidth": item.width,
        }
        self.archive.write(f"{stem}.json", to_json(document))
        self.store_image(item, f"{stem}{extension}")

    def _shapes(self, annotation: Annotation, item: ExportItem, group: int) -> list[dict[str, Any]]:
        """The shapes of one annotation; ``group`` is a number that no other annotation of the image has."""
        match annotation:
            case PolygonAnnotation():
                shapes = self._polygon(annotation, item, group)
            case BBoxAnnotation(bounding_box=box):
                corners = [[box.x, box.y], [box.x + box.w, box.y + box.h]]
                shapes = [{"points": corners, "shape_type": "rectangle"}]
            case PolylineAnnotation():
                path = [[p.x, p.y] for p in annotation.polyline.path]
                shapes = [{"points": path, "shape_type": "linestrip"}]
            case KeypointAnnotation(keypoint=point):
                shapes = [{"points": [[point.x, point.y]], "shape_type": "point"}]
        if not shapes:
            self.counts["outside"] += 1
            self.left_out += 1
            return []
        self.written += 1
        flags, rest = _flags_and_rest(annotation.attributes)
        base = {"label": annotation.name, "group_id": None, "description": "", "flags": flags, "mask": None}
        extra: dict[str, Any] = {"attributes": rest} if rest else {}
        if annotation.confidence < 1:
            extra["score"] = annotation.confidence
        return [{**base, **shape, **extra} for shape in shapes]

    def _polygon(self, annotation: PolygonAnnotation, item: ExportItem, group: int) -> list[dict[str, Any]]:
        paths = annotation.polygon.paths
        if len(paths) == 1:
            return [{"points": [[p.x, p.y] for p in paths[0]], "shape_type": "polygon"}]
        rings = [ring_of(path) for path in paths]
        if is_whole(rings):
            self.counts["parts"] += 1
            return [
                {"points": [[p.x, p.y] for p in path], "shape_type": "polygon", "group_id": group}
                for path in paths
            ]
        mask = mask_of(rings, item.width, item.height)
        if mask is None:
            return []
        self.counts["masks"] += 1
        corners = [[mask.left, mask.top], [mask.left + mask.width - 1, mask.top + mask.height - 1]]
        return [{"points": corners, "shape_type": "mask", "mask": _png_base64(mask)}]

    def _finish(self) -> None:
        self.archive.write("labels.txt", "".join([f"{cls.name}\n" for cls in self.classes]).encode())

    def _notes(self) -> list[str]:
        notes = region_notes(self.counts, "LabelMe")
        if n := self.counts["splits"]:
            notes.append(
                f"{counted(n, 'image', 'images')} lost the split (train, val, test): LabelMe has none."
            )
        return notes + self._stems.notes()


def _flags_and_rest(attributes: list[Any]) -> tuple[dict[str, bool], list[Any]]:
    """Leading plain words, each once, as flags, and what follows."""
    flags: dict[str, bool] = {}
    for number, entry in enumerate(attributes):
        if not isinstance(entry, str) or entry in flags:
            return flags, attributes[number:]
        flags[entry] = True
    return flags, []


def _png_base64(mask: Mask) -> str:
    import base64
    import io

    import numpy as np
    from PIL import Image

    filled = np.arange(len(mask.counts)) % 2 == 1
    pixels = np.repeat(filled, mask.counts).reshape(mask.height, mask.width)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()

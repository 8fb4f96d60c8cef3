"""Pictograph JSON: the platform's own format, which loses nothing.

    dataset.json                            name, classes and the list of images
    annotations/<folder>/<filename>.json    one plain array per image
    images/<folder>/<filename>              if images are included

The name of an annotation file keeps the image's extension, so that ``a.jpg`` and ``a.png`` do not meet.
Optional keys without a value (``created_by``, a ``bounding_box`` that was never computed, ``object_id``) are
left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tintype_studio.catalog.datasets import DatasetClass
from tintype_studio.formats.base import ExportItem, ExportWriter, folder_segments, member_path, to_json

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Annotation


_OPTIONAL = ("created_by", "bounding_box", "object_id", "box3d", "mask")


def annotation_json(annotation: Annotation) -> bytes:
    """One annotation as compact JSON; floats are written so that they read back equal."""
    absent = {key for key in _OPTIONAL if getattr(annotation, key, "") is None}
    return annotation.model_dump_json(exclude=absent).encode()


class PictographWriter(ExportWriter):
    """Writes Pictograph JSON. ``finish`` has no notes: the format holds everything."""

    format: ClassVar[str] = "pictograph"
    lists_attributes: ClassVar[bool] = True
    takes_all: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._listing = self.spool(separator=b",\n")

    def _add(self, item: ExportItem, annotations: Sequence[Annotation]) -> None:
        segments = folder_segments(item.folder)
        image_path = member_path("images", segments, item.filename)
        annotation_path = member_path("annotations", segments, f"{item.filename}.json")
        array = b"[" + b",\n".join([annotation_json(a) for a in annotations]) + b"]\n"
        self.archive.write(annotation_path, array)
        self.store_image(item, image_path)
        record = {
            "id": item.image_id,
            "filename": item.filename,
            "folder": item.folder,
            "width": item.width,
            "height": item.height,
            "status": item.status,
            "split": item.split,
            "annotations": annotation_path,
            "image": image_path if item.image is not None else None,
        }
        self._listing.append(to_json(record))
        self.written += len(annotations)

    def _finish(self) -> None:
        head = {
            "format": self.format,
            "name": self.dataset_name,
            "created_at": self.archive.created_at.isoformat(),
            "classes": [DatasetClass(c.name, c.type, c.color, c.attributes).as_json() for c in self.classes],
        }
        self.archive.write_chunks(
            "dataset.json", [to_json(head)[:-1] + b',"images":[\n', self._listing, b"\n]}\n"]
        )

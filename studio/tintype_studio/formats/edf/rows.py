"""Rows of the table as objects, and documents as rows.

A row is one annotation of a sample with everything that is said of the sample; a sample without annotations
has one row without a label and a place. Coordinates of a row are shares of the picture in float32; documents
have pixels (``shares``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

Document: TypeAlias = dict[str, Any]
"""One annotation as it is kept (``annotations.documents.as_text``)."""

if TYPE_CHECKING:
    from tintype_studio.formats.edf.shares import Pixels

UNLABELED = "unlabeled"
"""The class here of what has no label there."""


@dataclass(slots=True)
class EdfRow:
    """One row; None is what is not said.

    ``polygon``: rings ``x, y, x, y, …``; ``mask``: a PNG; ``box2d``: centre, width, height; all shares of
    the picture. ``box3d``: centre, width, height, length in metres. ``location``: latitude and longitude;
    ``pose``: roll, pitch, yaw in degrees, whatever the order of the file.
    """

    name: str
    frame: int | None = None
    object_id: str | None = None
    label: str | None = None
    label_index: int | None = None
    group: str | None = None
    polygon: Sequence[Sequence[float]] | None = None
    mask: bytes | None = None
    box2d: Sequence[float] | None = None
    box3d: Sequence[float] | None = None
    polygon_score: float | None = None
    mask_score: float | None = None
    box2d_score: float | None = None
    box3d_score: float | None = None
    size: Sequence[int] | None = None
    location: Sequence[float] | None = None
    pose: Sequence[float] | None = None
    degradation: str | None = None
    ignore: bool | None = None
    iscrowd: bool | None = None
    exclude: bool | None = None
    truncation: int | None = None
    occlusion: int | None = None
    category_frequency: str | None = None
    neg_label_indices: Sequence[int] | None = None
    not_exhaustive_label_indices: Sequence[int] | None = None
    timing: Mapping[str, int | None] | None = None
    x_file_name: str | None = None
    x_area: float | None = None
    x_image: str | None = None
    x_annotation: str | None = None

    @property
    def says_annotation(self) -> bool:
        """Whether the row is an annotation, not only the sample without one."""
        return any(
            value is not None
            for value in (self.label, self.polygon, self.mask, self.box2d, self.box3d, self.x_annotation)
        )


FIELDS = tuple(field.name for field in fields(EdfRow))


@dataclass(frozen=True, slots=True)
class SampleFacts:
    """What the rows of one sample say of it.

    ``size``: width and height in pixels, None where unknown; ``more`` is what the format has no place for,
    kept as JSON in the first row.
    """

    name: str
    frame: int | None = None
    group: str | None = None
    size: tuple[int, int] | None = None
    location: tuple[float, float] | None = None
    pose: tuple[float, float, float] | None = None
    degradation: str | None = None
    neg_label_indices: tuple[int, ...] | None = None
    not_exhaustive_label_indices: tuple[int, ...] | None = None
    file_name: str | None = None
    more: Mapping[str, Any] | None = None


def rows_of(sample: SampleFacts, documents: Sequence[Document], labels: Mapping[str, int]) -> list[EdfRow]:
    """The rows of a sample, at least one, of its annotations as they are kept.

    ``labels`` are classes and their indices.
    """
    from tintype_studio.formats.edf.facts import as_json

    geometry = _Geometry(documents, sample.size or (1, 1))
    rows = [_row(sample, document, labels, geometry, n) for n, document in enumerate(documents)]
    if not rows:
        rows = [_sample_row(sample)]
    rows[0].x_image = as_json(sample.more or {})
    return rows


def _sample_row(sample: SampleFacts) -> EdfRow:
    return EdfRow(
        sample.name,
        frame=sample.frame,
        group=sample.group,
        size=sample.size,
        location=sample.location,
        pose=sample.pose,
        degradation=sample.degradation,
        neg_label_indices=sample.neg_label_indices,
        not_exhaustive_label_indices=sample.not_exhaustive_label_indices,
        x_file_name=sample.file_name,
    )


def _row(
    sample: SampleFacts, document: Document, labels: Mapping[str, int], geometry: _Geometry, number: int
) -> EdfRow:
    from tintype_studio.formats.edf.facts import SCORE_OF, as_json, attributes_of, put_entries
    from tintype_studio.formats.edf.shares import shortest, single

    row, leading = _sample_row(sample), document["type"]
    told: dict[str, Any] = {"id": document["id"]}
    if document["name"] != UNLABELED:
        row.label, row.label_index = document["name"], labels.get(document["name"])
    row.object_id = document.get("object_id")
    attributes = document.get("attributes") or []
    put_entries(row, attributes, leading)
    if attributes_of(row, leading, {}) != attributes:
        told["attributes"] = attributes
    if (confidence := document.get("confidence", 1.0)) < 1:
        column = SCORE_OF.get(leading)
        if column is not None:
            setattr(row, column, single(confidence))
        if column is None or shortest(single(confidence)) != confidence:
            told["confidence"] = confidence
    for name in ("created_by", "polyline", "keypoint"):
        if name in document:
            told[name] = document[name]
    geometry.put(row, document, told, number)
    if told.keys() == {"id"} and told["id"] == row.object_id:
        told = {}
    if leading == "tag" and row.label is None:
        told["type"] = "tag"  # else nothing would say that there is an annotation
    row.x_annotation = as_json(told)
    return row


class _Geometry:
    """Places of the documents of one sample as shares, all outlines at once."""

    def __init__(self, documents: Sequence[Document], size: tuple[int, int]) -> None:
        import numpy as np

        from tintype_studio.formats.edf.shares import box_shares, boxes, pixels, shares

        self._size = size
        paths = [document["polygon"]["paths"] if "polygon" in document else () for document in documents]
        flat = [[number for p in path for number in (p["x"], p["y"])] for each in paths for path in each]
        self._rings = np.concatenate([[0], np.cumsum([len(each) for each in paths])]).astype(int)
        self._ends = np.concatenate([[0], np.cumsum([len(ring) for ring in flat])]).astype(int)
        points = np.array([number for ring in flat for number in ring], dtype=np.float64).reshape(-1, 2)
        held = shares(points, np.array(size, dtype=np.float64))
        self._points, self._shares = points.reshape(-1), held.reshape(-1)
        self._exact = pixels(held, np.array(size, dtype=np.float64)).reshape(-1) == self._points
        told = [document.get("bounding_box") for document in documents]
        self._boxes: Pixels = np.array(
            [(box["x"], box["y"], box["w"], box["h"]) if box else (0, 0, 1, 1) for box in told],
            dtype=np.float64,
        ).reshape(-1, 4)
        sizes = np.broadcast_to(np.array(size, dtype=np.float64), (len(told), 2))
        self._box_shares = box_shares(self._boxes, sizes)
        self._boxes_exact = (boxes(self._box_shares, sizes) == self._boxes).all(axis=1)

    def put(self, row: EdfRow, document: Document, told: dict[str, Any], number: int) -> None:
        """Set the places of one row, and tell what its columns cannot say exactly."""
        if "polygon" in document:
            first, last = self._rings[number], self._rings[number + 1]
            bounds = [(self._ends[n], self._ends[n + 1]) for n in range(first, last)]
            row.polygon = [self._shares[a:b].tolist() for a, b in bounds]
            if not self._exact[bounds[0][0] : bounds[-1][1]].all():
                told["polygon"] = [self._points[a:b].tolist() for a, b in bounds]
        if "bounding_box" in document:
            row.box2d = self._box_shares[number].tolist()
            if not self._boxes_exact[number]:
                told["bounding_box"] = self._boxes[number].tolist()
        elif "polyline" in document:
            _enclose(row, document["polyline"]["path"], self._size)
        if (box := document.get("box3d")) is not None:
            from tintype_studio.formats.edf.shares import shortest, single

            values = [box[name] for name in BOX3D]
            row.box3d = [single(value) for value in values]
            if [shortest(value) for value in row.box3d] != values:
                told["box3d"] = values
        if (mask := document.get("mask")) is not None:
            from tintype_studio.annotations.geometry import Mask
            from tintype_studio.annotations.masks import png_of

            row.mask = png_of(Mask.model_validate(mask))


BOX3D = ("x", "y", "z", "w", "h", "l")


def _enclose(row: EdfRow, path: Sequence[Mapping[str, float]], size: tuple[int, int]) -> None:
    """Give a line the box around it, for readers that know no lines."""
    import numpy as np

    from tintype_studio.formats.edf.shares import box_shares

    points = np.array([(p["x"], p["y"]) for p in path], dtype=np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    if (high > low).all():
        box = np.concatenate([low, high - low])[None]
        row.box2d = box_shares(box, np.array([size], dtype=np.float64))[0].tolist()


def facts_of_rows(rows: Sequence[EdfRow]) -> SampleFacts:
    """What rows of one sample say of it: of each fact the first row that says it."""
    from tintype_studio.formats.edf.facts import of_json

    def first(name: str) -> Any:
        return next((value for row in rows if (value := getattr(row, name)) is not None), None)

    def listed(name: str) -> Any:
        value = first(name)
        return None if value is None else tuple(value)

    size = listed("size")
    return SampleFacts(
        rows[0].name,
        rows[0].frame,
        first("group"),
        size if size and all(size) else None,
        listed("location"),
        listed("pose"),
        first("degradation"),
        listed("neg_label_indices"),
        listed("not_exhaustive_label_indices"),
        first("x_file_name"),
        of_json(first("x_image")) or None,
    )

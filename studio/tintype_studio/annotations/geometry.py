"""Strict geometry models for annotations.

All 2-D coordinates are pixels of the upright image (EXIF orientation applied), origin at the top left corner
of the top left pixel, x to the right and y down; sub-pixel values are allowed. 3-D boxes are metres of the
sensor's frame: x forward, y left, z up. Unknown keys, NaN and infinity are refused.

The type of an annotation names its leading geometry. An object that was seen by several sensors is one
annotation: any type may carry a 3-D box or a mask besides.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)

from tintype_studio.errors import InvalidInput

MAX_COORDINATE = 1e6
"""Pixels; larger magnitudes are mistakes, not pictures."""

MAX_POINTS = 100_000
"""Points in one annotation."""

# The bounds only catch mistakes; repeating them for every coordinate would triple the schema agents read.
Coordinate = Annotated[
    float,
    Field(ge=-MAX_COORDINATE, le=MAX_COORDINATE, allow_inf_nan=False),
    WithJsonSchema({"type": "number"}),
]
Extent = Annotated[
    float,
    Field(gt=0, le=2 * MAX_COORDINATE, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _storable(values: list[Any]) -> list[Any]:
    """Refuse what JSON would silently change or cannot hold: NaN, integers over 64 bits, deep nesting."""
    try:
        same = not values or orjson.loads(orjson.dumps(values)) == values
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise ValueError("holds a value that JSON cannot carry (NaN, infinity, an integer over 64 bits)")
    return values


Label = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=120),
    AfterValidator(_composed),  # class names are stored so; two spellings of one name must meet
]

# Any JSON is kept; agents are shown the two forms that make sense.
_Attribute = Annotated[
    Any, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": True}]})
]
Attributes = Annotated[list[_Attribute], Field(max_length=200), AfterValidator(_storable)]


class Strict(BaseModel):
    """Base: unknown keys are an error."""

    model_config = ConfigDict(extra="forbid")


class Point(Strict):
    """A position in pixels."""

    x: Coordinate
    y: Coordinate


class BoundingBox(Strict):
    """An axis-aligned rectangle: top left corner, width and height, in pixels."""

    x: Coordinate
    y: Coordinate
    w: Extent
    h: Extent


Ring = Annotated[list[Point], Field(min_length=3, max_length=MAX_POINTS)]


class PolygonGeometry(Strict):
    """Rings of at least three points. Filled by the even-odd rule, so an inner ring is a hole."""

    paths: Annotated[list[Ring], Field(min_length=1, max_length=10_000)]


class PolylineGeometry(Strict):
    """An open path of at least two points."""

    path: Annotated[list[Point], Field(min_length=2, max_length=MAX_POINTS)]


class Box3d(Strict):
    """An upright box in space: its centre, and its extents along y (``w``), z (``h``) and x (``l``)."""

    x: Coordinate
    y: Coordinate
    z: Coordinate
    w: Extent
    h: Extent
    l: Extent  # noqa: E741  (the field's name for a length)


MAX_MASK_TEXT = 4_000_000
"""Characters of one run-length code."""


class Mask(Strict):
    """Pixels of a picture as COCO's compressed run-length code: runs down the columns, the first one empty
    pixels. ``annotations/masks.py`` reads and writes it.
    """

    size: Annotated[list[Annotated[int, Field(ge=1, le=100_000)]], Field(min_length=2, max_length=2)] = Field(
        description="Height and width of the picture."
    )
    counts: Annotated[str, StringConstraints(min_length=1, max_length=MAX_MASK_TEXT, pattern=r"^[0-o]+$")]

    @model_validator(mode="after")
    def _runs_make_the_picture(self) -> Mask:
        from tintype_studio.annotations.masks import area_of

        try:
            marked = area_of(self)
        except InvalidInput as error:
            raise ValueError(error.message) from None
        if not marked:
            raise ValueError("the mask marks no pixel")
        return self


class _Annotation(Strict):
    id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=128)] = Field(
        description="Unique within the image; a UUID is best."
    )
    name: Label = Field(description="Class label; must be a class of the dataset.")
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    created_by: Annotated[str, StringConstraints(max_length=128)] | None = None
    attributes: Attributes = Field(default_factory=list, description="User-defined metadata, kept as it is.")
    object_id: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = Field(
        default=None, description="The same for one object through the frames of a sequence."
    )
    box3d: Box3d | None = None
    mask: Mask | None = None


class BBoxAnnotation(_Annotation):
    """A box around an object."""

    type: Literal["bbox"] = "bbox"
    bounding_box: BoundingBox


class PolygonAnnotation(_Annotation):
    """An outline, holes allowed."""

    type: Literal["polygon"] = "polygon"
    polygon: PolygonGeometry
    bounding_box: BoundingBox | None = None


class PolylineAnnotation(_Annotation):
    """An open line, such as a lane marking."""

    type: Literal["polyline"] = "polyline"
    polyline: PolylineGeometry
    bounding_box: BoundingBox | None = None


class KeypointAnnotation(_Annotation):
    """A single landmark."""

    type: Literal["keypoint"] = "keypoint"
    keypoint: Point


class MaskAnnotation(_Annotation):
    """The pixels of an object."""

    type: Literal["mask"] = "mask"
    mask: Mask
    bounding_box: BoundingBox | None = None


class Box3dAnnotation(_Annotation):
    """An object in space that is not marked in the picture."""

    type: Literal["box3d"] = "box3d"
    box3d: Box3d


class TagAnnotation(_Annotation):
    """A label of the whole sample, without a place."""

    type: Literal["tag"] = "tag"


GEOMETRIES = ("polygon", "polyline", "keypoint", "mask", "bounding_box", "box3d")
"""Members that say where, in the order in which they name the type of an annotation that has several."""


def typed_by_geometry(value: Any) -> Any:
    """Fill in a missing ``type`` from the geometry that is present, as the seed's examples leave it out."""
    if isinstance(value, dict) and "type" not in value:
        for kind in GEOMETRIES:
            if value.get(kind) is not None:
                return {**value, "type": "bbox" if kind == "bounding_box" else kind}
    return value


_POINT = {
    "type": "object",
    "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
    "required": ["x", "y"],
    "additionalProperties": False,
}
_PATH = {"type": "array", "items": _POINT, "minItems": 2}
# Spelled out, the four kinds repeat their common members and cost an agent twice as much to read.
_FOR_AGENTS: dict[str, Any] = {
    "type": "object",
    "description": "bounding_box, polygon, polyline, keypoint, mask, box3d say where.",
    "properties": {
        "id": {"type": "string", "description": "Unique in the image; best a UUID."},
        "name": {"type": "string", "description": "Class of the dataset."},
        "type": {
            "type": "string",
            "enum": ["bbox", "polygon", "polyline", "keypoint", "mask", "box3d", "tag"],
        },
        "bounding_box": {
            "type": "object",
            "properties": {key: {"type": "number"} for key in "xywh"},
            "required": [*"xywh"],
            "additionalProperties": False,
        },
        "polygon": {
            "type": "object",
            "properties": {"paths": {"type": "array", "items": _PATH | {"minItems": 3}}},
            "required": ["paths"],
            "additionalProperties": False,
        },
        "polyline": {
            "type": "object",
            "properties": {"path": _PATH},
            "required": ["path"],
            "additionalProperties": False,
        },
        "keypoint": _POINT,
        "mask": {"type": "object", "description": "RLE size, counts"},
        "box3d": {"type": "object", "description": "x y z w h l (m)"},
        "object_id": {"type": "string"},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1, "default": 1.0},
        "created_by": {"type": "string"},
        "attributes": {
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": True}]},
        },
    },
    "required": ["id", "name"],
    "additionalProperties": False,
}

Annotation = Annotated[
    BBoxAnnotation
    | PolygonAnnotation
    | PolylineAnnotation
    | KeypointAnnotation
    | MaskAnnotation
    | Box3dAnnotation
    | TagAnnotation,
    Field(discriminator="type"),
    WithJsonSchema(_FOR_AGENTS, mode="validation"),
]
ANNOTATIONS: TypeAdapter[
    list[
        BBoxAnnotation
        | PolygonAnnotation
        | PolylineAnnotation
        | KeypointAnnotation
        | MaskAnnotation
        | Box3dAnnotation
        | TagAnnotation
    ]
]
ANNOTATIONS = TypeAdapter(list[Annotation])


class AnnotationList(Strict):
    """The annotations of one image, ids unique, enclosing boxes filled in."""

    annotations: list[Annotation]

    @model_validator(mode="before")
    @classmethod
    def _default_types(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("annotations"), list):
            return {**data, "annotations": [typed_by_geometry(a) for a in data["annotations"]]}
        return data

    @model_validator(mode="after")
    def _ids_are_unique(self) -> AnnotationList:
        seen: set[str] = set()
        for annotation in self.annotations:
            if annotation.id in seen:
                raise ValueError(f"annotation id {annotation.id!r} occurs twice")
            seen.add(annotation.id)
        return self


def has_place(annotation: Annotation) -> bool:
    """Whether it says where in the picture: tags and what is only a 3-D box do not."""
    return annotation.type not in {"box3d", "tag"}


def points_of(annotation: Annotation) -> Iterator[Point]:
    """Every vertex of an annotation, in order; the four corners for a box, and of the box of a mask.

    Nothing for what has no place in the picture (``has_place``).
    """
    match annotation:
        case PolygonAnnotation():
            for ring in annotation.polygon.paths:
                yield from ring
        case PolylineAnnotation():
            yield from annotation.polyline.path
        case KeypointAnnotation():
            yield annotation.keypoint
        case BBoxAnnotation() | MaskAnnotation():
            box = annotation.bounding_box or _box_of_mask(annotation)
            yield Point(x=box.x, y=box.y)
            yield Point(x=box.x + box.w, y=box.y)
            yield Point(x=box.x + box.w, y=box.y + box.h)
            yield Point(x=box.x, y=box.y + box.h)


def enclosing_box(annotation: Annotation) -> tuple[float, float, float, float]:
    """``(x, y, w, h)`` of the smallest upright rectangle around the vertices, in pixels; w or h may be 0.

    Of an annotation that has a place (``has_place``).
    """
    xs, ys = zip(*((p.x, p.y) for p in points_of(annotation)), strict=True)
    left, top = min(xs), min(ys)
    return left, top, max(xs) - left, max(ys) - top


def _box_of_mask(annotation: Annotation) -> BoundingBox:
    from tintype_studio.annotations.masks import box_of

    assert annotation.mask is not None, "only masks come without a box"
    return box_of(annotation.mask)


def with_box(annotation: Annotation) -> Annotation:
    """Fill in the enclosing box of a polygon, polyline or mask that came without one."""
    if isinstance(annotation, MaskAnnotation) and annotation.bounding_box is None:
        return annotation.model_copy(update={"bounding_box": _box_of_mask(annotation)})
    if isinstance(annotation, PolygonAnnotation | PolylineAnnotation) and annotation.bounding_box is None:
        x, y, w, h = enclosing_box(annotation)
        if w > 0 and h > 0:
            return annotation.model_copy(update={"bounding_box": BoundingBox(x=x, y=y, w=w, h=h)})
    return annotation


def ring_area(ring: list[Point]) -> float:
    """Unsigned area of a closed ring in square pixels (shoelace formula)."""
    total = 0.0
    for a, b in zip(ring, [*ring[1:], ring[0]], strict=True):
        total += a.x * b.y - b.x * a.y
    return abs(total) / 2

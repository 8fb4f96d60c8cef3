"""The conditions of a query as models: what may be asked of a sample, and of an annotation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from tintype_studio.annotations.geometry import Strict
from tintype_studio.catalog.samples import Status

MAX_CONDITIONS = 200
"""In one query."""
MAX_DEPTH = 20
MAX_VALUE = 500
"""Characters of a text."""
MAX_METRES = 200_000
"""Of a radius: over more, the earth is too round for how distances are told here."""

FieldType = Literal["text", "number", "date"]
Comparison = Literal["=", "!=", "<", "<=", ">", ">=", "~"]
"""``~`` compares with a pattern, in which ``*`` stands for any characters, without regard to case."""


@dataclass(frozen=True, slots=True)
class FieldKind:
    """What a field is: its type, what it means, and the only values that it can have."""

    type: FieldType
    about: str
    values: tuple[str, ...] = ()


SAMPLE_FIELDS: dict[str, FieldKind] = {
    "filename": FieldKind("text", "name of the picture, or of the sample"),
    "folder": FieldKind("text", "such as /stop/left"),
    "group": FieldKind("text", "train, val, test or another"),
    "sequence": FieldKind("text", "name of the sequence that it is a frame of"),
    "frame": FieldKind("number", "its number in the sequence"),
    "width": FieldKind("number", "pixels of the picture"),
    "height": FieldKind("number", "pixels of the picture"),
    "status": FieldKind("text", "of its labelling", tuple(status.value for status in Status)),
    "annotations": FieldKind("number", "how many it has"),
    "file": FieldKind("text", "a type of file that it has, such as lidar.pcd"),
    "date": FieldKind("date", "when it was taken"),
    "created": FieldKind("date", "when it came here"),
    "updated": FieldKind("date", "when it was changed last"),
    "degradation": FieldKind("text", "such as rain"),
    "source": FieldKind("text", "where it is from"),
    "latitude": FieldKind("number", "degrees"),
    "longitude": FieldKind("number", "degrees"),
}
"""What can be asked of a sample, by name."""

TYPES = ("bbox", "polygon", "polyline", "keypoint", "mask", "box3d", "tag")
ANNOTATION_FIELDS: dict[str, FieldKind] = {
    "label": FieldKind("text", "class of the annotation"),
    "type": FieldKind("text", "of its geometry", TYPES),
    "object_id": FieldKind("text", "of an object through a sequence"),
    "score": FieldKind("number", "confidence, 0 to 1"),
    "area": FieldKind("number", "square pixels of its box"),
    "box_width": FieldKind("number", "pixels"),
    "box_height": FieldKind("number", "pixels"),
    "distance": FieldKind("number", "metres to the centre of its 3-D box"),
}
"""What can be asked of an annotation, by name."""

FIELDS = SAMPLE_FIELDS | ANNOTATION_FIELDS


Text = Annotated[str, StringConstraints(max_length=MAX_VALUE + 2)]  # with the two * of contains
Number = Annotated[float, Field(allow_inf_nan=False)]
Value: TypeAlias = Number | Text


def moment_of(value: str) -> tuple[datetime, bool]:
    """A date in ISO 8601 with its time zone, UTC where it tells none, and whether it is a whole day.

    Raises ValueError.
    """
    try:
        day = date.fromisoformat(value)
    except ValueError:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)), False
    return datetime(day.year, day.month, day.day, tzinfo=UTC), True


class Compare(Strict):
    """A field compared with a value. Of several annotations, one that fits is enough."""

    kind: Literal["compare"] = "compare"
    field: str
    op: Comparison
    value: Value

    @model_validator(mode="after")
    def _makes_sense(self) -> Compare:
        check_value(self.field, self.op, self.value)
        return self


class OneOf(Strict):
    """A field that has one of some values."""

    kind: Literal["one_of"] = "one_of"
    field: str
    values: Annotated[list[Value], Field(min_length=1, max_length=1_000)]

    @model_validator(mode="after")
    def _makes_sense(self) -> OneOf:
        for value in self.values:
            check_value(self.field, "=", value)
        return self


class Between(Strict):
    """A field from one value to another, both included."""

    kind: Literal["between"] = "between"
    field: str
    low: Value
    high: Value

    @model_validator(mode="after")
    def _makes_sense(self) -> Between:
        check_value(self.field, ">=", self.low)
        check_value(self.field, "<=", self.high)
        return self


class Known(Strict):
    """A field that the sample has at all."""

    kind: Literal["known"] = "known"
    field: str

    @model_validator(mode="after")
    def _makes_sense(self) -> Known:
        kind_of(self.field)
        return self


class Near(Strict):
    """A sample taken within ``metres`` of a place on earth (degrees)."""

    kind: Literal["near"] = "near"
    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
    metres: Annotated[float, Field(gt=0, le=MAX_METRES, allow_inf_nan=False)]


class Count(Strict):
    """How many annotations fit ``where`` (None: all), compared with a number."""

    kind: Literal["count"] = "count"
    where: Condition | None = None
    op: Literal["=", "!=", "<", "<=", ">", ">="] = ">="
    number: Annotated[int, Field(ge=0, le=1_000_000)] = 1

    @model_validator(mode="after")
    def _makes_sense(self) -> Count:
        for each in () if self.where is None else leaves(self.where):
            field = getattr(each, "field", None)
            if field not in ANNOTATION_FIELDS:
                what = f"{field} is of samples" if field else f"{each.kind} is of samples"
                raise ValueError(f"within count stand conditions of annotations, and {what}")
        return self


class All(Strict):
    """Every one of some conditions."""

    kind: Literal["all"] = "all"
    conditions: Annotated[list[Condition], Field(min_length=1, max_length=MAX_CONDITIONS)]


class AnyOf(Strict):
    """At least one of some conditions."""

    kind: Literal["any"] = "any"
    conditions: Annotated[list[Condition], Field(min_length=1, max_length=MAX_CONDITIONS)]


class Not(Strict):
    """What does not meet a condition."""

    kind: Literal["not"] = "not"
    condition: Condition


Leaf: TypeAlias = Compare | OneOf | Between | Known | Near | Count
Condition: TypeAlias = Annotated[
    Compare | OneOf | Between | Known | Near | Count | All | AnyOf | Not, Field(discriminator="kind")
]

for _model in (Count, All, AnyOf, Not):
    _model.model_rebuild()


def kind_of(field: str) -> FieldKind:
    """What a field is; ValueError names those there are."""
    if field not in FIELDS:
        raise ValueError(f"there is no field {field!r}")
    return FIELDS[field]


def check_value(field: str, op: str, value: Any) -> None:
    """That a field can be compared so; ValueError says why not."""
    kind = kind_of(field)
    if op == "~" and kind.type != "text":
        raise ValueError(f"{field} is a {kind.type}: ~ compares texts")
    if op in {"<", "<=", ">", ">="} and kind.type == "text":
        raise ValueError(f"{field} is a text: it is compared with =, !=, ~ or in")
    if kind.type == "number":
        if isinstance(value, str):
            raise ValueError(f"{field} is a number, and {value[:40]!r} is none")
    elif not isinstance(value, str):
        raise ValueError(f"{field} is a {kind.type}: write it in quotation marks")
    elif kind.type == "date":
        try:
            moment_of(value)
        except ValueError:
            raise ValueError(
                f"{value[:40]!r} is no date such as 2026-05-31 or 2026-05-31T12:00:00Z"
            ) from None
    elif kind.values and op != "~" and value not in kind.values:
        raise ValueError(f"{field} is one of {', '.join(kind.values)}")


def leaves(condition: Condition) -> list[Leaf]:
    """The conditions of which it is made, those within a count left in it."""
    match condition:
        case All() | AnyOf():
            return [leaf for each in condition.conditions for leaf in leaves(each)]
        case Not():
            return leaves(condition.condition)
    return [condition]

"""The columns of EdgeFirst's table, its versions, and what a file says of itself.

Read are 2025.01 and 2025.10 (which do not say their version), 2026.04, 2026.10, and later ones as far as they
have these columns; 2026.10 is written. Boxes and outlines are shares of the picture (0 to 1), float32.

=========  =============================================================================================
2025.01    ``mask`` is a list of float32: rings ``x, y, x, y, …`` with NaN between them
2025.10    ``size``, ``location``, ``pose``, ``degradation``
2026.04    ``polygon`` (list of rings); ``mask`` is a PNG; scores, ``iscrowd``, LVIS columns
2026.10    ``ignore`` (``iscrowd`` mirrors it), ``exclude``, ``truncation``, ``occlusion``; order of ``pose``
=========  =============================================================================================

Columns whose names begin with ``x_`` are ours. They hold what the format has no place for; other readers
skip them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import orjson

if TYPE_CHECKING:
    from arro3.core import DataType

VERSION = "2026.10"
"""What is written."""

LEGACY = "2025.10"
"""What a file is that does not say its version."""

FIRST_WITH_POLYGONS = "2026.04"
FIRST_WITH_ROLL_FIRST = "2026.10"

SCHEMA_VERSION = "schema_version"
LABELS = "labels"
CATEGORIES = "category_metadata"
POSE_ORDER = "pose_order"
"""Keys of a file's metadata; the last one is ours: ``roll,pitch,yaw`` or ``yaw,pitch,roll``."""

Kind: TypeAlias = Literal[
    "text",
    "category",
    "u32",
    "u64",
    "f32",
    "f64",
    "bool",
    "png",
    "rings",
    "numbers",
    "u32s",
    "indices",
    "timing",
]

TIMINGS = ("load", "preprocess", "inference", "decode")
"""Members of ``timing``, nanoseconds."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: what it holds, and how many numbers stand in each row of one of ``numbers`` or ``u32s``."""

    name: str
    kind: Kind
    length: int = 0


COLUMNS = {
    column.name: column
    for column in (
        Column("name", "text"),
        Column("frame", "u32"),
        Column("object_id", "text"),
        Column("label", "category"),
        Column("label_index", "u64"),
        Column("group", "category"),
        Column("polygon", "rings"),
        Column("mask", "png"),
        Column("box2d", "numbers", 4),
        Column("box3d", "numbers", 6),
        Column("polygon_score", "f32"),
        Column("mask_score", "f32"),
        Column("box2d_score", "f32"),
        Column("box3d_score", "f32"),
        Column("size", "u32s", 2),
        Column("location", "numbers", 2),
        Column("pose", "numbers", 3),
        Column("degradation", "text"),
        Column("ignore", "bool"),
        Column("iscrowd", "bool"),
        Column("exclude", "bool"),
        Column("truncation", "u32"),
        Column("occlusion", "u32"),
        Column("category_frequency", "category"),
        Column("neg_label_indices", "indices"),
        Column("not_exhaustive_label_indices", "indices"),
        Column("timing", "timing"),
        # Ours: the file of the sample by its own name; the area that a source told; the rest as JSON.
        Column("x_file_name", "text"),
        Column("x_area", "f64"),
        Column("x_image", "text"),
        Column("x_annotation", "text"),
    )
}
"""All columns by name, in the order in which they are written."""

_VERSION = re.compile(r"\d{4}\.\d{2}")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file says of itself.

    ``labels`` are names in the order of their indices, ``categories`` facts of a label by its name (``id``,
    ``supercategory``, ``frequency``, …). ``told`` is the metadata as it stands there.
    """

    version: str
    labels: tuple[str, ...]
    categories: Mapping[str, Mapping[str, Any]]
    told: Mapping[str, str]

    @property
    def has_polygons(self) -> bool:
        """Whether ``polygon`` holds the outlines and ``mask`` a picture, as since 2026.04."""
        return self.version >= FIRST_WITH_POLYGONS

    @property
    def roll_first(self) -> bool:
        """Whether ``pose`` is roll, pitch, yaw and not yaw, pitch, roll."""
        order = self.told.get(POSE_ORDER)
        return order.startswith("roll") if order else self.version >= FIRST_WITH_ROLL_FIRST


def facts_of(metadata: Mapping[str, str]) -> FileFacts:
    """What a file's metadata says. Entries of another form than they should have count as not there."""
    told = metadata.get(SCHEMA_VERSION, LEGACY)
    version = told if _VERSION.fullmatch(told) else LEGACY
    labels = _json(metadata.get(LABELS))
    categories = _json(metadata.get(CATEGORIES))
    return FileFacts(
        version,
        tuple(name for name in labels if isinstance(name, str)) if isinstance(labels, list) else (),
        {name: facts for name, facts in categories.items() if isinstance(facts, dict)}
        if isinstance(categories, dict)
        else {},
        metadata,
    )


def metadata_of(
    labels: Mapping[str, int], categories: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, str]:
    """The metadata of a file that is written: ``labels`` are names and their indices."""
    known = categories or {}
    named = {name: {**known.get(name, {}), "id": index} for name, index in labels.items()}
    return {
        SCHEMA_VERSION: VERSION,
        LABELS: orjson.dumps(sorted(labels, key=lambda name: (labels[name], name))).decode(),
        CATEGORIES: orjson.dumps(named).decode(),
        POSE_ORDER: "roll,pitch,yaw",
    }


def _json(text: str | None) -> Any:
    try:
        return None if text is None else orjson.loads(text)
    except ValueError:
        return None


def arrow_type(column: Column, *, legacy_mask: bool = False) -> DataType:
    """The type in which a column is kept here and written."""
    from arro3.core import DataType, Field

    def of(child: DataType) -> Field:
        return Field("item", child, nullable=True)

    plain = {
        "text": DataType.utf8,
        "u32": DataType.uint32,
        "u64": DataType.uint64,
        "f32": DataType.float32,
        "f64": DataType.float64,
        "bool": DataType.bool,
        "png": DataType.large_binary,
    }
    if legacy_mask:
        return DataType.large_list(of(DataType.float32()))
    if column.kind in plain:
        return plain[column.kind]()
    match column.kind:
        case "category":
            return DataType.dictionary(DataType.uint32(), DataType.utf8())
        case "rings":
            return DataType.large_list(of(DataType.large_list(of(DataType.float32()))))
        case "numbers":
            return DataType.list(of(DataType.float32()), column.length)
        case "u32s":
            return DataType.list(of(DataType.uint32()), column.length)
        case "indices":
            return DataType.large_list(of(DataType.uint32()))
    return DataType.struct([Field(name, DataType.int64(), nullable=True) for name in TIMINGS])

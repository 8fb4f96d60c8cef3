"""What an annotation has beside its leading geometry, as entries of its attributes.

Most formats of files have no place for an ``object_id``, a ``box3d`` or a second ``mask``, but one for
attributes. So that is how these travel, and readers put them back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from tintype_studio.annotations.geometry import Annotation, Box3d, Mask

BESIDE = ("object_id", "box3d", "mask")
_MAX_ID = 128


def beside(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an annotation, as it is kept, has beside its geometry: ``{"object_id": "7"}``, …"""
    leading = entry["type"]
    return [{name: entry[name]} for name in BESIDE if name != leading and entry.get(name) is not None]


def with_beside(annotation: Annotation) -> Annotation:
    """An annotation with all of that among its attributes instead."""
    if annotation.object_id is None and annotation.box3d is None and annotation.mask is None:
        return annotation
    found = beside(annotation.model_dump(mode="json", exclude_none=True, include={"type", *BESIDE}))
    gone = {name: None for name in BESIDE if name != annotation.type}
    return annotation.model_copy(update={**gone, "attributes": [*annotation.attributes, *found]})


def taken_out(attributes: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The attributes of a file without those entries, and what they say: of each the first that is right."""
    rest: list[Any] = []
    found: dict[str, Any] = {}
    for entry in attributes:
        if isinstance(entry, dict) and len(entry) == 1:
            ((name, value),) = entry.items()
            if name in BESIDE and name not in found and (checked := _checked(name, value)) is not None:
                found[name] = checked
                continue
        rest.append(entry)
    return rest, found


def _checked(name: str, value: Any) -> Any:
    if name == "object_id":
        return value if isinstance(value, str) and 0 < len(value) <= _MAX_ID else None
    model: type[Box3d | Mask] = Box3d if name == "box3d" else Mask
    try:
        return model.model_validate(value).model_dump(mode="json")
    except ValidationError:
        return None

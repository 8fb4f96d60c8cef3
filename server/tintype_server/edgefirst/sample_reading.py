"""Samples and annotations as clients send them, as arguments of ``add_samples``.

Older and newer clients use several names and forms for one thing; all of them are read.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from tintype_server.edgefirst.params import wrong
from tintype_server.edgefirst.sample_wire import UNLABELED
from tintype_studio.errors import InvalidInput
from tintype_studio.multisensor.file_types import SENSORS_IN_META

LEAST = 1e-9
"""Of a picture: the extent of a box that has none, for here a box has one."""

_SCORES = {"polygon": "polygon_score", "mask": "mask_score", "bbox": "box2d_score", "box3d": "box3d_score"}
_BOX = ("x", "y", "w", "h")
_SPACE = ("x", "y", "z", "w", "h", "l")
_TEXTS = ("image_name", "sequence_name", "sequence_uuid", "sequence_description", "degradation", "source")


def sample_arguments(sent: Any, *, with_files: bool) -> dict[str, Any]:
    """One sample of ``samples.populate2``."""
    if not isinstance(sent, dict):
        raise wrong("samples", "a list of objects")
    found: dict[str, Any] = {
        "uuid": _text(sent, "uuid"),
        "group": _text(sent, "group") or _text(sent, "group_name"),
        **{name: _text(sent, name) for name in _TEXTS},
        "date": _text(sent, "date"),
    }
    # What makes ids of annotations the same when the sample is sent again.
    found["uuid"] = known = found["uuid"] or str(uuid.uuid4())
    frame = _whole(sent, "frame_number")
    found["frame_number"] = frame if frame is None or frame >= 0 else None
    for name in ("width", "height"):
        found[name] = _whole(sent, name) or None
    for name in ("neg_label_indices", "not_exhaustive_label_indices", "timing"):
        found[name] = sent.get(name) or None
    sensors = _sensors(sent.get("sensors"))
    found["location"], found["pose"] = sensors.get("gps"), sensors.get("imu")
    if with_files:
        files = sent.get("files") or {}
        if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
            raise wrong("files", "an object of file names by type")
        found["files"] = [
            {"type": kind, "filename": name}
            for kind, name in files.items()
            if kind not in SENSORS_IN_META and name
        ]
    size = (found["width"] or 1, found["height"] or 1)
    annotations, indices = [], dict[str, int]()
    for number, each in enumerate(_annotations(sent.get("annotations"))):
        made = annotation_arguments(each, size, _id_of(known, number))
        annotations.append(made)
        index = _whole(each, "label_index")
        if index is not None and index >= 0 and made["name"] != UNLABELED:
            indices.setdefault(made["name"], index)
    found["annotations"] = annotations or None
    found["label_indices"] = indices or None
    return {name: value for name, value in found.items() if value is not None}


def annotation_arguments(sent: Any, size: tuple[int, int], annotation_id: str) -> dict[str, Any]:
    """An annotation of a picture of so many pixels, in pixels."""
    if not isinstance(sent, dict):
        raise wrong("annotations", "a list of objects")
    found: dict[str, Any] = {
        "id": annotation_id,
        "name": (_text(sent, "label_name") or _text(sent, "label") or "").strip() or UNLABELED,
    }
    if (reference := _text(sent, "object_reference") or _text(sent, "object_id")) is not None:
        found["object_id"] = reference
    if (rings := _rings(sent, size)) is not None:
        found["polygon"] = {"paths": rings}
    if (box := _box(sent)) is not None:
        found["bounding_box"] = {
            "x": box["x"] * size[0],
            "y": box["y"] * size[1],
            "w": box["w"] * size[0],
            "h": box["h"] * size[1],
        }
    if sent.get("box3d") is not None:
        found["box3d"] = _numbers(sent["box3d"], "box3d", _SPACE)
        found["box3d"] |= {side: _extent(found["box3d"][side], "box3d") for side in "whl"}
    kinds = {"polygon": "polygon", "bounding_box": "bbox", "box3d": "box3d"}
    found["type"] = next((kind for member, kind in kinds.items() if member in found), "tag")
    found["attributes"] = _facts(sent, found)
    return found


def _facts(sent: Mapping[str, Any], found: dict[str, Any]) -> list[dict[str, Any]]:
    """What else is said of an annotation; the score of its leading place becomes its confidence."""
    facts: list[dict[str, Any]] = []
    attributes = sent.get("attributes")
    told = {**attributes, **sent} if isinstance(attributes, dict) else sent
    for name in ("iscrowd", "ignore", "exclude"):
        if told.get(name):
            facts.append({name: True})
    if frequency := _text(told, "category_frequency"):
        facts.append({"category_frequency": frequency})
    for name in ("truncation", "occlusion"):
        if (value := _number(told.get(name))) is not None:
            facts.append({name: value})
    for name in _SCORES.values():
        if (score := _number(told.get(name))) is None:
            continue
        score = min(max(score, 0.0), 1.0)
        if name == _SCORES.get(found["type"]):
            found["confidence"] = score
        else:
            facts.append({name: score})
    return facts


def _box(sent: Mapping[str, Any]) -> dict[str, float] | None:
    """Top left corner, width and height, in shares: by itself, or among the members of the annotation."""
    if sent.get("box2d") is not None:
        box = _numbers(sent["box2d"], "box2d", _BOX)
    elif all(_number(sent.get(side)) is not None for side in _BOX) and sent["w"] > 0 and sent["h"] > 0:
        box = _numbers(sent, "box2d", _BOX)
    else:
        return None
    return box | {side: _extent(box[side], "box2d") for side in "wh"}


def _rings(sent: Mapping[str, Any], size: tuple[int, int]) -> list[list[dict[str, float]]] | None:
    """Outlines in pixels: lists of points, or flat lists of numbers; shorter ones than three points go."""
    outline = sent.get("mask")
    if outline is None:
        outline = sent.get("polygon")
    if isinstance(outline, dict):
        outline = outline.get("rings") or outline.get("polygon")
    if outline is None or isinstance(outline, str):
        return None
    if not isinstance(outline, list):
        raise wrong("mask", "a list of rings")
    rings = [ring for each in outline if len(ring := _ring(each, size)) >= 3]
    return rings or None


def _ring(sent: Any, size: tuple[int, int]) -> list[dict[str, float]]:
    if not isinstance(sent, list):
        raise wrong("mask", "a list of rings")
    if sent and not isinstance(sent[0], list):
        sent = [sent[at : at + 2] for at in range(0, len(sent) - 1, 2)]
    width, height = size
    try:
        return [{"x": float(x) * width, "y": float(y) * height} for x, y in sent]
    except (TypeError, ValueError, OverflowError):
        raise wrong("mask", "rings of points, each of two numbers") from None


def _annotations(sent: Any) -> list[Any]:
    """The annotations in a list, or by what they are."""
    if sent is None:
        return []
    if isinstance(sent, dict):
        return [each for some in sent.values() if isinstance(some, list) for each in some]
    if not isinstance(sent, list):
        raise wrong("annotations", "a list")
    return sent


def _sensors(sent: Any) -> dict[str, Any]:
    """What is told of sensors in one object, or in a list of objects."""
    if isinstance(sent, list):
        merged: dict[str, Any] = {}
        for each in sent:
            merged |= each if isinstance(each, dict) else {}
        sent = merged
    if sent is None:
        return {}
    if not isinstance(sent, dict):
        raise wrong("sensors", "an object")
    found: dict[str, Any] = {}
    for name, members in (("gps", ("lat", "lon")), ("imu", ("roll", "pitch", "yaw"))):
        if sent.get(name) is not None:
            found[name] = _numbers(sent[name], name, members)
    return found


def _numbers(sent: Any, name: str, members: Sequence[str]) -> dict[str, float]:
    found = {member: _number(sent.get(member)) for member in members} if isinstance(sent, dict) else {}
    if not found or any(value is None for value in found.values()):
        raise wrong(name, f"an object of the numbers {', '.join(members)}")
    return {member: value for member, value in found.items() if value is not None}


def _extent(value: float, name: str) -> float:
    if value < 0:
        raise InvalidInput(
            f"A {name} has a negative extent ({value}).",
            code="invalid_params",
            fix="Send its corner or centre, and extents that are not negative.",
        )
    return max(value, LEAST)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def _text(sent: Mapping[str, Any], name: str) -> str | None:
    value = sent.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise wrong(name, "text")
    return value


def _whole(sent: Any, name: str) -> int | None:
    value = sent.get(name) if isinstance(sent, dict) else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(name, "a whole number")
    return value


def _id_of(sample_uuid: str, number: int) -> str:
    """The id of an annotation that came without one: the same whenever its sample is sent."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{sample_uuid}/{number}"))

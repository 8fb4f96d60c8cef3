"""Samples and annotations as clients read them.

What clients choke on is kept away here: of each pair of names for one thing exactly one is sent, coordinates
are shares of the picture, sequences of single pictures are absent and not empty, labels are of the list.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tintype_studio.multisensor.file_types import IMAGE
from tintype_studio.multisensor.sample_meta import date_as_text
from tintype_studio.multisensor.samples import SensorSample, StoredFile

UNLABELED = "unlabeled"
"""The class here of what has no label there."""

ANNOTATION_TYPES = frozenset({"box2d", "box3d", "mask"})

Url = Callable[[StoredFile], str]
"""The absolute address of a file."""


@dataclass(frozen=True, slots=True)
class WireView:
    """What of samples is asked for. Empty collections ask for everything."""

    labels: Mapping[str, int]
    """Label indices by name; what is not in it has no label for clients."""
    url: Url
    places: Collection[str] = ()
    """Of ``ANNOTATION_TYPES``."""
    with_annotations: bool = True
    name_bare: bool = True
    """Whether samples without a picture have an ``image_name``: clients that want pictures take it for one
    whose address is missing, and those that do not name the other files by it.
    """

    def sample(self, sample: SensorSample) -> dict[str, Any]:
        """A sample."""
        meta = sample.meta
        found: dict[str, Any] = {
            "id": sample.row_id,
            "uuid": sample.id,
            "group_name": sample.group,
            "frame_number": sample.frame_number,
            "width": sample.width,
            "height": sample.height,
            "source": meta.source,
            "degradation": meta.degradation,
            "date": date_as_text(meta.date or sample.created_at),
            "sensors": self._sensors(sample),
        }
        if (image := sample.files.get(IMAGE)) is not None:
            found |= {"image_name": sample.filename, "image_url": self.url(image)}
        elif self.name_bare:
            found["image_name"] = sample.filename
        if sample.sequence is not None:
            found |= {"sequence_name": sample.sequence.name, "sequence_uuid": sample.sequence.id}
            if sample.sequence.description:
                found["sequence_description"] = sample.sequence.description
        for name in ("neg_label_indices", "not_exhaustive_label_indices", "timing"):
            if value := getattr(meta, name):
                found[name] = value
        if self.with_annotations:
            found["annotations"] = [
                shown
                for entry in sample.entries
                if (shown := self.annotation(entry, sample.width or 1, sample.height or 1)) is not None
            ]
        return {name: value for name, value in found.items() if value is not None}

    def _sensors(self, sample: SensorSample) -> dict[str, Any] | None:
        found: dict[str, Any] = {kind: self.url(file) for kind, file in sample.files.items() if kind != IMAGE}
        if (location := sample.meta.location) is not None:
            found["gps"] = {"lat": location.lat, "lon": location.lon}
        if (pose := sample.meta.pose) is not None:
            found["imu"] = {"roll": pose.roll, "pitch": pose.pitch, "yaw": pose.yaw}
        return found or None

    def annotation(self, entry: Mapping[str, Any], width: int, height: int) -> dict[str, Any] | None:
        """An annotation as it is kept, of a picture of so many pixels; None when it has nothing asked for."""
        places = self._places(entry, width, height)
        if self.places and not places:
            return None
        name = entry["name"]
        found: dict[str, Any] = {}
        if name != UNLABELED and name in self.labels:
            found |= {"label_name": name, "label_index": self.labels[name]}
        if (object_id := entry.get("object_id")) is not None:
            found["object_reference"] = object_id
        for fact in entry.get("attributes") or ():
            if isinstance(fact, dict):
                _put_facts(found, fact)
        return found | places

    def _places(self, entry: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
        asked, found = self.places or ANNOTATION_TYPES, dict[str, Any]()
        if "box2d" in asked and (box := entry.get("bounding_box")) is not None:
            found["box2d"] = {
                "x": box["x"] / width,
                "y": box["y"] / height,
                "w": box["w"] / width,
                "h": box["h"] / height,
            }
        if "box3d" in asked and (space := entry.get("box3d")) is not None:
            found["box3d"] = dict(space)
        if "mask" in asked and (rings := _rings(entry)) is not None:
            found["mask"] = [[[p["x"] / width, p["y"] / height] for p in ring] for ring in rings]
        return found


def _rings(entry: Mapping[str, Any]) -> list[list[dict[str, float]]] | None:
    """The outline of an annotation: its polygon, or that of its pixels."""
    if (polygon := entry.get("polygon")) is not None:
        rings: list[list[dict[str, float]]] = polygon["paths"]
        return rings
    if (mask := entry.get("mask")) is not None:
        from tintype_studio.annotations.geometry import Mask
        from tintype_studio.annotations.masks import outline_of

        outline = outline_of(Mask.model_validate(mask)).model_dump()["paths"]
        return list(outline)
    return None


def _put_facts(found: dict[str, Any], fact: Mapping[str, Any]) -> None:
    for name, value in fact.items():
        if name in {"iscrowd", "ignore"}:
            # One of the two names only, and never a number.
            found["iscrowd"] = bool(value) or found.get("iscrowd", False)
        elif name == "exclude":
            found[name] = bool(value)
        elif isinstance(value, _FACTS.get(name, ())):
            found[name] = value


_FACTS: dict[str, type | tuple[type, ...]] = {"category_frequency": str, "truncation": int, "occlusion": int}

"""Dry runs of what changes multi-sensor samples."""

from __future__ import annotations

from typing import Any

from support.clouds import pcd
from support.dry_world import Ready, Refusals, World

SPACE = {"x": 4.0, "y": 1.0, "z": 0.5, "w": 2.0, "h": 1.5, "l": 4.5}
CAR = {"id": "c", "name": "car", "type": "box3d", "box3d": SPACE}


def _samples(world: World, **given: Any) -> dict[str, Any]:
    (world.folder / "scan.lidar.pcd").write_bytes(pcd(3))
    file = {"type": "lidar.pcd", "path": str(world.folder / "scan.lidar.pcd")}
    return {"dataset_name": "signs", "samples": [{"group": "val", "files": [file], **given}]}


def _edit(world: World, **given: Any) -> dict[str, Any]:
    return {"dataset_name": "signs", "edits": [{"sample_id": world.image().id, **given}]}


def _sizes(world: World, sample_id: str | None = None) -> dict[str, Any]:
    if sample_id is None:
        made = world.live("add_samples", _samples(world)).value
        sample_id = made["samples"][0]["id"]
    return {"dataset_name": "signs", "sizes": [{"id": sample_id, "width": 20, "height": 10}]}


def _broken(world: World) -> dict[str, Any]:
    arguments = _samples(world)
    (world.folder / "scan.lidar.pcd").write_bytes(pcd(3)[:-1])
    return arguments


READY: Ready = {
    "add_samples": lambda w: _samples(w, annotations=[CAR], sequence_name="drive", frame_number=1),
    "set_sample_sizes": _sizes,
    "edit_annotations": lambda w: _edit(w, add=[CAR]),
}
REFUSED: Refusals = [
    ("add_samples", "invalid_point_cloud", _broken),
    ("add_samples", "unknown_file_type", lambda w: _samples(w, files=[{"type": "gps", "filename": "a"}])),
    ("add_samples", "invalid_selection", lambda w: _samples(w, files=[{"type": "image"}])),
    ("add_samples", "sample_exists", lambda w: _samples(w, image_name="a.png")),
    ("add_samples", "invalid_sample", lambda w: _samples(w, uuid="x")),
    ("add_samples", "invalid_sample", lambda w: _samples(w, location={"lat": 91, "lon": 0})),
    ("add_samples", "invalid_name", lambda w: _samples(w, group="a/b")),
    ("add_samples", "annotation_set_not_found", lambda w: _samples(w) | {"annotation_set": "x"}),
    ("set_sample_sizes", "dataset_not_found", lambda w: _sizes(w, "x") | {"dataset_name": "x"}),
    ("edit_annotations", "sample_not_found", lambda w: _edit(w, sample_id="x", add=[CAR])),
]

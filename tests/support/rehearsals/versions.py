"""Dry runs of versions of a dataset."""

from __future__ import annotations

from typing import Any

from support.dry_world import BOX, Ready, Refusals, World, upload


def _version(world: World, name: str = "v1") -> dict[str, Any]:
    world.live("create_version", {"dataset_name": "signs", "name": name})
    return {"dataset_name": "signs", "name": name}


def _changed(world: World) -> dict[str, Any]:
    arguments = _version(world)
    upload(world, "signs")
    world.live("save_annotations", {"image_uuid": world.image().id, "annotations": [BOX, {**BOX, "id": "9"}]})
    return arguments


READY: Ready = {
    "create_version": lambda w: {"dataset_name": "signs", "name": "v1"},
    "delete_version": _version,
    "restore_version": _changed,
}
REFUSED: Refusals = [
    ("create_version", "dataset_not_found", lambda w: {"dataset_name": "x", "name": "v1"}),
    ("create_version", "version_exists", _version),
    ("create_version", "invalid_name", lambda w: {"dataset_name": "signs", "name": "a/b"}),
    ("delete_version", "version_not_found", lambda w: {"dataset_name": "signs", "name": "v1"}),
    ("restore_version", "version_not_found", lambda w: {"dataset_name": "signs", "name": "v1"}),
    ("restore_version", "dataset_not_found", lambda w: {"dataset_name": "x", "name": "v1"}),
]

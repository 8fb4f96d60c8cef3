"""Dry runs of the export tools."""

from __future__ import annotations

from typing import Any

NOT_UNDOABLE = {"delete_export"}


def _export(world: Any) -> dict[str, Any]:
    world.live("create_export", {"dataset_name": "signs", "name": "e", "format": "coco"})
    return {"dataset_name": "signs", "export_name": "e"}


READY = {"delete_export": _export}
REFUSED = [
    ("delete_export", "export_not_found", lambda w: {"dataset_name": "signs", "export_name": "none"}),
]


def _deleted(world: Any, told: dict[str, Any], outcome: Any) -> None:
    (affected,) = told["affected"]
    assert (affected["kind"], affected["count"], affected["dataset"]) == ("export.deleted", 1, "signs")
    assert affected["name"] == outcome.value["name"] == "e"
    assert affected["size"] > 0
    assert told["undoable"] is False
    assert world.runtime.studio.exports.list(world.owner) == []


DONE = {"delete_export": _deleted}

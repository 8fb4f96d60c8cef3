"""Dry runs of the export tools."""

from __future__ import annotations

from typing import Any

from support.dry_world import Ready, Refusals, World

NOT_UNDOABLE = {"delete_export"}


def _export(world: Any) -> dict[str, Any]:
    world.live("create_export", {"dataset_name": "signs", "name": "e", "format": "coco"})
    return {"dataset_name": "signs", "export_name": "e"}


READY: Ready = {"delete_export": _export}
REFUSED: Refusals = [
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


def export(world: World, name: str = "e") -> dict[str, Any]:
    arguments = {"dataset_name": "signs", "name": name, "format": "coco"}
    world.live("create_export", arguments)
    return arguments


def other_file(world: World) -> dict[str, Any]:
    (world.folder / "out.zip").write_text("mine")
    return READY["download_export"](world)


READY |= {
    "create_export": lambda w: {"dataset_name": "signs", "name": "e", "format": "coco"},
    "download_export": lambda w: {
        "dataset_name": export(w)["dataset_name"],
        "export_name": "e",
        "output_path": str(w.folder / "out.zip"),
    },
}
REFUSED += [
    ("create_export", "dataset_not_found", lambda w: READY["create_export"](w) | {"dataset_name": "x"}),
    ("create_export", "export_exists", export),
    ("create_export", "invalid_name", lambda w: READY["create_export"](w) | {"name": ".."}),
    ("create_export", "unknown_class", lambda w: READY["create_export"](w) | {"class_filter": ["x"]}),
    ("download_export", "export_not_found", lambda w: READY["download_export"](w) | {"export_name": "x"}),
    ("download_export", "file_exists", other_file),
    ("download_export", "invalid_path", lambda w: READY["download_export"](w) | {"output_path": " "}),
]

"""Dry runs of the snapshot tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from support.dry_world import Ready, Refusals
from support.recordings import camera, write
from support.rehearsals.models import for_model

RECORDING = write([camera(count=1)])


def _put(world: Any, files: dict[str, bytes], name: str = "frozen") -> dict[str, Any]:
    """A pending snapshot whose parts are there."""
    studio = world.runtime.studio
    studio.jobs.supervisor.enabled = False  # nobody need do it
    sizes = [(path, len(data)) for path, data in files.items()]
    upload = studio.snapshots.receiving.begin(world.owner, name, sizes)

    async def pieces(data: bytes) -> AsyncIterator[bytes]:
        yield data

    for file in upload.files:
        for token in file.tokens:
            slot = studio.snapshots.parts.slot(token)
            asyncio.run(studio.snapshots.parts.receive(slot, pieces(files[file.path])))
    return {"snapshot": upload.snapshot.id}


def _frozen(world: Any, files: dict[str, bytes] | None = None, name: str = "frozen") -> dict[str, Any]:
    asked = _put(world, files or {"drive.mcap": RECORDING}, name)
    studio = world.runtime.studio
    for file in studio.snapshots.get(world.owner, asked["snapshot"]).files:
        studio.snapshots.receiving.join(world.owner, asked["snapshot"], file.path)
    studio.snapshots.receiving.finish(world.owner, asked["snapshot"])
    return asked


def _created(world: Any) -> dict[str, Any]:
    world.runtime.studio.jobs.supervisor.enabled = False
    return {"name": "frozen", "dataset_name": "signs", "wait_seconds": 0}


def _restored(world: Any, **more: Any) -> dict[str, Any]:
    """One picture, and a model of this project that finds what is sought in it."""
    for_model(world)
    return {**_frozen(world), "dataset_name": "back", "labels": ["sign"], "wait_seconds": 0, **more}


def _folder(world: Any) -> dict[str, Any]:
    (world.folder / "out").mkdir(exist_ok=True)
    return {**_frozen(world), "output_folder": str(world.folder / "out")}


def _taken(world: Any) -> dict[str, Any]:
    asked = _folder(world)
    (world.folder / "out" / "drive.mcap").write_text("mine")
    return asked


READY: Ready = {
    "create_snapshot": _created,
    "complete_snapshot": lambda w: _put(w, {"drive.mcap": RECORDING}),
    "restore_snapshot": _restored,
    "download_snapshot": _folder,
    "delete_snapshot": _frozen,
}
OPERATIONS = {"restore_snapshot": "auto_annotate_image"}


def _will_be_created(world: Any, told: dict[str, Any], outcome: Any) -> None:
    """The job does it later, so that the history has nothing yet."""
    (affected,) = told["affected"]
    assert (affected["kind"], affected["count"], affected["name"]) == ("snapshot.created", 1, "frozen")
    assert (outcome.value["name"], outcome.value["status"]) == ("frozen", "processing")


def _will_be_restored(world: Any, told: dict[str, Any], outcome: Any) -> None:
    kinds = [(each["kind"], each["count"], each["dataset"]) for each in told["affected"]]
    assert kinds == [("dataset.created", 1, "back"), ("samples.added", 1, "back")]
    assert outcome.value["job"]["credits_held"] == told["price"]["credits"] == 1
    assert outcome.value["dataset_name"] == "back"


def _written(world: Any, told: dict[str, Any], outcome: Any) -> None:
    (affected,) = told["affected"]
    assert (affected["kind"], affected["count"], affected["name"]) == ("file.written", 1, "drive.mcap")
    assert affected["size"] == outcome.value["files"][0]["size"] == len(RECORDING)


DONE = {
    "create_snapshot": _will_be_created,
    "restore_snapshot": _will_be_restored,
    "download_snapshot": _written,
}
REFUSED: Refusals = [
    ("create_snapshot", "invalid_selection", lambda w: {"name": "x"}),
    ("create_snapshot", "dataset_not_found", lambda w: {"name": "x", "dataset_name": "none"}),
    ("create_snapshot", "file_not_found", lambda w: {"name": "x", "paths": [str(w.folder / "no.mcap")]}),
    ("create_snapshot", "invalid_path", lambda w: {"name": "x", "uploads": [{"path": "../x", "size": 1}]}),
    ("create_snapshot", "invalid_name", lambda w: {"name": " ", "dataset_name": "signs"}),
    ("complete_snapshot", "snapshot_not_found", lambda w: {"snapshot": "none"}),
    ("complete_snapshot", "invalid_selection", lambda w: {**READY["complete_snapshot"](w), "etags": ["x"]}),
    ("restore_snapshot", "snapshot_not_found", lambda w: {"snapshot": "none"}),
    ("restore_snapshot", "snapshot_not_ready", lambda w: _put(w, {"drive.mcap": RECORDING})),
    ("restore_snapshot", "needs_engine", lambda w: {**_frozen(w), "labels": ["unicorn"]}),
    ("restore_snapshot", "needs_depth_engine", lambda w: _restored(w, depth=True)),
    ("restore_snapshot", "topic_not_found", lambda w: _restored(w, topics=["/none"])),
    ("restore_snapshot", "dataset_exists", lambda w: _restored(w, dataset_name="signs")),
    ("restore_snapshot", "project_not_found", lambda w: _restored(w, project="none")),
    ("restore_snapshot", "nothing_to_restore", lambda w: _frozen(w, {"x.txt": b"x"}, "text")),
    ("download_snapshot", "snapshot_not_found", lambda w: {"snapshot": "none"}),
    ("download_snapshot", "file_exists", _taken),
    (
        "download_snapshot",
        "folder_not_found",
        lambda w: {**_frozen(w), "output_folder": str(w.folder / "no")},
    ),
    ("delete_snapshot", "snapshot_not_found", lambda w: {"snapshot": "none"}),
]

"""Dry runs of what changes datasets, and which images they have."""

from __future__ import annotations

from typing import Any

from support.dry_world import Ready, Refusals, World


def file(world: World, name: str, **changes: Any) -> dict[str, Any]:
    return {"dataset_name": "signs", "file_path": str(world.folder / name)} | changes


READY: Ready = {
    "create_dataset": lambda w: {"name": "new"},
    "delete_dataset": lambda w: {"name": "signs"},
    "delete_image": lambda w: {"image_uuid": w.image().id},
    "set_dataset_classes": lambda w: {"dataset_name": "signs", "classes": [{"name": "sign"}, {"name": "b"}]},
    "upload_dataset_from_folder": lambda w: {"dataset_name": "signs", "folder": str(w.folder / "more")},
    "upload_image": lambda w: {"dataset_name": "signs", "file_path": str(w.folder / "new.jpg")},
}
OWN = {"delete_image"}
REFUSED: Refusals = [
    ("create_dataset", "dataset_exists", lambda w: {"name": "signs"}),
    ("create_dataset", "invalid_name", lambda w: {"name": "a/b"}),
    ("delete_dataset", "dataset_not_found", lambda w: {"name": "x"}),
    ("delete_image", "image_not_found", lambda w: {"image_uuid": "x"}),
    ("set_dataset_classes", "class_in_use", lambda w: {"dataset_name": "signs", "classes": [{"name": "b"}]}),
    (
        "set_dataset_classes",
        "reserved_attribute",
        lambda w: {
            "dataset_name": "signs",
            "classes": [{"name": "sign", "attributes": [{"name": "track", "options": ["a", "b"]}]}],
        },
    ),
    ("upload_dataset_from_folder", "folder_not_found", lambda w: {"dataset_name": "d", "folder": "/no/such"}),
    (
        "upload_dataset_from_folder",
        "invalid_name",
        lambda w: {"dataset_name": "a/b", "folder": str(w.folder / "more")},
    ),
    ("upload_image", "dataset_not_found", lambda w: file(w, "new.jpg", dataset_name="x")),
    ("upload_image", "image_exists", lambda w: file(w, "a.png")),
    ("upload_image", "file_not_found", lambda w: file(w, "nothing.jpg")),
    ("upload_image", "invalid_image", lambda w: file(w, "note.jpg")),
    ("upload_image", "invalid_name", lambda w: file(w, "new.jpg", folder_path="/a#b")),
]

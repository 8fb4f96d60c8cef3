"""Dry runs of the tools for uploaded images, and for many images at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from support.pictures import jpeg

from tintype_studio import clock
from tintype_studio.storage.uploads import UploadKind


def _uploaded(world: Any, data: bytes = b"", **given: Any) -> dict[str, Any]:
    uploads = world.runtime.studio.uploads
    ticket = uploads.issue(world.owner, "up.jpg", UploadKind.IMAGE)

    async def chunks() -> AsyncIterator[bytes]:
        yield data or jpeg(seed=9)

    asyncio.run(uploads.receive(uploads.slot(ticket.token), chunks()))
    return {"dataset_name": "signs", "upload_path": ticket.path, **given}


def _many(world: Any, **given: Any) -> dict[str, Any]:
    return {"dataset_name": "signs", "image_ids": [world.image().id], **given}


READY: dict[str, Callable[[Any], dict[str, Any]]] = {
    "register_image": _uploaded,
    "delete_annotations": lambda w: {"image_uuid": w.image().id},
    "move_images": lambda w: _many(w, target_folder_path="/moved"),
    "copy_images": lambda w: _many(w, copy_annotations=True),
    "delete_images": _many,
    "update_images": lambda w: _many(w, status="review", display_name="shown"),
}

REFUSED = [
    ("register_image", "image_exists", lambda w: _uploaded(w, filename="a.png")),
    ("register_image", "invalid_image", lambda w: _uploaded(w, b"no picture")),
    ("register_image", "invalid_selection", lambda w: _uploaded(w, dataset_id=clock.new_id())),
    ("register_image", "upload_not_found", lambda w: _uploaded(w) | {"upload_path": "uploads/x/y/z.jpg"}),
    ("delete_annotations", "image_not_found", lambda w: {"image_uuid": "none"}),
    ("delete_image", "image_not_found", lambda w: {"image_uuid": "none", "permanent": True}),
    ("move_images", "invalid_name", lambda w: _many(w, target_folder_path="/a#b")),
    ("move_images", "image_not_found", lambda w: _many(w) | {"image_ids": ["none"]}),
    ("copy_images", "dataset_not_found", lambda w: _many(w) | {"dataset_name": "none"}),
    ("delete_images", "image_not_found", lambda w: _many(w) | {"image_ids": ["none"]}),
    ("update_images", "empty_update", _many),
]

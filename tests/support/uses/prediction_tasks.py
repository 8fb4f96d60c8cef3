"""A prediction of a file that is sent over HTTP, begun through a door."""

from __future__ import annotations

from typing import Any

import httpx
from support.doors import DispatchDoor, Refused
from support.pictures import jpeg


def use_create_prediction_task(door: Any, world: Any) -> None:
    arguments = {"mime_type": "image/jpeg", "file_name": "am Hafen.jpg"}
    try:
        value = door.call("create_prediction_task", arguments).value
    except Refused as refused:
        if refused.shape["code"] != "no_http_server" or isinstance(door, DispatchDoor):
            raise
        return  # behind a pipe, where no server could take a file
    assert (value["media"], value["max_bytes"]) == ("image", 50 * 1024**2)
    files = {"file": ("file", jpeg(seed=3), "application/octet-stream")}
    put = httpx.post(value["form_url"], data=value["form_fields"], files=files)
    assert put.status_code == 204
    assert httpx.put(value["upload_url"], content=jpeg(seed=4)).status_code == 200
    task = world.make("get_prediction_status", prediction_task_uuid=value["prediction_task_uuid"])
    assert (task["status"], task["original_file_name"]) == ("awaiting_upload", "am Hafen.jpg")

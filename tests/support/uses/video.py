"""Videos through a door: the link, what they are, and their frames."""

from __future__ import annotations

from typing import Any

import httpx
from support.doors import DispatchDoor, Refused
from support.videos import HEIGHT, WIDTH, clip

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.storage.uploads import UploadKind


def _uploaded(world: Any) -> str:
    """The path of an uploaded clip of 40 frames."""
    studio = open_studio(Settings(home=world.site.home))
    try:
        who = studio.keys.authenticate(world.site.owner)
        ticket = studio.uploads.issue(who, "drive.mp4", UploadKind.VIDEO)
    finally:
        studio.close()
    data = clip(world.folder).read_bytes()
    assert httpx.put(f"{world.site.url}/_upload/{ticket.token}", content=data).status_code == 200
    return ticket.path


def use_create_video_upload_url(door: Any, world: Any) -> None:
    try:
        value = door.call("create_video_upload_url", {"filename": "night drive.mp4"}).value
    except Refused as refused:
        if refused.shape["code"] != "no_http_server" or isinstance(door, DispatchDoor):
            raise
        return  # behind a pipe, where no server could take a file
    assert value["max_bytes"] == 10 * 1024**3
    data = clip(world.folder).read_bytes()
    assert httpx.put(value["upload_url"], content=data).status_code == 200
    found = world.make("probe_video", upload_path=value["upload_path"])
    assert (found["frame_count"], found["width"], found["codec"]) == (40, WIDTH, "h264")


def use_probe_video(door: Any, world: Any) -> None:
    value = door.call("probe_video", {"upload_path": _uploaded(world)}).value
    assert (value["width"], value["height"], value["frame_count"]) == (WIDTH, HEIGHT, 40)


def use_extract_video_frames(door: Any, world: Any) -> None:
    arguments = {
        "upload_path": _uploaded(world),
        "dataset_name": world.dataset,
        "folder_path": "/frames",
        "fps": 2.0,
        "wait_seconds": 60,
    }
    value = door.call("extract_video_frames", arguments).value
    assert (value["job"]["status"], value["frames_extracted"], value["folder"]) == ("completed", 8, "/frames")
    images = world.make("get_dataset", name=world.dataset, include_images=True)["images"]
    frames = [image["filename"] for image in images if image["folder"] == "/frames"]
    assert frames == [f"drive_{n:06d}.jpg" for n in range(8)]


_begun: dict[Any, str] = {}
"""The extraction that all doors look at, by workspace."""


def use_get_video_extraction(door: Any, world: Any) -> None:
    home = world.site.home
    if home not in _begun:
        begun = world.make(
            "extract_video_frames", upload_path=_uploaded(world), dataset_name=world.dataset, wait_seconds=0
        )
        _begun[home] = begun["job"]["job_id"]
    value = door.call("get_video_extraction", {"job_id": _begun[home], "wait_seconds": 60}).value
    assert (value["job"]["status"], value["frames_extracted"], value["total_frames"]) == ("completed", 4, 4)

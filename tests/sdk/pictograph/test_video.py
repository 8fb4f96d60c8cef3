"""Videos, uploaded, probed and turned into images by the published SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.sdk import Sdk
from support.videos import HEIGHT, WIDTH, clip

UPLOADED = "info = client.video.upload(path)\n"
EXTRACT = UPLOADED + (
    "return client.video.extract_frames(name, info.gcs_path, folder_name=folder, poll_interval=0.2, **given)"
)
RAW = {"sample_fps": 2.0, "parent_folder_path": "/day"}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(clip(tmp_path_factory.mktemp("video"), "night drive.mp4"))


def frames_of(sdk: Sdk, name: str) -> list[str]:
    images: Any = sdk.run("return client.datasets.get(name, include_images=True)", name=name)["images"]
    return [image["filename"] for image in images]


def dataset(sdk: Sdk, name: str) -> str:
    sdk.run("return client.projects.create(name)", name=name)
    return name


def test_upload_and_probe(sdk: Sdk, video: str) -> None:
    found = sdk.run(UPLOADED + "return client.video.probe(info.gcs_path)", path=video)
    assert (found["duration_seconds"], found["native_fps"]) == pytest.approx((4.0, 10.0), rel=0.02)
    assert (found["width"], found["height"], found["frame_count"]) == (WIDTH, HEIGHT, 40)


def test_frames_become_images(sdk: Sdk, video: str) -> None:
    name = dataset(sdk, "sdk roads")
    job = sdk.run(EXTRACT, path=video, name=name, folder="raw", given=RAW)
    assert (job["status"], job["progress"], job["error"]) == ("complete", 100, None)
    assert (job["frames_extracted"], job["total_frames"], job["folder_path"]) == (8, 8, "/day/raw")
    assert sdk.run("return client.video.get_extraction(id)", id=job["job_id"]) == job
    assert frames_of(sdk, name) == [f"night drive_{n:06d}.jpg" for n in range(8)]
    again = sdk.run(EXTRACT, path=video, name=name, folder="raw", given=RAW)
    assert (again["status"], again["frames_extracted"]) == ("complete", 8)
    assert len(frames_of(sdk, name)) == 8


def test_without_waiting(sdk: Sdk, video: str) -> None:
    name = dataset(sdk, "sdk later")
    job = sdk.run(EXTRACT, path=video, name=name, folder="later", given={"wait": False})
    assert (job["status"], job["folder_path"]) == ("processing", None)
    waited = "return client.video.wait_for_extraction(id, poll_interval=0.2, timeout=60)"
    assert sdk.run(waited, id=job["job_id"])["frames_extracted"] == 4
    assert len(frames_of(sdk, name)) == 4


def test_what_is_no_video(sdk: Sdk, tmp_path: Path) -> None:
    """The documented status, for which this SDK has no class of its own."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video")
    error = sdk.fails(UPLOADED + "client.video.probe(info.gcs_path)", path=str(path))
    assert (error["type"], error["status_code"]) == ("ApiError", 415)
    name = dataset(sdk, "sdk nothing")
    error = sdk.fails(EXTRACT, path=str(path), name=name, folder="x", given={})
    assert (error["type"], error["status_code"]) == ("ApiError", 415)


def test_what_is_not_there(sdk: Sdk, video: str) -> None:
    error = sdk.fails("client.video.probe('uploads/x/y/z.mp4')")
    assert (error["type"], error["status_code"]) == ("NotFoundError", 404)
    error = sdk.fails(EXTRACT, path=video, name="nowhere", folder="x", given={})
    assert (error["type"], error["status_code"]) == ("NotFoundError", 404)
    error = sdk.fails("client.video.get_extraction('nothing')")
    assert (error["type"], error["status_code"]) == ("NotFoundError", 404)


def test_another_organizations_video(sdk: Sdk, video: str) -> None:
    path = sdk.run("return client.video.upload(path)", path=video)["gcs_path"]
    error = sdk.with_key(sdk.server.elsewhere).fails("client.video.probe(path)", path=path)
    assert (error["type"], error["status_code"]) == ("NotFoundError", 404)


def test_a_viewer_extracts_nothing(sdk: Sdk, video: str) -> None:
    error = sdk.as_("viewer").fails(EXTRACT, path=video, name="sdk roads", folder="x", given={})
    assert error["status_code"] == 403

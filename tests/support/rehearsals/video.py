"""Dry runs of the extraction of frames."""

from __future__ import annotations

from typing import Any

from support.videos import clip


def _clip(world: Any, **more: Any) -> dict[str, Any]:
    """Four seconds, of which one frame each is asked for."""
    return {"dataset_name": "signs", "local_path": str(clip(world.folder)), "wait_seconds": 0, **more}


def _no_video(world: Any) -> dict[str, Any]:
    (world.folder / "notes.mp4").write_text("no video")
    return _clip(world, local_path=str(world.folder / "notes.mp4"))


def _uploaded(world: Any) -> dict[str, Any]:
    path = f"uploads/{world.owner.organization_uuid}/{32 * '0'}/a.mp4"
    return {"dataset_name": "signs", "upload_path": path}


READY = {"extract_video_frames": _clip}
REFUSED = [
    ("extract_video_frames", "file_not_found", lambda w: _clip(w, local_path="/no/such.mp4")),
    ("extract_video_frames", "upload_not_found", _uploaded),
    ("extract_video_frames", "unsupported_format", _no_video),
    ("extract_video_frames", "dataset_not_found", lambda w: _clip(w, dataset_name="x")),
    ("extract_video_frames", "invalid_span", lambda w: _clip(w, start_seconds=3, end_seconds=3)),
    ("extract_video_frames", "nothing_to_extract", lambda w: _clip(w, start_seconds=9)),
    ("extract_video_frames", "invalid_selection", lambda w: _clip(w, upload_path="uploads/x")),
    ("extract_video_frames", "invalid_name", lambda w: _clip(w, folder_path="/../x")),
]


def _queued(world: Any, told: dict[str, Any], outcome: Any) -> None:
    """The job does it later, so that the history has nothing yet."""
    (affected,) = told["affected"]
    assert (affected["kind"], affected["count"], affected["dataset"]) == ("images.added", 4, "signs")
    assert outcome.value["job"]["status"] == "queued"


DONE = {"extract_video_frames": _queued}

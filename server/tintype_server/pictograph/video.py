"""``/video``: upload, probe, frames into a dataset."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Wire, WireBody, answers
from tintype_studio.storage.uploads import BUCKET
from tintype_studio.video.choice import LEAST_FPS, MOST_FPS, MOST_SECONDS

STATUS = {
    "queued": "processing",
    "running": "processing",
    "completed": "complete",
    "failed": "failed",
    "cancelled": "failed",
}
"""Clients know these three words and no other."""

GcsPath = Annotated[str, Field(max_length=400, description="`gcs_path` of the upload link.")]
Seconds = Annotated[float | None, Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False)]


class VideoUploadUrlBody(WireBody):
    """What will be put."""

    filename: Annotated[str, Field(max_length=255)]
    content_type: Annotated[str, Field(max_length=100)] = "video/mp4"


class VideoUploadUrl(Wire):
    """PUT the bytes to ``upload_url`` within the hour; ``gcs_path`` then names the video for a day."""

    upload_url: str
    gcs_bucket: str
    gcs_path: str
    gcs_uri: str
    max_bytes: int


class ProbeBody(WireBody):
    """Which video."""

    gcs_path: GcsPath


class VideoMetadata(Wire):
    """A video. Pixels are those of the upright picture; ``native_fps``, also ``fps``, is its average rate."""

    duration_seconds: float
    native_fps: float
    fps: float
    width: int
    height: int
    frame_count: int
    codec: str


class ExtractBody(WireBody):
    """Which frames, and where to: a dataset by name or id; a folder as ``folder_path``, or as
    ``parent_folder_path`` and ``folder_name``.
    """

    gcs_path: GcsPath
    dataset_name: Annotated[str | None, Field(max_length=300)] = None
    dataset_id: Annotated[str | None, Field(max_length=80)] = None
    folder_path: Annotated[str | None, Field(max_length=500)] = None
    folder_name: Annotated[str | None, Field(max_length=500)] = None
    parent_folder_path: Annotated[str, Field(max_length=500)] = "/"
    fps: Annotated[float | None, Field(ge=LEAST_FPS, le=MOST_FPS, allow_inf_nan=False)] = None
    sample_fps: Annotated[float, Field(ge=LEAST_FPS, le=MOST_FPS, allow_inf_nan=False)] = 1.0
    start_seconds: Seconds = None
    end_seconds: Seconds = None
    max_frames: Annotated[int | None, Field(ge=1, le=100_000)] = None

    def folder(self) -> str:
        """The folder that is meant."""
        if self.folder_path is not None:
            return self.folder_path
        return f"{self.parent_folder_path.rstrip('/')}/{(self.folder_name or '').strip('/')}"


class VideoExtractionJob(Wire):
    """An extraction. Frames that the dataset had already count as extracted. ``folder_path`` is null until
    it is complete.
    """

    job_id: str
    status: Literal["processing", "complete", "failed"]
    progress: int
    frames_extracted: int
    total_frames: int
    failed_frames: int
    error: str | None
    folder_path: str | None
    notes: list[str]


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/video", "Video")

    @router.post("/upload-url", responses=answers(VideoUploadUrl))
    async def upload_url(request: Request, body: VideoUploadUrlBody) -> Response:
        """A link to put a video to, of up to 10 GiB."""
        outcome = await door.call(request, "create_video_upload_url", {"filename": body.filename})
        path = outcome.value["upload_path"]
        link = {
            "upload_url": outcome.value["upload_url"],
            "gcs_bucket": BUCKET,
            "gcs_path": path,
            "gcs_uri": f"gs://{BUCKET}/{path}",
            "max_bytes": outcome.value["max_bytes"],
        }
        return door.answer(request, link, outcome)

    @router.post("/probe", responses=answers(VideoMetadata))
    async def probe(request: Request, body: ProbeBody) -> Response:
        """Length, rate, size and codec of an uploaded video."""
        outcome = await door.call(request, "probe_video", {"upload_path": body.gcs_path})
        return door.answer(request, outcome.value | {"fps": outcome.value["native_fps"]}, outcome)

    @router.post("/extract-frames", responses=answers(VideoExtractionJob))
    async def extract(request: Request, body: ExtractBody) -> Response:
        """Take frames into a dataset as images named `<video>_000000.jpg` and so on; free."""
        arguments = {
            "upload_path": body.gcs_path,
            "dataset_name": body.dataset_name,
            "dataset_id": body.dataset_id,
            "folder_path": body.folder(),
            "fps": body.fps or body.sample_fps,
            "start_seconds": body.start_seconds,
            "end_seconds": body.end_seconds,
            "max_frames": body.max_frames,
            "wait_seconds": 0,
        }
        outcome = await door.call(request, "extract_video_frames", arguments)
        return door.answer(request, wire_extraction(outcome.value), outcome)

    @router.get("/extract-frames/{job_id}", responses=answers(VideoExtractionJob))
    async def get_extraction(request: Request, job_id: str) -> Response:
        """How an extraction is doing."""
        outcome = await door.call(request, "get_video_extraction", {"job_id": job_id})
        return door.answer(request, wire_extraction(outcome.value), outcome)

    return router


def wire_extraction(found: dict[str, Any]) -> dict[str, Any]:
    """An extraction on the wire."""
    job = found["job"]
    status, error = STATUS[job["status"]], job.get("error")
    total = found.get("total_frames") or 0
    message = f"{error['message']} {error['fix']}" if error else None
    if job["status"] == "cancelled":
        message = "The extraction was cancelled."
    return {
        "job_id": job["job_id"],
        "status": status,
        "progress": 100 if status == "complete" else min(99, 100 * job["done"] // total if total else 0),
        "frames_extracted": found["frames_extracted"] + found["frames_skipped"],
        "total_frames": total,
        "failed_frames": found["frames_failed"],
        "error": message,
        "folder_path": found["folder"] if status == "complete" else None,
        "notes": found.get("notes") or [],
    }

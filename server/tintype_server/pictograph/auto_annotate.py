"""``/auto-annotate``: prompts about one image, and batches of many."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Wire, WireBody, answers
from tintype_studio.jobs.job import JobStatus

Name = Annotated[str, Field(max_length=300)]
Filename = Annotated[str, Field(min_length=1, max_length=800)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Coordinate = Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)]
Pixel = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]
Box = dict[str, float]

BATCH_STATUS: dict[str, str] = {
    JobStatus.QUEUED: "pending",
    JobStatus.RUNNING: "running",
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "cancelled",
}
OTHER_MODELS = frozenset({"sam3"})
"""What a client calls the engines that need no trained model."""
STOP_SECONDS = 3
"""How long a cancelled batch is waited for, so that the answer tells its end."""


class PointResult(Wire):
    """What is at the point: ``annotation`` is null unless ``status`` is success. Nothing is saved."""

    status: Literal["success", "no_detection", "below_threshold"]
    annotation: dict[str, Any] | None
    score: float | None
    inference_time: float | None


class PromptResult(Wire):
    """What was found, best first; time in seconds. Nothing is saved."""

    status: Literal["success", "no_detection", "below_threshold"]
    annotations: list[dict[str, Any]]
    score: float | None
    inference_time: float | None


class WholeImage(Wire):
    """The best classes of a whole image."""

    image_uuid: str
    classes: list[dict[str, Any]]


class BatchJob(Wire):
    """A batch. ``total_images`` are all that were named, ``failed_images`` also those that are not there;
    ``images_skipped`` have annotations that are more than drafts. ``estimated_credits`` were set aside for
    it, ``credits_charged`` it has cost so far. ``answers`` are those of a model that classifies whole images.
    """

    job_id: str
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    progress: Annotated[int, Field(ge=0, le=100)]
    total_images: int
    processed_images: int
    total_annotations_added: int
    failed_images: int
    images_skipped: int
    error_message: str | None
    estimated_credits: int
    credits_charged: int
    completed_at: datetime | None
    missing: list[str]
    notes: list[str]
    answers: list[WholeImage]


class PointBody(WireBody):
    """Pixels on the object, and pixels that are not."""

    dataset_name: Name
    image_filename: Filename
    x: Coordinate
    y: Coordinate
    name: str = "object"
    positive_points: list[Pixel] | None = None
    negative_points: list[Pixel] | None = None
    score_threshold: Share = 0.75


class BoxBody(WireBody):
    """A rough box around the object: ``x``, ``y``, ``w`` and ``h`` in pixels."""

    dataset_name: Name
    image_filename: Filename
    box: Box
    name: str
    confidence_threshold: Share = 0.5
    return_polygon: bool = True
    negative_boxes: list[Box] | None = None


class TextBody(WireBody):
    """What to find, in words; its annotations bear the words as their class."""

    dataset_name: Name
    image_filename: Filename
    text_prompt: str
    output_type: Literal["polygon", "bbox"] = "polygon"
    confidence_threshold: Share = 0.3
    max_detections: Annotated[int, Field(ge=1, le=100)] = 50


class BatchClass(WireBody):
    """A class to find."""

    name: Annotated[str, Field(min_length=1)]
    output_type: Literal["polygon", "bbox", "tag"] = "polygon"


class BatchBody(WireBody):
    """Which images, which classes. ``model_id`` is a trained model's; without one, or with ``sam3``, the best
    engine of the dataset is asked.
    """

    dataset_name: Name
    image_filenames: Annotated[list[Filename], Field(min_length=1, max_length=10_000)]
    classes: list[BatchClass] = []
    confidence_threshold: Share = 0.5
    top_k: Annotated[int, Field(ge=1, le=5)] = 1
    model_id: Annotated[str | None, Field(max_length=80)] = None


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/auto-annotate", "Auto-annotate")

    @router.post("/sam3/point", responses=answers(PointResult))
    async def point(request: Request, body: PointBody) -> Response:
        """Outline the object at a point."""
        outcome = await door.call(request, "auto_annotate_point", body.model_dump())
        found = wire_prompt(outcome.value)
        annotations = found.pop("annotations")
        return door.answer(request, found | {"annotation": annotations[0] if annotations else None}, outcome)

    @router.post("/sam3/box", responses=answers(PromptResult))
    async def box(request: Request, body: BoxBody) -> Response:
        """Outline the object in a box, or tighten the box."""
        outcome = await door.call(request, "auto_annotate_box", body.model_dump())
        return door.answer(request, wire_prompt(outcome.value), outcome)

    @router.post("/sam3/text", responses=answers(PromptResult))
    async def text(request: Request, body: TextBody) -> Response:
        """Find everything that the words name."""
        outcome = await door.call(request, "auto_annotate_text", body.model_dump(exclude={"max_detections"}))
        found = wire_prompt(outcome.value)
        found["annotations"] = found["annotations"][: body.max_detections]
        return door.answer(request, found, outcome)

    @router.post("/batch", responses=answers(BatchJob))
    async def batch(request: Request, body: BatchBody) -> Response:
        """Label many images. What is found is saved, and the images are complete then; those with annotations
        that are more than drafts are passed over.
        """
        arguments = body.model_dump() | {"wait_seconds": 0}
        if body.model_id in OTHER_MODELS:
            arguments["model_id"] = None
        outcome = await door.call(request, "auto_annotate_images", arguments)
        return door.answer(request, wire_batch(outcome.value), outcome)

    @router.get("/batch/{job_id}", responses=answers(BatchJob))
    async def get_batch(request: Request, job_id: str) -> Response:
        """How a batch is doing."""
        outcome = await door.call(request, "get_auto_annotate_job", {"job_id": job_id})
        return door.answer(request, wire_batch(outcome.value), outcome)

    @router.post("/batch/{job_id}/cancel", responses=answers(BatchJob))
    async def cancel_batch(request: Request, job_id: str) -> Response:
        """Stop a batch. What is labelled stays and stays charged; the rest is free again."""
        known = {"job_id": job_id}
        await door.call(request, "get_auto_annotate_job", known)
        outcome = await door.call(request, "cancel_job", known)
        ended = await door.call(request, "get_auto_annotate_job", known | {"wait_seconds": STOP_SECONDS})
        return door.answer(request, wire_batch(ended.value), outcome)

    return router


def wire_prompt(found: dict[str, Any]) -> dict[str, Any]:
    """The answer to a prompt on the wire."""
    return {
        "status": found["status"],
        "annotations": found["annotations"],
        "score": found.get("score"),
        "inference_time": found["inference_time"],
    }


def wire_batch(found: dict[str, Any]) -> dict[str, Any]:
    """A batch on the wire."""
    job = found["job"]
    status = BATCH_STATUS[job["status"]]
    error = job.get("error")
    total = job.get("total") or 0
    share = 100 * job["done"] // total if total else 0
    return {
        "job_id": job["job_id"],
        "status": status,
        "progress": 100 if status == "completed" else min(99, share),
        "total_images": found["images_named"] + found["missing_count"],
        "processed_images": found["images_processed"],
        "total_annotations_added": found["annotations_added"],
        "failed_images": job["failed"] + found["missing_count"],
        "images_skipped": found["images_skipped"],
        "error_message": f"{error['message']} {error['fix']}" if error else None,
        "estimated_credits": job["credits_held"],
        "credits_charged": job["credits_charged"],
        "completed_at": job.get("finished_at"),
        "missing": found["missing"],
        "notes": found["notes"],
        "answers": found.get("answers") or [],
    }

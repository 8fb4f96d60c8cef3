"""See how an extraction of frames is doing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.errors import NotFound
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.catalog.extract_video_frames import KIND
from tintype_tools.job_shapes import JobId
from tintype_tools.spec import Args, Category, Effect, ToolSpec
from tintype_tools.video_shapes import TOOLSET, ExtractionResult, extraction


class GetVideoExtractionArgs(Args):
    """Which extraction."""

    job_id: JobId
    wait_seconds: Annotated[int, Field(ge=0, le=60, description="Wait so long for its end.")] = 0


def handle(args: GetVideoExtractionArgs, call: Call) -> ExtractionResult:
    """Look, or wait and look."""
    job = call.studio.jobs.get(call.principal, args.job_id)
    if job.kind != KIND:
        raise NotFound(
            "This job extracts no frames.",
            code="job_not_found",
            fix="Use get_job for jobs of any kind.",
        )
    if args.wait_seconds:
        job = call.studio.jobs.wait(
            call.principal, job.id, args.wait_seconds, progress=call.progress, check=call.check
        )
    return extraction(job, call)


TOOL = ToolSpec(
    name="get_video_extraction",
    title="Follow an extraction of frames",
    category=Category.VIDEO,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when a job of extract_video_frames goes on: how many frames are there, and which were given up "
        "and why. With wait_seconds it waits for the end; cancel_job stops it."
    ),
    args=GetVideoExtractionArgs,
    result=ExtractionResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

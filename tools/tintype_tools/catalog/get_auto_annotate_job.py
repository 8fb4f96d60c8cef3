"""See how the labelling of named images is doing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.job_shapes import JobId
from tintype_tools.named_labelling import NamedLabellingResult, own_job, report
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class GetAutoAnnotateJobArgs(Args):
    """Which job."""

    job_id: JobId
    wait_seconds: Annotated[int, Field(ge=0, le=60, description="Wait so long for its end.")] = 0


def handle(args: GetAutoAnnotateJobArgs, call: Call) -> NamedLabellingResult:
    """Look, or wait and look."""
    job = own_job(call, args.job_id)
    if args.wait_seconds:
        job = call.studio.jobs.wait(
            call.principal, job.id, args.wait_seconds, progress=call.progress, check=call.check
        )
    return report(job, call)


TOOL = ToolSpec(
    name="get_auto_annotate_job",
    title="Follow the labelling of named images",
    category=Category.AUTO_ANNOTATE,
    toolset="auto_annotate",
    core=False,
    description=(
        "Use when a job of auto_annotate_images goes on: what was labelled, missed and given up so far. With "
        "wait_seconds it waits for the end; cancel_job stops it."
    ),
    args=GetAutoAnnotateJobArgs,
    result=NamedLabellingResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

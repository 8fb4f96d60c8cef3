"""Begin a prediction about a file that is sent over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tintype_studio.errors import Conflict
from tintype_studio.identity.roles import Role
from tintype_studio.predictions.asking import LEAST_FPS, MOST_FPS, USUAL_FPS, media_of
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.prediction_asking import TOOLSET
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec
from tintype_tools.upload_links import link_expires, upload_link


class CreatePredictionTaskArgs(Args):
    """What will come."""

    mime_type: Annotated[str, Field(description="image/… or video/….", max_length=100)]
    file_name: Annotated[
        str | None, Field(description="As you call the file; shown in results.", max_length=1000)
    ] = None
    frames_per_second: Annotated[
        int | None,
        Field(
            ge=LEAST_FPS,
            le=MOST_FPS,
            description=f"Of a video: frames a second that are looked at; default {USUAL_FPS}.",
        ),
    ] = None


class CreatePredictionTaskResult(Result):
    """PUT the bytes to ``upload_url``; or POST a form to ``form_url``, with ``form_fields`` and then the file
    as a part named file. The address works for an hour, the task until ``expires_at``.
    """

    prediction_task_uuid: str
    media: str
    upload_url: str
    form_url: str
    form_fields: dict[str, str]
    upload_path: str
    max_bytes: int
    upload_expires_at: datetime
    expires_at: datetime


def plan(args: CreatePredictionTaskArgs, call: Call) -> Plan:
    """A task that waits for its file."""
    _require_server(call)
    call.studio.predictions.require_begin(
        call.principal,
        media=media_of(args.mime_type),
        mime_type=args.mime_type,
        frames_per_second=args.frames_per_second,
    )
    return Plan((Affected("prediction_task.created", 1, name=args.file_name),), undoable=False)


def handle(args: CreatePredictionTaskArgs, call: Call) -> CreatePredictionTaskResult:
    """Make the task, and leave to put its file."""
    _require_server(call)
    task, ticket = call.studio.predictions.begin(
        call.principal,
        media=media_of(args.mime_type),
        mime_type=args.mime_type,
        file_name=args.file_name,
        frames_per_second=args.frames_per_second,
    )
    return CreatePredictionTaskResult(
        prediction_task_uuid=task.id,
        media=task.media,
        upload_url=upload_link(call, ticket),
        form_url=f"{call.base_url}/_upload",
        form_fields={"key": ticket.path, "token": ticket.token},
        upload_path=ticket.path,
        max_bytes=ticket.max_bytes,
        upload_expires_at=link_expires(),
        expires_at=task.expires_at,
    )


def _require_server(call: Call) -> None:
    if call.base_url is None:
        raise Conflict(
            "This caller reaches no HTTP server that a file could be put to.",
            code="no_http_server",
            fix="Give predict_image or predict_video a local_path, or have TINTYPE_BASE_URL set.",
        )


TOOL = ToolSpec(
    name="create_prediction_task",
    title="Begin a prediction of an upload",
    category=Category.PREDICTIONS,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when a file to predict is yours, not the server's: gives a task and an address that takes its "
        "bytes (images to 50 MiB, videos to 10 GiB). Then call predict_image or predict_video with the "
        "prediction_task_uuid. Free; forgotten after some days."
    ),
    args=CreatePredictionTaskArgs,
    result=CreatePredictionTaskResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    plan=plan,
    handler=handle,
)

"""A link to put one video to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.storage.uploads import UploadKind
from tintype_tools.call import Call
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec
from tintype_tools.upload_links import link_expires, upload_link
from tintype_tools.video_shapes import TOOLSET


class CreateVideoUploadUrlArgs(Args):
    """What will come."""

    filename: Annotated[str, Field(description="File name; frames are named after it.", max_length=255)]


class CreateVideoUploadUrlResult(Result):
    """PUT the bytes to ``upload_url``; ``upload_path`` then names the video, for a day."""

    upload_url: str
    upload_path: str
    max_bytes: int
    expires_at: datetime


def handle(args: CreateVideoUploadUrlArgs, call: Call) -> CreateVideoUploadUrlResult:
    """Make the link."""
    ticket = call.studio.uploads.issue(call.principal, args.filename, UploadKind.VIDEO)
    return CreateVideoUploadUrlResult(
        upload_url=upload_link(call, ticket),
        upload_path=ticket.path,
        max_bytes=ticket.max_bytes,
        expires_at=link_expires(),
    )


TOOL = ToolSpec(
    name="create_video_upload_url",
    title="Create a video upload link",
    category=Category.VIDEO,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when a video is not on the server's disk and a program can send it over HTTP: gives a link for "
        "one PUT of up to 10 GiB. Afterwards call extract_video_frames within a day."
    ),
    args=CreateVideoUploadUrlArgs,
    result=CreateVideoUploadUrlResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.READ,
    quick_unless=frozenset(),
    handler=handle,
)

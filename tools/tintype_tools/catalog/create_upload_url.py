"""A link to put one picture to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.storage.uploads import UploadKind
from tintype_tools.call import Call
from tintype_tools.shapes import VirtualFolder
from tintype_tools.spec import Category, Effect, Result, ToolSpec
from tintype_tools.upload_links import IntoDataset, link_expires, upload_link


class CreateUploadUrlArgs(IntoDataset):
    """What will come, and where to."""

    filename: Annotated[str, Field(description="File name with its extension.", max_length=255)]
    folder_path: VirtualFolder = "/"


class CreateUploadUrlResult(Result):
    """PUT the bytes to ``upload_url``, then call register_image with ``upload_path``."""

    upload_url: str
    upload_path: str
    max_bytes: int
    expires_at: datetime


def handle(args: CreateUploadUrlArgs, call: Call) -> CreateUploadUrlResult:
    """Make the link; a name that is taken is told before any byte is sent."""
    dataset = args.dataset(call)
    call.studio.ingest.expect(dataset, args.filename, args.folder_path)
    ticket = call.studio.uploads.issue(call.principal, args.filename, UploadKind.IMAGE)
    return CreateUploadUrlResult(
        upload_url=upload_link(call, ticket),
        upload_path=ticket.path,
        max_bytes=ticket.max_bytes,
        expires_at=link_expires(),
    )


TOOL = ToolSpec(
    name="create_upload_url",
    title="Create an upload link",
    category=Category.IMAGES,
    toolset="images",
    core=False,
    description=(
        "Use when a picture is not on the server's disk and a program can send it over HTTP: gives a link "
        "for one PUT. Afterwards call register_image."
    ),
    args=CreateUploadUrlArgs,
    result=CreateUploadUrlResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.READ,
    quick_unless=frozenset(),
    handler=handle,
)

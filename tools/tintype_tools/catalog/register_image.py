"""Take up a picture that was put to an upload link."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from pydantic import Field

from tintype_studio.errors import TintypeError
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import ImageShape, VirtualFolder
from tintype_tools.spec import Category, Effect, ToolSpec
from tintype_tools.upload_links import IntoDataset, UploadPath


class RegisterImageArgs(IntoDataset):
    """Which upload, and where to."""

    upload_path: UploadPath
    filename: Annotated[
        str | None, Field(description="File name; that of the link if left out.", max_length=255)
    ] = None
    folder_path: VirtualFolder = "/"


def handle(args: RegisterImageArgs, call: Call) -> ImageShape:
    """Check the bytes, and make them an image. The upload is gone once that is true."""
    uploads, principal = call.studio.uploads, call.principal
    sample = call.studio.ingest.add_upload(
        principal,
        args.dataset(call),
        read=lambda limit: uploads.read(principal, args.upload_path, max_bytes=limit),
        filename=args.filename or args.upload_path.rpartition("/")[2],
        folder=args.folder_path,
    )

    def discard() -> None:
        # What is left is swept; the image is there.
        with suppress(TintypeError, OSError):
            uploads.discard(principal, args.upload_path)

    call.studio.database.after_commit(discard)
    return ImageShape.of(sample, call)


TOOL = ToolSpec(
    name="register_image",
    title="Register an uploaded image",
    category=Category.IMAGES,
    toolset="images",
    core=False,
    description=(
        "Use when a picture was put to a link of create_upload_url: checks it, and adds it to the dataset. "
        "HEIC becomes PNG. Fails if the folder has an image of that name."
    ),
    args=RegisterImageArgs,
    result=ImageShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    handler=handle,
)

"""Upload one picture."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.catalog.image_files import read_image_file
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName, ImageShape, VirtualFolder
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class UploadImageArgs(Args):
    """Which file, and where to."""

    dataset_name: DatasetName
    file_path: Annotated[
        str, Field(description="Local picture: JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC, at most 50 MB.")
    ]
    folder_path: VirtualFolder = "/"


def handle(args: UploadImageArgs, call: Call) -> ImageShape:
    """Take the file."""
    path = call.files.file(args.file_path)
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    sample = call.studio.ingest.add_image(
        call.principal, dataset, data=read_image_file(path), filename=path.name, folder=args.folder_path
    )
    return ImageShape.of(sample, call)


TOOL = ToolSpec(
    name="upload_image",
    title="Upload an image",
    category=Category.IMAGES,
    toolset="images",
    core=False,
    description=(
        "Use when the user wants to add a single local picture to an existing dataset. For a folder of "
        "pictures use upload_dataset_from_folder."
    ),
    args=UploadImageArgs,
    result=ImageShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    handler=handle,
)

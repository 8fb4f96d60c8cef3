"""Move pictures into a virtual folder."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.batch_shapes import BatchShape, ManyImages
from tintype_tools.call import Call
from tintype_tools.shapes import VirtualFolder
from tintype_tools.spec import Category, Effect, ToolSpec


class MoveImagesArgs(ManyImages):
    """Which ones, and where to."""

    target_folder_path: VirtualFolder = "/"


def handle(args: MoveImagesArgs, call: Call) -> BatchShape:
    """Move."""
    done = call.studio.batch.move(call.principal, args.dataset_name, args.image_ids, args.target_folder_path)
    return BatchShape.of(done)


TOOL = ToolSpec(
    name="move_images",
    title="Move images",
    category=Category.IMAGES,
    toolset="batch",
    core=False,
    description=(
        "Use when the user wants many images of a dataset in another virtual folder, up to 10,000 at once. "
        "An image whose name is taken there is reported and stays."
    ),
    args=MoveImagesArgs,
    result=BatchShape,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    bulk=True,
    handler=handle,
)

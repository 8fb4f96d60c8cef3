"""Upload a folder of pictures."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.catalog.folder_walk import require_pictures
from tintype_studio.identity.roles import Role
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class UploadDatasetFromFolderArgs(Args):
    """Which folder, and how."""

    dataset_name: DatasetName
    folder: Annotated[str, Field(description="Local folder; it is read with all its subfolders.")]
    organize_by_class: Annotated[
        bool, Field(description="First-level subfolders become virtual folders; deeper levels collapse.")
    ] = True
    max_workers: Annotated[int, Field(ge=1, le=32, description="Files handled at a time.")] = 8
    skip_existing: Annotated[
        bool, Field(description="Skip names that the dataset has; false reports them as failures.")
    ] = True


class UploadFailure(Result):
    """A file that was not taken."""

    path: str
    code: str
    reason: str


class UploadDatasetFromFolderResult(Result):
    """What became of the files. ``files_ignored`` counts those that are no pictures, and some are named."""

    dataset_name: str
    images_attempted: int
    images_uploaded: int
    images_skipped: int
    failures: list[UploadFailure]
    files_ignored: int | None = None
    ignored_examples: list[str] | None = None


def plan(args: UploadDatasetFromFolderArgs, call: Call) -> Plan:
    """How many pictures there are to take, and how many of them the dataset has by name."""
    folder = call.files.folder(args.folder)
    require_pictures(folder)
    dataset = call.studio.datasets.find(call.principal, args.dataset_name)
    found = call.studio.ingest.survey(dataset, folder, organize_by_class=args.organize_by_class)
    images = Affected(
        "images.added",
        found.pictures - found.existing,
        args.dataset_name,
        detail={"pictures": found.pictures, "existing": found.existing},
    )
    made = () if dataset is not None else (Affected("dataset.created", 1, args.dataset_name),)
    return Plan((*made, images))


def handle(args: UploadDatasetFromFolderArgs, call: Call) -> UploadDatasetFromFolderResult:
    """Take the folder; the dataset is made when it does not exist."""
    folder = call.files.folder(args.folder)
    require_pictures(folder)
    dataset = call.studio.datasets.get_or_create(call.principal, args.dataset_name)
    report = call.studio.ingest.add_folder(
        call.principal,
        dataset,
        folder,
        organize_by_class=args.organize_by_class,
        skip_existing=args.skip_existing,
        max_workers=args.max_workers,
        allowed=call.files.allows,
        progress=call.progress,
    )
    return UploadDatasetFromFolderResult(
        dataset_name=report.dataset_name,
        images_attempted=report.images_attempted,
        images_uploaded=report.images_uploaded,
        images_skipped=report.images_skipped,
        failures=[UploadFailure(path=f.path, code=f.code, reason=f.reason) for f in report.failures],
        files_ignored=report.files_ignored or None,
        ignored_examples=report.ignored_examples or None,
    )


TOOL = ToolSpec(
    name="upload_dataset_from_folder",
    title="Upload a folder as a dataset",
    category=Category.WORKFLOWS,
    toolset="images",
    description=(
        "Use when the user asks to upload a folder of pictures. Creates the dataset if needed, reads the "
        "folder with its subfolders and reports what was uploaded, skipped and refused. After a break, call "
        "it again: it carries on."
    ),
    args=UploadDatasetFromFolderArgs,
    result=UploadDatasetFromFolderResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    atomic=False,
    bulk=True,
    plan=plan,
    handler=handle,
)

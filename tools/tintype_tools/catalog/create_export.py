"""Build an export."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.exports.service import ExportOptions
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, WaitSeconds
from tintype_tools.shapes import DatasetName, ExportShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec

KIND = "export"


class CreateExportArgs(Args):
    """What to export, and how."""

    dataset_name: DatasetName
    name: Annotated[str, Field(description="Name of the export, unique in the dataset; a date helps.")]
    format: Annotated[
        Literal["pictograph", "coco", "yolo", "pascal_voc", "cvat", "labelme", "csv", "edgefirst"],
        Field(description="edgefirst keeps all sensors, pictograph all of images; coco, yolo: training."),
    ] = "pictograph"
    include_images: Annotated[bool, Field(description="Put the image files into the ZIP.")] = True
    class_filter: Annotated[
        list[str] | None, Field(description="Only annotations of these classes; images stay.")
    ] = None
    status_filter: Annotated[
        Literal["all", "complete", "in_progress", "new"], Field(description="Only images of this status.")
    ] = "complete"
    wait_seconds: WaitSeconds = DEFAULT_WAIT


def plan(args: CreateExportArgs, call: Call) -> Plan:
    """How many images would be exported."""
    images = call.studio.exports.survey(
        call.principal, dataset_name=args.dataset_name, name=args.name, options=_options(args)
    )
    return Plan(
        (Affected("export.created", 1, args.dataset_name, args.name, {"images": images}),), undoable=False
    )


def _options(args: CreateExportArgs) -> ExportOptions:
    return ExportOptions(
        format=args.format,
        include_images=args.include_images,
        class_filter=args.class_filter,
        status_filter=args.status_filter,
    )


def handle(args: CreateExportArgs, call: Call) -> Output:
    """Build a small one here; a large one is a job."""
    exports, options = call.studio.exports, _options(args)
    if exports.is_small(call.principal, args.dataset_name, options):
        export = exports.create(
            call.principal,
            dataset_name=args.dataset_name,
            name=args.name,
            options=options,
            progress=call.progress,
        )
        return Output(ExportShape.of(export, call))
    arguments = {"dataset": args.dataset_name, "name": args.name, **asdict(options)}
    job = call.studio.jobs.start(call.principal, KIND, arguments)
    return Output(report(job, call), job=job.id)


def report(job: Job, call: Call) -> ExportShape:
    """The export as it stands."""
    return ExportShape.of(call.studio.exports.get_of_job(call.principal, job.id), call)


TOOL = ToolSpec(
    name="create_export",
    title="Create an export",
    category=Category.EXPORTS,
    toolset="exports",
    description=(
        "Use when the user wants a dataset as a ZIP (Pictograph JSON, COCO, YOLO, CVAT, VOC …). By default "
        "only complete images. get_export follows a large one. `notes` say what the format could not hold. "
        "Fetch the file with download_export."
    ),
    args=CreateExportArgs,
    result=ExportShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    plan=plan,
    handler=handle,
    report=report,
)

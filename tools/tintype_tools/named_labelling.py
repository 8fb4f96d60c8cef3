"""What the tools share that label named images: the arguments of the job, and its report."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tintype_studio.annotations.geometry import Label
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.kinds.auto_annotate import MAX_CLASSES
from tintype_studio.jobs.kinds.predict import BEST
from tintype_studio.jobs.named_images import MAX_NAMES, NamedImages, named_images
from tintype_studio.vision.tasks import Task
from tintype_tools.call import Call
from tintype_tools.labelling_shapes import LabellingResult, so_far
from tintype_tools.predictions import ImageClasses, answers_of
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args

LABEL, PREDICT = "auto_annotate", "predict"
"""Kinds of jobs: by the engines of the dataset, by one model."""
NAMED_MISSING = 100
LOG_LINES = 20
Filename = Annotated[str, Field(min_length=1, max_length=800)]


class ImageClass(Args):
    """A class to find, and the shape its annotations get; tag is for models of whole images."""

    name: Label
    output_type: Literal["polygon", "bbox", "tag"] = "polygon"


class NamedLabellingArgs(Args):
    """Which images, which classes, how."""

    dataset_name: DatasetName
    image_filenames: Annotated[
        list[Filename],
        Field(
            min_length=1,
            max_length=MAX_NAMES,
            description="File names; folder/filename for one of several that bear the name.",
        ),
    ]
    classes: Annotated[
        list[ImageClass],
        Field(max_length=MAX_CLASSES, description="What to find; with a model_id, all it knows if empty."),
    ]
    confidence_threshold: Annotated[
        float, Field(ge=0, le=1, description="Objects below this confidence are left out.")
    ] = 0.5
    model_id: Annotated[
        str | None, Field(max_length=80, description="UUID of a trained model to ask; else the best engine.")
    ] = None
    top_k: Annotated[
        int, Field(ge=1, le=BEST, description="Classes of a whole image, if the model gives such.")
    ] = 1


class NamedLabellingResult(LabellingResult):
    """What the job has done so far.

    ``images_named`` counts the images that were found; ``missing`` lists up to 100 names that were not, and
    ``missing_count`` says how many. ``answers`` are those of a model of whole images, which saves nothing.
    ``notes`` are the job's warnings.
    """

    images_named: int
    missing: list[str]
    missing_count: int
    answers: list[ImageClasses] | None = None
    notes: list[str]


def kind_and_args(args: NamedLabellingArgs, call: Call) -> tuple[str, dict[str, Any]]:
    """The kind of job and its arguments; refuses what cannot be asked of the images."""
    studio, principal = call.studio, call.principal
    dataset = studio.datasets.get(principal, args.dataset_name)
    classes = [each.model_dump() for each in args.classes]
    whole = False
    if args.model_id is not None:
        whole = studio.models.ready(principal, args.model_id).model_type is Task.CLASSIFICATION
    _check_classes(args, whole=whole)
    images = named_images(studio, dataset, args.image_filenames, labelled=whole)
    shared = {
        "dataset": args.dataset_name,
        "threshold": args.confidence_threshold,
        "overwrite": False,
        "redraft": True,
        "rows": images.rows,
        **_named(images),
    }
    if args.model_id is None:
        return LABEL, shared | {"classes": classes, "one_by_one": False}
    return PREDICT, shared | {
        "model_id": args.model_id,
        "classes": [] if whole else classes,
        "top_k": args.top_k,
    }


def _named(images: NamedImages) -> dict[str, Any]:
    return {
        "images": images.found,
        "missing": images.missing[:NAMED_MISSING],
        "missing_count": len(images.missing),
    }


def _check_classes(args: NamedLabellingArgs, *, whole: bool) -> None:
    if args.model_id is None and not args.classes:
        raise InvalidInput(
            "No class was named.", code="no_classes", fix="Name what to find, or a model_id to ask."
        )
    tags = [each.name for each in args.classes if each.output_type == "tag"]
    if tags and not whole:
        raise InvalidInput(
            f"{tags[0]!r} is asked for as a tag, which only a model that classifies whole images gives.",
            code="tag_needs_classifier",
            fix="Ask for polygon or bbox, or name the model_id of a classification model.",
        )


def own_job(call: Call, job_id: str) -> Job:
    """A job that labels named images; ``NotFound`` for any other."""
    job = call.studio.jobs.get(call.principal, job_id)
    if job.kind not in {LABEL, PREDICT} or "rows" not in job.args:
        raise NotFound(
            "The job with this id labels no named images.",
            code="job_not_found",
            fix="Use get_job, which tells of jobs of every kind.",
        )
    return job


def report(job: Job, call: Call) -> NamedLabellingResult:
    """What the job has done."""
    lines = call.studio.jobs.logs(job, limit=LOG_LINES)
    return NamedLabellingResult(
        **so_far(job, call),
        images_named=job.args["images"],
        missing=job.args["missing"],
        missing_count=job.args["missing_count"],
        answers=answers_of(job, call, best=job.args.get("top_k")) or None,
        notes=[line.text for line in lines if line.level != "info"],
    )

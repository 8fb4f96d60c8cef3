"""Outline the object in a box."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.annotations.geometry import BoundingBox, Label
from tintype_studio.identity.roles import Role
from tintype_studio.ledger.prices import price_of
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.shapes import Annotations, DatasetName
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

OPERATION = "auto_annotate_prompt"


class AutoAnnotateBoxArgs(Args):
    """Which image, which box, which class."""

    dataset_name: DatasetName
    image_filename: Annotated[
        str,
        Field(description="File name; folder/filename if the name is in several folders.", max_length=800),
    ]
    box: Annotated[BoundingBox, Field(description="Box around one object, in pixels of the upright image.")]
    name: Annotated[Label, Field(description="Class label for the result.")]
    confidence_threshold: Annotated[
        float, Field(ge=0, le=1, description="Answers below this score are withheld (and free).")
    ] = 0.5
    return_polygon: Annotated[bool, Field(description="Outline; false gives the tightened box.")] = True
    negative_boxes: Annotated[
        list[BoundingBox] | None, Field(max_length=50, description="Areas that are not the object.")
    ] = None


class AutoAnnotateBoxResult(Result):
    """``status`` is success, no_detection or below_threshold; time in seconds."""

    status: str
    annotations: Annotations
    score: float | None = None
    inference_time: float


def quote(_args: AutoAnnotateBoxArgs) -> Quote:
    """One prompt."""
    return Quote(OPERATION, price_of(OPERATION).total(1))


def plan(args: AutoAnnotateBoxArgs, call: Call) -> Plan:
    """One prompt on one image; nothing is saved."""
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    sample = call.studio.samples.find(dataset, args.image_filename)
    return Plan((Affected("prompt.answered", 1, dataset.name, sample.filename),))


def handle(args: AutoAnnotateBoxArgs, call: Call) -> Output:
    """Segment; only an answer with an annotation is charged."""
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    sample = call.studio.samples.find(dataset, args.image_filename)
    answer = call.studio.prompts.box(
        call.studio.samples.image_bytes(sample),
        args.box,
        name=args.name,
        threshold=args.confidence_threshold,
        as_polygon=args.return_polygon,
        negative_boxes=args.negative_boxes or (),
    )
    value = AutoAnnotateBoxResult(
        status=answer.status,
        annotations=answer.annotations,
        score=answer.score,
        inference_time=answer.inference_time,
    )
    return Output(value, credits=None if answer.annotations else 0)


TOOL = ToolSpec(
    name="auto_annotate_box",
    title="Outline the object in a box",
    category=Category.AUTO_ANNOTATE,
    toolset="auto_annotate",
    description=(
        "Use when you know roughly where an object is and want its exact outline: give a rough box, get a "
        "polygon (or a tightened box) with a score. Nothing is saved: collect an image's annotations and "
        "send them with save_annotations. Costs 1 credit per answer; without a detection it is free."
    ),
    args=AutoAnnotateBoxArgs,
    result=AutoAnnotateBoxResult,
    required_role=Role.MEMBER,
    credit_cost=1,
    quote=quote,
    plan=plan,
    idempotent=False,
    effect=Effect.SPEND,
    handler=handle,
)

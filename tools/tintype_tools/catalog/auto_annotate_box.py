"""Outline the object in a box."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.annotations.geometry import BoundingBox, Label
from tintype_studio.identity.roles import Role
from tintype_studio.vision.protocols import Box
from tintype_tools.call import Call, Output, Plan
from tintype_tools.prompting import (
    ImageFilename,
    Preview,
    PromptResult,
    Threshold,
    prompt_output,
    prompt_plan,
    prompt_quote,
    sample_of,
)
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, ToolSpec

WITHHELD = (
    "Try a box that is closer to the object, negative_boxes over what is not the object, "
    "auto_annotate_point with two points on it, or a lower confidence_threshold and a look with preview."
)
NOTHING = (
    "Nothing in the box stands out from its surroundings. Draw the object yourself with save_annotations, "
    "or give a box that holds all of it and some surroundings."
)


class AutoAnnotateBoxArgs(Args):
    """Which image, which box, which class."""

    dataset_name: DatasetName
    image_filename: ImageFilename
    box: Annotated[BoundingBox, Field(description="Box around one object, in pixels of the upright image.")]
    name: Annotated[Label, Field(description="Class label for the result.")]
    confidence_threshold: Threshold = 0.5
    return_polygon: Annotated[bool, Field(description="Outline; false gives the tightened box.")] = True
    negative_boxes: Annotated[
        list[BoundingBox] | None, Field(max_length=50, description="Areas that are not the object.")
    ] = None
    preview: Preview = False


def plan(args: AutoAnnotateBoxArgs, call: Call) -> Plan:
    """One prompt on one image; nothing is saved."""
    dataset, sample = sample_of(call, args.dataset_name, args.image_filename)
    Box(args.box.x, args.box.y, args.box.w, args.box.h).clipped(sample.width, sample.height)
    return prompt_plan(dataset, sample)


def handle(args: AutoAnnotateBoxArgs, call: Call) -> Output:
    """Segment; only an answer with an annotation is charged."""
    _, sample = sample_of(call, args.dataset_name, args.image_filename)
    Box(args.box.x, args.box.y, args.box.w, args.box.h).clipped(sample.width, sample.height)
    image = call.studio.samples.image_bytes(sample)
    answer = call.studio.prompts.box(
        image,
        args.box,
        name=args.name,
        threshold=args.confidence_threshold,
        as_polygon=args.return_polygon,
        negative_boxes=args.negative_boxes or (),
    )
    advice = NOTHING if answer.status == "no_detection" else WITHHELD
    return prompt_output(answer, call, sample, image, advice=advice, preview=args.preview)


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
    result=PromptResult,
    required_role=Role.MEMBER,
    credit_cost=1,
    quote=prompt_quote,
    plan=plan,
    idempotent=False,
    effect=Effect.SPEND,
    handler=handle,
)

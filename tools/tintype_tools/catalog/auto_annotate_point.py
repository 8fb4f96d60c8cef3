"""Outline the object at a point."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.annotations.geometry import MAX_COORDINATE, Label
from tintype_studio.identity.roles import Role
from tintype_studio.vision.protocols import Point, require_points
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
    "Add positive_points on other parts of the object and negative_points just outside it, or give "
    "auto_annotate_box the box in alternatives that fits."
)
NOTHING = (
    "Nothing at the point stands out from its surroundings. Draw the object yourself with save_annotations, "
    "or give auto_annotate_box a rough box."
)

Pixel = Annotated[list[int], Field(min_length=2, max_length=2)]


class AutoAnnotatePointArgs(Args):
    """Which image, which points, which class."""

    dataset_name: DatasetName
    image_filename: ImageFilename
    x: Annotated[int, Field(description="Column of a pixel on the object, in the upright image.")]
    y: Annotated[int, Field(description="Row of that pixel.")]
    name: Annotated[Label, Field(description="Class label for the result.")] = "object"
    positive_points: Annotated[
        list[Pixel] | None,
        Field(max_length=50, description="Further pixels on it: [[x, y], …]."),
    ] = None
    negative_points: Annotated[
        list[Pixel] | None, Field(max_length=50, description="Pixels that are not the object: [[x, y], …].")
    ] = None
    score_threshold: Threshold = 0.75
    preview: Preview = False

    def points(self) -> tuple[list[Point], list[Point]]:
        """The centres of the pixels, positive and negative."""
        positives = [[self.x, self.y], *(self.positive_points or ())]
        return [_centre(pixel) for pixel in positives], [_centre(p) for p in self.negative_points or ()]


def plan(args: AutoAnnotatePointArgs, call: Call) -> Plan:
    """One prompt on one image; nothing is saved."""
    dataset, sample = sample_of(call, args.dataset_name, args.image_filename)
    require_points(*args.points(), sample.width, sample.height)
    return prompt_plan(dataset, sample)


def handle(args: AutoAnnotatePointArgs, call: Call) -> Output:
    """Segment; only an answer with an annotation is charged."""
    _, sample = sample_of(call, args.dataset_name, args.image_filename)
    positives, negatives = args.points()
    require_points(positives, negatives, sample.width, sample.height)
    image = call.studio.samples.image_bytes(sample)
    answer = call.studio.prompts.points(
        image, positives, negatives=negatives, name=args.name, threshold=args.score_threshold
    )
    advice = NOTHING if answer.status == "no_detection" else WITHHELD
    return prompt_output(answer, call, sample, image, advice=advice, preview=args.preview)


def _centre(pixel: list[int]) -> Point:
    # Whole numbers too large for a float are outside any image as well.
    x, y = (min(max(value, -int(MAX_COORDINATE)), int(MAX_COORDINATE)) for value in pixel)
    return Point(x + 0.5, y + 0.5)


TOOL = ToolSpec(
    name="auto_annotate_point",
    title="Outline the object at a point",
    category=Category.AUTO_ANNOTATE,
    toolset="auto_annotate",
    core=False,
    description=(
        "Use when you know a pixel on an object and want its outline. One point is ambiguous in size (the "
        "wheel or the car?): the score says so, alternatives show the other readings, further points settle "
        "it; a rough box does it better. Nothing is saved. Costs 1 credit per answer; below score_threshold "
        "it is free."
    ),
    args=AutoAnnotatePointArgs,
    result=PromptResult,
    required_role=Role.MEMBER,
    credit_cost=1,
    quote=prompt_quote,
    plan=plan,
    idempotent=False,
    effect=Effect.SPEND,
    handler=handle,
)

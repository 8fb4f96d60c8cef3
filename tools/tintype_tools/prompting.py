"""What the tools for single prompts share: arguments, the answer, its price."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.annotations.geometry import BoundingBox
from tintype_studio.catalog.samples import Sample
from tintype_studio.ledger.prices import price_of
from tintype_studio.vision.prompts import PromptAnswer
from tintype_tools.call import Affected, Call, Output, Picture, Plan
from tintype_tools.shapes import Annotations
from tintype_tools.spec import Args, Quote, Result

OPERATION = "auto_annotate_prompt"

ImageFilename = Annotated[
    str,
    Field(description="File name; folder/filename if the name is in several folders.", max_length=800),
]
Threshold = Annotated[
    float, Field(ge=0, le=1, description="Answers below this score are withheld (and free).")
]
Preview = Annotated[bool, Field(description="Add a close-up picture of what was found.")]


class AlternativeShape(Result):
    """Another reading of the prompt: its box, ready for auto_annotate_box, and its score."""

    box: BoundingBox
    score: float


class PreviewWindow(Result):
    """Where the close-up lies: image x = x + picture x * scale, y alike."""

    x: int
    y: int
    scale: float


class PromptResult(Result):
    """``status`` is success, no_detection or below_threshold; ``score`` estimates the outline's IoU.

    ``tolerance`` is how far, in pixels, the polygon may be from the mask it was made of; time in seconds.
    """

    status: str
    annotations: Annotations
    score: float | None = None
    inference_time: float
    tolerance: float | None = None
    advice: str | None = None
    alternatives: list[AlternativeShape] | None = None
    preview: PreviewWindow | None = None


def prompt_quote(_args: Args, _call: Call) -> Quote:
    """One prompt."""
    return Quote(OPERATION, price_of(OPERATION).total(1))


def sample_of(call: Call, dataset_name: str, image_filename: str) -> tuple[str, Sample]:
    """The dataset's name and the image of a prompt."""
    dataset = call.studio.datasets.get(call.principal, dataset_name)
    return dataset.name, call.studio.samples.find(dataset, image_filename)


def prompt_plan(dataset: str, sample: Sample) -> Plan:
    """One answer about one image; nothing is saved."""
    return Plan((Affected("prompt.answered", 1, dataset, sample.filename),))


def prompt_output(
    answer: PromptAnswer, call: Call, sample: Sample, image: bytes, *, advice: str, preview: bool
) -> Output:
    """The tool's answer; only one with an annotation is charged. ``advice`` is for all others."""
    success = answer.status == "success"
    pictures: tuple[Picture, ...] = ()
    window = None
    if preview:
        from tintype_studio.vision.prompt_picture import close_up

        shown = close_up(
            image,
            answer.annotations if success else answer.withheld,
            numbered=not success,
            colors=call.studio.classes.colors(sample.dataset_row_id),
        )
        pictures = (Picture(shown.data, "image/jpeg", shown.width, shown.height),)
        window = PreviewWindow(x=shown.x, y=shown.y, scale=shown.scale)
    value = PromptResult(
        status=answer.status,
        annotations=answer.annotations,
        score=answer.score,
        inference_time=answer.inference_time,
        tolerance=answer.tolerance,
        advice=None if success else advice,
        alternatives=[AlternativeShape(box=a.box, score=a.score) for a in answer.alternatives] or None,
        preview=window,
    )
    return Output(value, pictures=pictures, credits=None if answer.annotations else 0)

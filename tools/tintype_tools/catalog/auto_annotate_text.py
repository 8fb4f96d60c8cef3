"""Find objects by what they are called."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.ledger.prices import price_of
from tintype_studio.vision.detect.guide import told
from tintype_studio.vision.detect.text_prompts import answer, survey_prompt
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.shapes import Annotations, DatasetName
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

OPERATION = "auto_annotate_prompt"
MAX_DETECTIONS = 100


class AutoAnnotateTextArgs(Args):
    """Which image, and what to find."""

    dataset_name: DatasetName
    image_filename: Annotated[
        str,
        Field(description="File name; folder/filename if the name is in several folders.", max_length=800),
    ]
    text_prompt: Annotated[
        str, Field(description="What to find: 'stop sign', 'tiger or elephant'; up to 200 characters.")
    ]
    output_type: Annotated[Literal["polygon", "bbox"], Field(description="Outlines, or boxes alone.")] = (
        "polygon"
    )
    confidence_threshold: Annotated[
        float, Field(ge=0, le=1, description="Detections below this score are withheld.")
    ] = 0.5


class EngineShape(Result):
    """What an engine says of a class."""

    engine: str
    ready: bool
    why: str
    fix: str | None = None
    examples: int | None = None


class MissingShape(Result):
    """A class that no engine can find."""

    name: str
    engines: list[EngineShape]


class AutoAnnotateTextResult(Result):
    """``status`` is success, no_detection or below_threshold; ``score`` the best seen; time in seconds."""

    status: str
    annotations: Annotations
    score: float | None = None
    inference_time: float
    engines: list[str]
    missing: list[MissingShape] | None = None


def quote(_args: AutoAnnotateTextArgs, _call: Call) -> Quote:
    """One prompt."""
    return Quote(OPERATION, price_of(OPERATION).total(1))


def plan(args: AutoAnnotateTextArgs, call: Call) -> Plan:
    """One prompt on one image; nothing is saved."""
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    sample = call.studio.samples.find(dataset, args.image_filename)
    survey_prompt(call.studio.detectors, dataset, args.text_prompt, call.check)
    return Plan((Affected("prompt.answered", 1, dataset.name, sample.filename),))


def handle(args: AutoAnnotateTextArgs, call: Call) -> Output:
    """Find; only an answer with annotations is charged."""
    studio = call.studio
    dataset = studio.datasets.get(call.principal, args.dataset_name)
    sample = studio.samples.find(dataset, args.image_filename)
    found = answer(
        studio.detectors,
        studio.prompts,
        dataset,
        studio.samples.image_bytes(sample),
        args.text_prompt,
        output_type=args.output_type,
        threshold=args.confidence_threshold,
        max_detections=MAX_DETECTIONS,
        check=call.check,
    )
    missing = [
        MissingShape(name=label, engines=[EngineShape(**each) for each in told(readiness)])
        for label, readiness in found.missing.items()
    ]
    value = AutoAnnotateTextResult(
        status=found.status,
        annotations=found.annotations,
        score=found.score,
        inference_time=found.inference_time,
        engines=found.engines,
        missing=missing or None,
    )
    return Output(value, credits=None if found.annotations else 0)


TOOL = ToolSpec(
    name="auto_annotate_text",
    title="Find objects by name",
    category=Category.AUTO_ANNOTATE,
    toolset="auto_annotate",
    description=(
        "Use when you want every object of a class in one image. Works for classes with at least 3 accepted "
        "annotations in the dataset, or with any name if a detection model is set up; otherwise the error "
        "says how. Returns drafts; nothing is saved. Costs 1 credit per answer with detections."
    ),
    args=AutoAnnotateTextArgs,
    result=AutoAnnotateTextResult,
    required_role=Role.MEMBER,
    credit_cost=1,
    quote=quote,
    plan=plan,
    idempotent=False,
    effect=Effect.SPEND,
    open_world=True,
    handler=handle,
)

"""Put two models side by side."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.training.comparison import compare
from tintype_tools.call import Call, Output, Picture
from tintype_tools.predictions import ModelId, OfSplit, rounded
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class CompareModelsArgs(Args):
    """Which two, on what."""

    model_id: ModelId
    other_model_id: ModelId
    dataset_name: Annotated[
        str | None, Field(description="Default: the dataset that the first was trained on.")
    ] = None
    split: OfSplit = "test"


class ComparedModel(Result):
    """A model and its figures."""

    model_id: str
    model: str
    pipeline_type: str
    images: int
    metrics: dict[str, float | None]


class ClassDifference(Result):
    """A class's figure for the first and the other model, and other minus first."""

    name: str
    first: float | None = None
    other: float | None = None
    difference: float | None = None


class CompareModelsResult(Result):
    """``differences`` are other minus first; ``figure`` names what ``per_class`` compares."""

    dataset_name: str
    split: str
    first: ComparedModel
    other: ComparedModel
    differences: dict[str, float]
    better: str
    figure: str
    per_class: list[ClassDifference]
    note: str | None = None


def handle(args: CompareModelsArgs, call: Call) -> Output:
    """Look up what evaluations have kept."""
    found = compare(
        call.studio,
        call.principal,
        (args.model_id, args.other_model_id),
        args.dataset_name,
        args.split,
    )
    first, other = (
        ComparedModel(
            model_id=each.model.id,
            model=each.title,
            pipeline_type=each.model.pipeline,
            images=each.evaluation.images,
            metrics=rounded(each.evaluation.metrics),
        )
        for each in found.sides
    )
    value = CompareModelsResult(
        dataset_name=found.dataset_name,
        split=found.split,
        first=first,
        other=other,
        differences=rounded(found.differences),
        better=found.better,
        figure=found.figure,
        per_class=[
            ClassDifference(
                name=name,
                first=rounded(before),
                other=rounded(after),
                difference=None if before is None or after is None else rounded(after - before),
            )
            for name, before, after in found.per_class
        ],
        note=found.note,
    )
    data, width, height = found.picture()
    return Output(value, (Picture(data, "image/png", width, height),))


TOOL = ToolSpec(
    name="compare_models",
    title="Compare two models",
    category=Category.MODELS,
    toolset="models",
    core=False,
    description=(
        "Use when you need to know which of two models is better: their figures side by side on one dataset "
        "and split, by class too, with a picture. Both must have been measured there with evaluate_model (or "
        "by their training); the error names what is missing."
    ),
    args=CompareModelsArgs,
    result=CompareModelsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

"""Which models can be asked, by which names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.predictions.models import PredictionModel
from tintype_tools.call import Call
from tintype_tools.prediction_asking import TOOLSET
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListPredictionModelsArgs(Args):
    """Which models."""

    media: Annotated[
        Literal["image", "video"] | None, Field(description="Only models that can look at it.")
    ] = None
    ready_only: Annotated[bool, Field(description="Leave out engines that lack something.")] = False
    limit: Annotated[int, Field(ge=1, le=500, description="Models at most, newest first.")] = 50


class AttributeOptions(Result):
    """An attribute of a class, and what a model chooses from."""

    class_name: str
    name: str
    options: list[str]


class PredictionModelShape(Result):
    """A model. ``name`` means its newest version, ``label`` this one. ``note`` says what it is or lacks,
    ``fix`` how to get that. With ``takes_objects`` it must be told what to find.
    """

    name: str
    label: str
    model_id: str | None = None
    ready: bool
    note: str
    fix: str | None = None
    media: list[str]
    takes_objects: bool | None = None
    default_threshold: float
    classes: list[str] | None = None
    attributes: list[AttributeOptions] | None = None

    @classmethod
    def of(cls, found: PredictionModel) -> PredictionModelShape:
        """From the platform's model."""
        model = found.model
        attributes = [] if model is None else (model.attributes or {}).items()
        return cls(
            name=found.name,
            label=found.label,
            model_id=None if model is None else model.id,
            ready=found.ready,
            note=found.why,
            fix=found.fix or None,
            media=list(found.media),
            takes_objects=found.takes_objects or None,
            default_threshold=round(found.threshold, 4),
            classes=None if model is None else list(model.classes),
            attributes=[
                AttributeOptions(class_name=class_name, name=name, options=list(options))
                for class_name, own in attributes
                for name, options in own.items()
            ]
            or None,
        )


class ListPredictionModelsResult(Result):
    """Trained models, newest first, then the built-in engines. ``more``: the limit cut some off."""

    models: list[PredictionModelShape]
    more: bool | None = None


def handle(args: ListPredictionModelsArgs, call: Call) -> ListPredictionModelsResult:
    """List."""
    found = [
        each
        for each in call.studio.predictions.models.list(call.principal)
        if (args.media is None or args.media in each.media) and (each.ready or not args.ready_only)
    ]
    return ListPredictionModelsResult(
        models=[PredictionModelShape.of(each) for each in found[: args.limit]],
        more=len(found) > args.limit or None,
    )


TOOL = ToolSpec(
    name="list_prediction_models",
    title="List models for predictions",
    category=Category.PREDICTIONS,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when you need to know what to write as the model for predict_image or predict_video: trained "
        "ones with classes and attributes, built-in engines, and what those lack."
    ),
    args=ListPredictionModelsArgs,
    result=ListPredictionModelsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

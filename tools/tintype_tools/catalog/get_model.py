"""Look at a model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call, Output
from tintype_tools.model_card import (
    AttributeShare,
    ClassShare,
    EvaluationLine,
    FileFormat,
    HowTrainedShape,
    ModelFile,
    ModelId,
    TrainingDataShape,
    attributes_of,
    classes_of,
    data_of,
    file_of,
    first_evaluation,
    line_of,
    pictures_of,
    read_evaluation,
    training_of,
)
from tintype_tools.model_shapes import ModelShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

MAX_EVALUATIONS = 20


class GetModelArgs(Args):
    """Which one."""

    model_id: ModelId
    include_pictures: Annotated[
        bool, Field(description="Show precision-recall and training curves and the confusion matrix.")
    ] = False


class GetModelResult(Result):
    """The model and its card. ``per_class`` has figures of ``evaluated_on``; ``pictures`` names the shown."""

    model: ModelShape
    evaluated_on: str | None = None
    per_class: list[ClassShare]
    attributes: list[AttributeShare] | None = None
    training_data: TrainingDataShape | None = None
    training: HowTrainedShape | None = None
    onnx_check: dict[str, float | str | None] | None = None
    evaluations: list[EvaluationLine]
    files: list[ModelFile]
    notes: list[str]
    pictures: list[str] | None = None


def handle(args: GetModelArgs, call: Call) -> Output:
    """Look."""
    studio = call.studio
    model = studio.models.get(call.principal, args.model_id)
    own = first_evaluation(studio, model)
    pictures = pictures_of(studio, own) if own is not None and args.include_pictures else {}
    evaluation = read_evaluation(studio, own) if own is not None else None
    formats: tuple[FileFormat, ...] = ("onnx", "checkpoint", "heads")
    files = [file_of(model, each, call) for each in formats]
    value = GetModelResult(
        model=ModelShape.of(model),
        evaluated_on=model.card.get("evaluated_on"),
        per_class=classes_of(model, evaluation),
        attributes=attributes_of(model, evaluation),
        training_data=data_of(model),
        training=training_of(model),
        onnx_check=model.card.get("onnx_check"),
        evaluations=[line_of(each) for each in studio.models.evaluations(model, limit=MAX_EVALUATIONS)],
        files=[file for file in files if file is not None],
        notes=model.card.get("notes", []),
        pictures=list(pictures) if args.include_pictures else None,
    )
    return Output(value, pictures=tuple(pictures.values()))


TOOL = ToolSpec(
    name="get_model",
    title="Get a model",
    category=Category.MODELS,
    toolset="models",
    core=False,
    description=(
        "Use when the user asks about one model: how it was initialised and trained, on what, how well it "
        "finds each class, how its ONNX file was checked, its evaluations and download URLs. With "
        "include_pictures it shows the curves and the confusion matrix."
    ),
    args=GetModelArgs,
    result=GetModelResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

"""What there is to tell about one model: its card, its figures, its files, its pictures."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from tintype_studio.errors import NotFound
from tintype_studio.studio import Studio
from tintype_studio.training.models import Model, StoredEvaluation
from tintype_studio.vision.evaluate.evaluation import Evaluation
from tintype_tools.call import Call, Picture
from tintype_tools.model_shapes import Metrics
from tintype_tools.spec import Result

ModelId = Annotated[str, Field(description="UUID of the model.", max_length=80)]
FileFormat = Literal["onnx", "checkpoint", "heads"]

EXTENSIONS: dict[FileFormat, str] = {"onnx": "onnx", "checkpoint": "pt", "heads": "heads.onnx"}
BINARY = "application/octet-stream"
PNG = "image/png"
_PNG_SIZE = slice(16, 24)
"""Where a PNG file tells its width and height."""
_PAGE = 500


class ModelFile(Result):
    """One of the model's files. Size in bytes; the URL works for an hour."""

    format: FileFormat
    size: int
    sha256: str
    download_url: str | None = None


class TrainingDataShape(Result):
    """What the model was trained on: images and objects by split; ``drafts`` are unreviewed annotations."""

    dataset_name: str
    export_name: str | None = None
    status_filter: str | None = None
    class_filter: list[str] | None = None
    images: dict[str, int]
    objects: dict[str, int]
    drafts: int | None = None


class HowTrainedShape(Result):
    """How it was trained. Times in seconds, memory in bytes."""

    epochs: int | None = None
    best_epoch: int | None = None
    seconds: float | None = None
    device: str | None = None
    images_per_second: float | None = None
    peak_memory_bytes: int | None = None
    parameters: int | None = None
    parent_model_id: str | None = None
    config: dict[str, Any] | None = None


class ClassShare(Result):
    """A class: its objects in the training data by split, and how well it is found."""

    name: str
    objects: dict[str, int] | None = None
    evaluated: int | None = None
    metrics: Metrics | None = None


class OptionShare(Result):
    """An option: its objects in the training data by split; of ``evaluated`` objects, how often it was right
    (recall), and right when it was chosen (precision).
    """

    name: str
    objects: dict[str, int] | None = None
    evaluated: int | None = None
    recall: float | None = None
    precision: float | None = None


class AttributeShare(Result):
    """An attribute that the model chooses of the objects of a class. ``accuracy`` is that on true boxes,
    ``accuracy_found`` that of ``found`` objects on the boxes that the model itself found.
    """

    class_name: str
    attribute: str
    evaluated: int | None = None
    accuracy: float | None = None
    found: int | None = None
    accuracy_found: float | None = None
    options: list[OptionShare]


class EvaluationLine(Result):
    """An evaluation of the model."""

    evaluation_id: str
    dataset_name: str
    split: str
    images: int
    metrics: Metrics
    created_at: datetime


def file_of(model: Model, file_format: FileFormat, call: Call) -> ModelFile | None:
    """One of a model's files, with a signed URL where an HTTP server can serve it; None until it is there."""
    sha256, size = {
        "onnx": (model.onnx_sha256, model.onnx_size),
        "checkpoint": (model.checkpoint_sha256, model.checkpoint_size),
        "heads": (model.heads_sha256, model.heads_size),
    }[file_format]
    if sha256 is None:
        return None
    filename = f"{model.name}-{model.version}.{EXTENSIONS[file_format]}"
    url = call.blob_url(sha256, mime_type=BINARY, filename=filename)
    return ModelFile(format=file_format, size=size or 0, sha256=sha256, download_url=url)


def data_of(model: Model) -> TrainingDataShape | None:
    """What it was trained on, as its card has it."""
    data = model.card.get("data")
    if data is None:
        return None
    return TrainingDataShape(
        dataset_name=data["dataset"],
        export_name=data["export"],
        status_filter=data["status_filter"],
        class_filter=data["class_filter"],
        images=data["images"],
        objects=data["objects"],
        drafts=data.get("drafts") or None,
    )


def training_of(model: Model) -> HowTrainedShape | None:
    """How it was trained, as its card has it."""
    training = model.card.get("training")
    if training is None:
        return None
    parent = (model.card.get("started_from") or {}).get("model_id")
    told = {**training, "parameters": model.card.get("parameters"), "parent_model_id": parent}
    return HowTrainedShape(**{name: told.get(name) for name in HowTrainedShape.model_fields})


def classes_of(model: Model, evaluation: Evaluation | None) -> list[ClassShare]:
    """Every class of a model, with its figures in an evaluation."""
    trained_on = model.card.get("data", {}).get("per_class", {})
    measured = {each["name"]: each for each in evaluation.per_class} if evaluation is not None else {}
    return [
        ClassShare(
            name=name,
            objects=trained_on.get(name),
            evaluated=measured.get(name, {}).get("count"),
            metrics=figures({k: v for k, v in measured[name].items() if k not in {"name", "count"}})
            if name in measured
            else None,
        )
        for name in model.classes
    ]


def attributes_of(model: Model, evaluation: Evaluation | None) -> list[AttributeShare] | None:
    """Every attribute that a model chooses, with its figures in an evaluation; None where it chooses none."""
    trained_on = model.card.get("attributes", {}).get("objects", {})
    measured = {} if evaluation is None else measured_attributes(evaluation.attributes)
    return [
        AttributeShare(
            class_name=name,
            attribute=attribute,
            **measured.get((name, attribute), {}),
            options=[
                OptionShare(
                    name=option,
                    objects=trained_on.get(name, {}).get(attribute, {}).get(option),
                    **measured.get((name, attribute, option), {}),
                )
                for option in options
            ],
        )
        for name, of_class in model.attributes.items()
        for attribute, options in of_class.items()
    ] or None


def measured_attributes(found: list[dict[str, Any]]) -> dict[tuple[str, ...], dict[str, Any]]:
    """The figures of ``Evaluation.attributes`` by class and attribute, and by class, attribute and option."""
    figures_of: dict[tuple[str, ...], dict[str, Any]] = {}
    for each in found:
        key = (each["name"], each["attribute"])
        told = figures({k: each[k] for k in ("accuracy", "found", "accuracy_found")})
        figures_of[key] = {"evaluated": each["count"], **told}
        for option in each["options"]:
            told = figures({k: option[k] for k in ("recall", "precision")})
            figures_of[*key, option["name"]] = {"evaluated": option["count"], **told}
    return figures_of


def line_of(stored: StoredEvaluation) -> EvaluationLine:
    """An evaluation in short."""
    return EvaluationLine(
        evaluation_id=stored.id,
        dataset_name=stored.dataset_name,
        split=stored.split,
        images=stored.images,
        metrics=figures(stored.metrics),
        created_at=stored.created_at,
    )


def figures(metrics: dict[str, Any]) -> Metrics:
    """The figures among these, with as many digits as tell something."""
    return {
        name: value if value is None or isinstance(value, int) else float(f"{value:.4g}")
        for name, value in metrics.items()
        if value is None or isinstance(value, int | float)
    }


def first_evaluation(studio: Studio, model: Model) -> StoredEvaluation | None:
    """The evaluation that came with the training; None before there is one."""
    found, offset = None, 0
    while page := studio.models.evaluations(model, limit=_PAGE, offset=offset):
        found, offset = page[-1], offset + len(page)
    return found


def read_evaluation(studio: Studio, stored: StoredEvaluation) -> Evaluation | None:
    """The whole of an evaluation; None when its bytes are gone."""
    try:
        return Evaluation.from_json(orjson.loads(studio.blobs.get(stored.sha256)))
    except NotFound:
        return None


def pictures_of(studio: Studio, stored: StoredEvaluation) -> dict[str, Picture]:
    """The pictures of an evaluation by name, without those whose bytes are gone."""
    found: dict[str, Picture] = {}
    for name, sha256 in stored.pictures.items():
        if studio.blobs.exists(sha256):
            data = studio.blobs.get(sha256)
            width, height = struct.unpack(">II", data[_PNG_SIZE])
            found[name] = Picture(data, PNG, width, height)
    return found

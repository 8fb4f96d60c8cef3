"""Ask a trained model about one image."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.annotations.geometry import Annotation, BBoxAnnotation, BoundingBox
from tintype_studio.catalog.samples import Sample
from tintype_studio.identity.roles import Role
from tintype_studio.ledger.prices import price_of
from tintype_studio.vision.detect.trained import author_of
from tintype_studio.vision.infer.answer import ImageAnswer, ask
from tintype_tools.call import Affected, Call, Output, Picture, Plan
from tintype_tools.predictions import Confidence, ModelId, PredictionShape, ScoreShape, rounded
from tintype_tools.shapes import ImageId
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

OPERATION = "image_inference"
PICTURE_SIDE = 1024
MAX_SCORES = 20


class PredictImageArgs(Args):
    """Which model, which image."""

    model_id: ModelId
    image_uuid: ImageId
    confidence_threshold: Confidence = 0.5
    max_detections: Annotated[int, Field(ge=1, le=300, description="Objects at most.")] = 100


class PredictImageResult(Result):
    """``status`` is success, no_detection or below_threshold; ``score`` the best seen; time in seconds.

    ``classes`` are those of a model that classifies whole images. ``best_threshold`` is the confidence with
    the best balance of precision and recall on the model's test images.
    """

    model: str
    model_type: str
    image_uuid: str
    filename: str
    width: int
    height: int
    status: str
    predictions: list[PredictionShape]
    classes: list[ScoreShape] | None = None
    score: float | None = None
    best_threshold: float | None = None
    inference_time: float


def quote(_args: PredictImageArgs, _call: Call) -> Quote:
    """One image."""
    return Quote(OPERATION, price_of(OPERATION).total(1))


def plan(args: PredictImageArgs, call: Call) -> Plan:
    """One answer about one image; nothing is saved."""
    call.studio.models.ready(call.principal, args.model_id)
    sample = call.studio.samples.get(call.principal, args.image_uuid)
    return Plan((Affected("image.predicted", 1, name=sample.filename, subject=sample.id),))


def handle(args: PredictImageArgs, call: Call) -> Output:
    """Ask; only an answer with something in it is charged."""
    studio = call.studio
    model = studio.models.ready(call.principal, args.model_id)
    sample = studio.samples.get(call.principal, args.image_uuid)
    image = studio.samples.image_bytes(sample)
    found = ask(
        studio.blobs,
        model.onnx_sha256 or "",
        image,
        threshold=args.confidence_threshold,
        max_detections=args.max_detections,
        check=call.check,
    )
    value = PredictImageResult(
        model=author_of(model.name, model.version),
        model_type=model.model_type.value,
        image_uuid=sample.id,
        filename=sample.filename,
        width=sample.width,
        height=sample.height,
        status=found.status,
        predictions=[
            PredictionShape.of(number, shape, sample.width, sample.height)
            for number, shape in enumerate(found.shapes, 1)
        ],
        classes=[ScoreShape(name=name, confidence=score) for name, score in found.scores[:MAX_SCORES]]
        or None,
        score=rounded(found.best),
        best_threshold=rounded(model.metrics.get("score_threshold")),
        inference_time=found.inference_time,
    )
    answered = bool(found.shapes or found.scores)
    return Output(value, (_picture(call, sample, image, found),), credits=None if answered else 0)


def _picture(call: Call, sample: Sample, image: bytes, found: ImageAnswer) -> Picture:
    """The picture with what was found in it; the class of a whole picture frames it."""
    from tintype_studio.media.draw import preview
    from tintype_studio.vision.infer.shapes import drafts_of

    drawn: list[Annotation] = drafts_of(found.shapes, "")
    if found.scores:
        name, score = found.scores[0]
        whole = BoundingBox(x=0, y=0, w=sample.width, h=sample.height)
        drawn = [BBoxAnnotation(id="whole", name=name, confidence=score, bounding_box=whole)]
    data, mime_type, width, height = preview(
        image,
        drawn,
        max_side=PICTURE_SIDE,
        colors=call.studio.classes.colors(sample.dataset_row_id),
        check=call.check,
    )
    return Picture(data, mime_type, width, height)


TOOL = ToolSpec(
    name="predict_image",
    title="Ask a model about an image",
    category=Category.MODELS,
    toolset="models",
    description=(
        "Use when you want to see what a trained model finds in one image: objects with class, confidence, "
        "box and outline, or the classes of the whole image, and the picture with them drawn. Nothing is "
        "saved. Costs 1 credit per answer with predictions."
    ),
    args=PredictImageArgs,
    result=PredictImageResult,
    required_role=Role.MEMBER,
    credit_cost=1,
    quote=quote,
    plan=plan,
    idempotent=False,
    effect=Effect.SPEND,
    handler=handle,
)

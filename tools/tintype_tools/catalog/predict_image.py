"""Ask a model about one image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from tintype_studio.catalog.image_files import read_image_file
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_studio.predictions.asking import PredictionRequest
from tintype_studio.predictions.looking import Seen, eye_of, look
from tintype_studio.predictions.models import PredictionModel
from tintype_studio.predictions.shapes import MediaPrediction
from tintype_studio.predictions.task import PredictionTask, Subject
from tintype_tools.call import Affected, Call, Output, Picture, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, JobShape, WaitSeconds
from tintype_tools.prediction_asking import (
    AskingArgs,
    TaskOfUpload,
    job_of,
    outcome_of,
    prepared,
    quote_of,
    task_of,
)
from tintype_tools.prediction_shapes import DetectedObject, answer_of
from tintype_tools.predictions import rounded
from tintype_tools.spec import Category, Effect, Quote, Result, ToolSpec

PICTURE_SIDE = 1024


class PredictImageArgs(AskingArgs):
    """Which model, which image."""

    image_uuid: Annotated[str | None, Field(description="UUID of a dataset's image.", max_length=80)] = None
    local_path: Annotated[str | None, Field(description="A file on the server's machine.")] = None
    prediction_task_uuid: TaskOfUpload = None
    max_detections: Annotated[int, Field(ge=1, le=300, description="Objects at most.")] = 100
    wait_seconds: WaitSeconds = DEFAULT_WAIT

    def request(self, call: Call) -> PredictionRequest:
        """What is asked, and about what; ``InvalidInput`` unless that is said in one way."""
        self.require_one(
            image_uuid=self.image_uuid,
            local_path=self.local_path,
            prediction_task_uuid=self.prediction_task_uuid,
        )
        subject, name = Subject(), None
        if self.image_uuid is not None:
            sample = call.studio.samples.get(call.principal, self.image_uuid)
            subject, name = Subject(image=sample.id), sample.filename
        return self.about(call, "image", self.prediction_task_uuid, self.local_path, subject, name)


class PredictImageResult(Result):
    """``status`` is success, no_detection or below_threshold, else where the task stands; ``score`` the best
    seen; ``best_threshold`` balances precision and recall best on the test images; time in seconds. The
    object of a model that classifies whole images is the image, its categories the classes.
    """

    prediction_task_uuid: str
    original_file_name: str | None = None
    status: str
    model: str | None = None
    model_type: str | None = None
    image_uuid: str | None = None
    width: int | None = None
    height: int | None = None
    objects: list[DetectedObject]
    score: float | None = None
    best_threshold: float | None = None
    inference_time: float | None = None
    job: JobShape | None = None


def quote(args: PredictImageArgs, call: Call) -> Quote:
    """One image."""
    return quote_of(prepared(call, args.request(call)))


def plan(args: PredictImageArgs, call: Call) -> Plan:
    """One answer about one image; no annotation is saved."""
    request = args.request(call)
    prepared(call, request)  # refuses
    task = None if request.task is None else call.studio.predictions.get(call.principal, request.task)
    name = request.file_name if task is None else task.file_name
    subject = request.subject.image or request.task
    return Plan((Affected("image.predicted", 1, name=name, subject=subject),))


def handle(args: PredictImageArgs, call: Call) -> Output:
    """Ask, or start the job that does; only an answer with something in it is charged."""
    request = args.request(call)
    found = prepared(call, request)
    predictions = call.studio.predictions
    if request.task is not None:
        task = predictions.start(call.principal, found)
        told = _told(task, call)
        return Output(told, credits=0) if found.started is not None else Output(told, job=task.job_id)
    assert found.model is not None  # only of a task that was started
    subject = request.subject
    if subject.local is not None:
        data = read_image_file(Path(subject.local))
    else:
        data = call.studio.samples.image_bytes(call.studio.samples.get(call.principal, subject.image or ""))
    seen = look(
        call.studio.blobs,
        eye_of(found.model, found.args["objects"], call.studio.detectors.settings.model),
        data,
        threshold=found.args["threshold"],
        most=args.max_detections,
        check=call.check,
    )
    task = predictions.record(call.principal, request, seen.prediction)
    value = _result(task, seen.prediction, found.model)
    value.status, value.score, value.inference_time = _status(seen), rounded(seen.best), seen.seconds
    picture = _picture(data, seen.prediction, call)
    return Output(value, (picture,), credits=None if seen.prediction.objects else 0)


def report(job: Job, call: Call) -> PredictImageResult:
    """What became of the task."""
    return _told(task_of(job, call), call)


def _told(task: PredictionTask, call: Call) -> PredictImageResult:
    prediction = outcome_of(task, call)
    if prediction is not None:
        return _result(task, prediction, None)
    return PredictImageResult(
        prediction_task_uuid=task.id,
        original_file_name=task.file_name,
        status=task.word,
        model=task.model,
        objects=[],
        job=job_of(task, call),
    )


def _result(
    task: PredictionTask, prediction: MediaPrediction, model: PredictionModel | None
) -> PredictImageResult:
    answer = answer_of(prediction)
    trained = None if model is None else model.model
    best = None if trained is None else trained.metrics.get("score_threshold")
    return PredictImageResult(
        prediction_task_uuid=task.id,
        original_file_name=task.file_name,
        status="success" if answer.objects else "no_detection",
        model=prediction.model,
        model_type=None if trained is None else trained.model_type.value,
        image_uuid=task.subject.image,
        width=answer.width,
        height=answer.height,
        objects=answer.objects,
        best_threshold=rounded(best),
    )


def _status(seen: Seen) -> str:
    if seen.prediction.objects:
        return "success"
    return "no_detection" if seen.best is None else "below_threshold"


def _picture(data: bytes, prediction: MediaPrediction, call: Call) -> Picture:
    """The picture with what was found in it; the class of a whole picture frames it."""
    from tintype_studio.predictions.pictures import picture

    return Picture(*picture(data, prediction, max_side=PICTURE_SIDE, check=call.check))


TOOL = ToolSpec(
    name="predict_image",
    title="Ask a model about an image",
    category=Category.MODELS,
    toolset="models",
    description=(
        "Use when you want to try a model or classifier on one image or photo and see what it finds: "
        "objects with box, outline, categories, attributes, all drawn. It saves nothing; save_predictions "
        "does. 1 credit per answer with objects."
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
    report=report,
)

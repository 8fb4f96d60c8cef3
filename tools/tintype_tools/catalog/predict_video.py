"""Ask a model about a video: every object, followed over time."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_studio.ledger.prices import price_of
from tintype_studio.predictions.asking import LEAST_FPS, MOST_FPS, OPERATIONS, USUAL_FPS, PredictionRequest
from tintype_studio.predictions.task import PredictionTask, Subject
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, JobShape, WaitSeconds
from tintype_tools.prediction_asking import (
    TOOLSET,
    AskingArgs,
    TaskOfUpload,
    job_of,
    outcome_of,
    prepared,
    quote_of,
    task_of,
)
from tintype_tools.prediction_shapes import Answer, PredictionStatus, answer_of
from tintype_tools.spec import Category, Effect, Quote, Result, ToolSpec

OPERATION = OPERATIONS["video"]


class PredictVideoArgs(AskingArgs):
    """Which model, which video."""

    upload_path: Annotated[
        str | None, Field(description="upload_path of create_video_upload_url.", max_length=400)
    ] = None
    local_path: Annotated[str | None, Field(description="A video file on the server's machine.")] = None
    prediction_task_uuid: TaskOfUpload = None
    frames_per_second: Annotated[
        int | None,
        Field(
            ge=LEAST_FPS,
            le=MOST_FPS,
            description=f"Frames a second that are looked at; default {USUAL_FPS}, or the task's own.",
        ),
    ] = None
    wait_seconds: WaitSeconds = DEFAULT_WAIT

    def request(self, call: Call) -> PredictionRequest:
        """What is asked, and about what; ``InvalidInput`` unless that is said in one way."""
        self.require_one(
            upload_path=self.upload_path,
            local_path=self.local_path,
            prediction_task_uuid=self.prediction_task_uuid,
        )
        subject, name = Subject(), None
        if self.upload_path is not None:
            subject, name = Subject(upload=self.upload_path), PurePath(self.upload_path).name
        return self.about(
            call,
            "video",
            self.prediction_task_uuid,
            self.local_path,
            subject,
            name,
            self.frames_per_second,
        )


class PredictVideoResult(Result):
    """The task; and once it is predicted, the objects, each with up to 5 boxes spread over its time."""

    task: PredictionStatus
    prediction: Answer | None = None
    job: JobShape | None = None


def quote(args: PredictVideoArgs, call: Call) -> Quote:
    """One price per begun minute of video."""
    return quote_of(prepared(call, args.request(call)))


def plan(args: PredictVideoArgs, call: Call) -> Plan:
    """One video; no annotation is saved."""
    request = args.request(call)
    found = prepared(call, request)
    task = None if request.task is None else call.studio.predictions.get(call.principal, request.task)
    name = request.file_name if task is None else task.file_name
    detail = {"minutes": found.minutes}
    return Plan((Affected("video.predicted", 1, name=name, detail=detail, subject=request.task),))


def handle(args: PredictVideoArgs, call: Call) -> Output:
    """Start the job."""
    found = prepared(call, args.request(call))
    task = call.studio.predictions.start(call.principal, found)
    told = _told(task, call)
    return Output(told, credits=0) if found.started is not None else Output(told, job=task.job_id)


def report(job: Job, call: Call) -> PredictVideoResult:
    """What became of the task."""
    return _told(task_of(job, call), call)


def _told(task: PredictionTask, call: Call) -> PredictVideoResult:
    prediction = outcome_of(task, call)
    return PredictVideoResult(
        task=PredictionStatus.of(task),
        prediction=None if prediction is None else answer_of(prediction),
        job=job_of(task, call),
    )


TOOL = ToolSpec(
    name="predict_video",
    title="Ask a model about a video",
    category=Category.PREDICTIONS,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when you want to run a model on a video and follow or track every object through it: when it "
        "was there, its boxes, categories, and attributes that change. A job of 10 credits per begun "
        "minute. Then get_prediction_results for all boxes, preview_prediction, save_predictions."
    ),
    args=PredictVideoArgs,
    result=PredictVideoResult,
    required_role=Role.MEMBER,
    credit_cost=price_of(OPERATION).total(1),
    quote=quote,
    plan=plan,
    idempotent=False,
    effect=Effect.SPEND,
    handler=handle,
    report=report,
)

"""What the tools share that ask for a prediction: about what, by which model, and what came of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.errors import InvalidInput
from tintype_studio.jobs.job import Job
from tintype_studio.predictions.asking import PredictionRequest, Prepared
from tintype_studio.predictions.models import MAX_OBJECTS
from tintype_studio.predictions.shapes import Media, MediaPrediction
from tintype_studio.predictions.task import PredictionTask, Subject, TaskStatus
from tintype_tools.call import Call
from tintype_tools.job_shapes import JobShape
from tintype_tools.spec import Args, Quote

TOOLSET = "predictions"

ModelName = Annotated[
    str,
    Field(description="Name, name@version or UUID.", max_length=220),
]
Threshold = Annotated[
    float | None,
    Field(ge=0, le=1, description="Least score; default: the model's best."),
]
TaskOfUpload = Annotated[str | None, Field(description="Task of create_prediction_task.", max_length=80)]
ToFind = Annotated[
    list[str] | None,
    Field(description="What open_vocabulary is to find.", max_length=MAX_OBJECTS),
]


class AskingArgs(Args):
    """By which model."""

    model: ModelName
    confidence_threshold: Threshold = None
    objects: ToFind = None

    def require_one(self, **given: str | None) -> None:
        """``InvalidInput`` unless exactly one of them says what is meant."""
        if sum(value is not None for value in given.values()) != 1:
            *first, last = given
            raise InvalidInput(
                f"Say exactly one of {', '.join(first)} and {last}.",
                code="invalid_selection",
                fix="Send one of them.",
            )

    def about(
        self,
        call: Call,
        media: Media,
        task: str | None,
        local_path: str | None,
        subject: Subject,
        file_name: str | None,
        frames_per_second: int | None = None,
    ) -> PredictionRequest:
        """What is asked about a task, a file of this machine, or else the subject."""
        if local_path is not None:
            file = call.files.file(local_path)
            subject, file_name = Subject(local=str(file)), file.name
        return PredictionRequest(
            self.model,
            task=task,
            media=media,
            subject=subject,
            file_name=file_name,
            frames_per_second=frames_per_second,
            threshold=self.confidence_threshold,
            objects=tuple(self.objects or ()),
        )


def prepared(call: Call, request: PredictionRequest) -> Prepared:
    """What the prediction would do; refuses what would be refused."""
    return call.studio.predictions.prepare(call.principal, request, check=call.check)


def quote_of(found: Prepared) -> Quote:
    """Its price, at most."""
    return Quote(found.operation, found.credits)


def outcome_of(task: PredictionTask, call: Call) -> MediaPrediction | None:
    """The result of a task that has one."""
    if task.status is not TaskStatus.PREDICTED:
        return None
    return call.studio.predictions.result(call.principal, task)


def job_of(task: PredictionTask, call: Call) -> JobShape | None:
    """The job that works on a task, for an answer that comes before its end or after a failure."""
    if task.job_id is None or task.status is TaskStatus.PREDICTED:
        return None
    return JobShape.of(call.studio.jobs.get(call.principal, task.job_id))


def task_of(job: Job, call: Call) -> PredictionTask:
    """The task that a job works on."""
    return call.studio.predictions.get_of_job(call.principal, job)

"""Measure the model of a training session."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tintype_studio.errors import InvalidInput
from tintype_studio.experiments.own_results import MODEL
from tintype_studio.experiments.session import ValidationSession
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, JobShape, WaitSeconds
from tintype_tools.session_shapes import (
    Parameters,
    ProjectName,
    SessionId,
    SessionShape,
    SetName,
    dataset_and_set,
    project_row,
)
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class StartValidationArgs(Args):
    """Whose model, on what."""

    training_session_id: SessionId
    name: Annotated[str | None, Field(description="Of the session.", max_length=120)] = None
    dataset_name: Annotated[
        DatasetName | None, Field(description="Default: the dataset that it learned from.")
    ] = None
    annotation_set: Annotated[SetName | None, Field(description="The truth; default: default.")] = None
    params: Annotated[
        Parameters | None,
        Field(description="split: train, val, test (default) or all; anything if user_managed."),
    ] = None
    model_file: Annotated[str, Field(description="Artifact to measure.", max_length=500)] = MODEL
    user_managed: Annotated[bool, Field(description="Measure nothing: somebody else fills the session.")] = (
        False
    )
    project: Annotated[ProjectName | None, Field(description="Default: that of the dataset.")] = None
    description: Annotated[str | None, Field(description="Free text.", max_length=2000)] = None
    wait_seconds: WaitSeconds = DEFAULT_WAIT


class StartValidationResult(Result):
    """The session; its metrics once the job is completed."""

    session: SessionShape
    metrics: Parameters
    task_id: str
    job: JobShape | None = None


def _job_args(args: StartValidationArgs, call: Call) -> dict[str, Any]:
    experiments = call.studio.experiments
    training = experiments.training.get(call.principal, args.training_session_id)
    return experiments.validation.job_args(
        call.principal,
        training=training,
        name=args.name or f"{training.name} validation",
        params=args.params or {},
        model_file=args.model_file,
        dataset=args.dataset_name,
        annotation_set=args.annotation_set,
        project_row_id=project_row(call, args.project),
        description=args.description,
    )


def plan(args: StartValidationArgs, call: Call) -> Plan:
    """How many images would be looked at."""
    if args.user_managed:
        training = call.studio.experiments.training.get(call.principal, args.training_session_id)
        name = args.name or f"{training.name} validation"
        dataset_and_set(call, args.dataset_name, args.annotation_set)
        return Plan((Affected("session.created", 1, name=name),))
    planned = call.studio.jobs.plan(call.principal, "evaluate", _job_args(args, call))
    images = (planned.total or 1) - 1
    return Plan((Affected("images.evaluated", images, args.dataset_name),), undoable=False)


def handle(args: StartValidationArgs, call: Call) -> Output:
    """Start the job, or make a session without one."""
    if not args.user_managed:
        job = call.studio.experiments.validation.start(call.principal, _job_args(args, call))
        return Output(report(job, call), job=job.id)
    experiments = call.studio.experiments
    training = experiments.training.get(call.principal, args.training_session_id)
    dataset, set_id = dataset_and_set(call, args.dataset_name, args.annotation_set)
    made = experiments.validation.create(
        call.principal,
        training=training,
        name=args.name or f"{training.name} validation",
        params={**(args.params or {}), "model": args.model_file},
        dataset=dataset,
        annotation_set_row_id=set_id,
        project_row_id=project_row(call, args.project),
        description=args.description,
    )
    return Output(_shown(made, call))


def report(job: Job, call: Call) -> StartValidationResult:
    """The session as it stands."""
    session = call.studio.experiments.validation.of_job(call.principal, job.id)
    return _shown(session, call, job)


def _shown(session: ValidationSession, call: Call, job: Job | None = None) -> StartValidationResult:
    if session.task is None:
        raise InvalidInput("The session has no task.", code="task_missing")
    return StartValidationResult(
        session=SessionShape.of(session),
        metrics=call.studio.experiments.validation.metrics(session),
        task_id=session.task.wire_id,
        job=None if job is None else JobShape.of(job),
    )


TOOL = ToolSpec(
    name="start_validation",
    title="Start a validation session",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when a training session is to be validated and the outcome kept as a session of its own: "
        "measures its model on a dataset in a free job; with user_managed it only opens one that an outside "
        "validator fills. For figures of a model_id use evaluate_model."
    ),
    args=StartValidationArgs,
    result=StartValidationResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    plan=plan,
    handler=handle,
    report=report,
)

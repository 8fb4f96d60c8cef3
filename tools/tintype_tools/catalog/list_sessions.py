"""See which training or validation sessions there are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.errors import InvalidInput
from tintype_studio.experiments.session import TrainingSession, ValidationSession
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import (
    Before,
    ExperimentId,
    Limit,
    ProjectName,
    SessionId,
    SessionShape,
    next_before,
    project_row,
)
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListSessionsArgs(Args):
    """Which of them."""

    kind: Annotated[Literal["training", "validation"], Field(description="Of which kind.")] = "training"
    experiment_id: Annotated[ExperimentId | None, Field(description="Trainings of this experiment.")] = None
    training_session_id: Annotated[
        SessionId | None, Field(description="Validations of this training session.")
    ] = None
    project: Annotated[ProjectName | None, Field(description="Only those of this project.")] = None
    limit: Limit = 50
    before: Before = None


class ListSessionsResult(Result):
    """Sessions, newest first."""

    sessions: list[SessionShape]
    next_before: str | None = None


def handle(args: ListSessionsArgs, call: Call) -> ListSessionsResult:
    """List."""
    experiments, principal = call.studio.experiments, call.principal
    wrong = args.training_session_id if args.kind == "training" else args.experiment_id
    if wrong is not None:
        raise InvalidInput(
            f"{args.kind} sessions are not listed by that.",
            code="invalid_filter",
            fix="experiment_id is for training sessions, training_session_id for validation sessions.",
        )
    project = project_row(call, args.project)
    found: list[TrainingSession] | list[ValidationSession]
    if args.kind == "training":
        own = None if args.experiment_id is None else experiments.get(principal, args.experiment_id)
        found = experiments.training.list(
            principal, experiment=own, project_row_id=project, limit=args.limit, before=args.before
        )
    else:
        of = args.training_session_id
        training = None if of is None else experiments.training.get(principal, of)
        found = experiments.validation.list(
            principal, training=training, project_row_id=project, limit=args.limit, before=args.before
        )
    return ListSessionsResult(
        sessions=[SessionShape.of(each) for each in found], next_before=next_before(found, args.limit)
    )


TOOL = ToolSpec(
    name="list_sessions",
    title="List sessions",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when you look for training sessions of an experiment, or for validation sessions: those that "
        "ran here and those that were filled from elsewhere, with parameters and status."
    ),
    args=ListSessionsArgs,
    result=ListSessionsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

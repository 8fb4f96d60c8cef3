"""Tell of a session what was measured."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.errors import InvalidInput
from tintype_studio.experiments.deletion import find_session
from tintype_studio.experiments.session import ValidationSession
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import ExperimentId, Parameters, SessionId, SessionShape, tried
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class UpdateSessionArgs(Args):
    """Which session, and what of it."""

    session_id: SessionId
    metrics: Annotated[Parameters | None, Field(description="Figures by name; JSON without null.")] = None
    params: Annotated[Parameters | None, Field(description="What it was run with.")] = None
    merge: Annotated[
        bool, Field(description="Add to metrics and params; false replaces those told before.")
    ] = False
    name: Annotated[str | None, Field(description="Another name.", max_length=120)] = None
    experiment_id: Annotated[
        ExperimentId | None, Field(description="Move a training session to this experiment.")
    ] = None
    description: Annotated[str | None, Field(description="Free text.", max_length=2000)] = None


class UpdateSessionResult(Result):
    """The session and all its metrics."""

    session: SessionShape
    metrics: Parameters


def handle(args: UpdateSessionArgs, call: Call) -> UpdateSessionResult:
    """Tell."""
    told = args.model_dump(include={"metrics", "params", "name", "description"}, exclude_none=True)
    if not told and args.experiment_id is None:
        raise InvalidInput(
            "There is nothing to change.",
            code="nothing_to_change",
            fix="Send metrics, params, name, description or experiment_id.",
        )
    experiments = call.studio.experiments
    session = find_session(call.studio, call.principal, args.session_id)
    if isinstance(session, ValidationSession):
        if args.experiment_id is not None:
            raise InvalidInput(
                "A validation session lies where its training session does.",
                code="invalid_session",
                fix="Move the training session.",
            )
        changed = experiments.validation.update(call.principal, session.id, merge=args.merge, **told)
        return UpdateSessionResult(
            session=SessionShape.of(changed), metrics=experiments.validation.metrics(changed)
        )
    to = None if args.experiment_id is None else experiments.get(call.principal, args.experiment_id)
    trained = experiments.training.update(call.principal, session.id, merge=args.merge, experiment=to, **told)
    return UpdateSessionResult(
        session=SessionShape.of(trained), metrics=experiments.training.metrics(trained)
    )


TOOL = ToolSpec(
    name="update_session",
    title="Update a session",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when an outside trainer or validator has figures to record: sets metrics or parameters of a "
        "training or validation session, or its name and description. What was measured here stays as it is."
    ),
    args=UpdateSessionArgs,
    result=UpdateSessionResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    plan=tried("session.updated", handle),
    handler=handle,
)

"""See what came of a session."""

from __future__ import annotations

from collections.abc import Sequence

from tintype_studio.experiments.deletion import find_session
from tintype_studio.experiments.files import StoredFile
from tintype_studio.experiments.session import ValidationSession
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import FileShape, Parameters, SessionId, SessionShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class GetSessionMetricsArgs(Args):
    """Which session."""

    session_id: SessionId


class GetSessionMetricsResult(Result):
    """The session, its metrics (``history``: epoch by epoch) and its files."""

    session: SessionShape
    metrics: Parameters
    files: list[FileShape]


def handle(args: GetSessionMetricsArgs, call: Call) -> GetSessionMetricsResult:
    """Look."""
    experiments = call.studio.experiments
    session = find_session(call.studio, call.principal, args.session_id)
    files: Sequence[StoredFile]
    if isinstance(session, ValidationSession):
        metrics, files = experiments.validation.metrics(session), experiments.validation.files(session)
    else:
        metrics, files = experiments.training.metrics(session), experiments.training.files(session)
    return GetSessionMetricsResult(
        session=SessionShape.of(session),
        metrics=metrics,
        files=[FileShape.of(file, call) for file in files],
    )


TOOL = ToolSpec(
    name="get_session_metrics",
    title="Get a session's metrics",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when you need the figures of a training or validation session, its parameters, and its files "
        "(artifacts, checkpoints, data) with links."
    ),
    args=GetSessionMetricsArgs,
    result=GetSessionMetricsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

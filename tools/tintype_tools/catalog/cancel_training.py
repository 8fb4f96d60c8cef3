"""Stop a training run."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.model_shapes import RunId, TrainingRunShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class CancelTrainingArgs(Args):
    """Which run."""

    run_id: RunId


class CancelTrainingResult(Result):
    """The run; ``cancelling`` until its worker has stopped it, within a second."""

    training_run: TrainingRunShape


def plan(args: CancelTrainingArgs, call: Call) -> Plan:
    """One run that stops, and cannot be gone on with."""
    run = call.studio.training.require_cancellable(call.principal, args.run_id)
    return Plan((Affected("training.cancelled", 1, run.dataset_name, run.name),), undoable=False)


def handle(args: CancelTrainingArgs, call: Call) -> CancelTrainingResult:
    """Ask it to stop."""
    run = call.studio.training.cancel(call.principal, args.run_id)
    return CancelTrainingResult(training_run=TrainingRunShape.of(run))


TOOL = ToolSpec(
    name="cancel_training",
    title="Cancel a training",
    category=Category.TRAINING,
    toolset="training",
    core=False,
    description=(
        "Use when the user wants a training run stopped. No model comes of it; minutes that were trained "
        "stay charged, the rest is free again. Members stop their own runs, admins all."
    ),
    args=CancelTrainingArgs,
    result=CancelTrainingResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    plan=plan,
    handler=handle,
)

"""Make a training session that an outside trainer fills."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import ExperimentId, Parameters, SessionShape, SetName, dataset_and_set
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class CreateSessionArgs(Args):
    """What is trained elsewhere."""

    experiment_id: ExperimentId
    name: Annotated[str, Field(description="Of the session.", max_length=120)]
    model: Annotated[str, Field(description="Architecture, as its trainer calls it.", max_length=120)]
    params: Annotated[Parameters | None, Field(description="What it is trained with.")] = None
    dataset_name: Annotated[DatasetName | None, Field(description="Dataset that it learns from.")] = None
    annotation_set: Annotated[SetName | None, Field(description="Default: default.")] = None
    train_group: Annotated[str, Field(description="Group that it learns from.", max_length=120)] = "train"
    val_group: Annotated[str, Field(description="Group that it is tuned on.", max_length=120)] = "val"
    description: Annotated[str | None, Field(description="Free text.", max_length=2000)] = None


def handle(args: CreateSessionArgs, call: Call) -> SessionShape:
    """Make it, with its task."""
    experiments = call.studio.experiments
    dataset, set_id = dataset_and_set(call, args.dataset_name, args.annotation_set)
    made = experiments.training.create(
        call.principal,
        experiment=experiments.get(call.principal, args.experiment_id),
        name=args.name,
        model=args.model,
        params=args.params,
        dataset=dataset,
        annotation_set_row_id=set_id,
        train_group=args.train_group,
        val_group=args.val_group,
        description=args.description,
    )
    return SessionShape.of(made)


TOOL = ToolSpec(
    name="create_session",
    title="Create a training session",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when a training that runs elsewhere is to be recorded here: makes a session in an experiment, "
        "which update_session fills with metrics, add_session_files with weights, and update_task with its "
        "progress. train_pipeline makes its own session."
    ),
    args=CreateSessionArgs,
    result=SessionShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    handler=handle,
)

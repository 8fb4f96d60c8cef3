"""Tell how a task is doing."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import TaskId, TaskShape, tried
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class NamedStage(Args):
    """A stage that the task will have."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    description: Annotated[str, Field(max_length=1000)] = ""


class StageNow(Args):
    """How far a stage is."""

    stage: Annotated[str, Field(max_length=120, description="Its name.")]
    status: Annotated[str, Field(max_length=40)] = "running"
    message: Annotated[str, Field(max_length=1000)] = ""
    percentage: Annotated[int, Field(ge=0, le=100)] = 0


_FREE = {"type": "object", "additionalProperties": True}
# Whatever JSON a trainer draws is kept; agents are shown the forms that make sense.
_Drawn = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                _FREE,
                {
                    "type": "array",
                    "items": {"anyOf": [{"type": "number"}, {"type": "string"}, _FREE]},
                },
                {"type": "number"},
            ]
        }
    ),
]
_How = Annotated[Any, WithJsonSchema(_FREE)]


class ChartNow(Args):
    """A chart; one of this name in this group is replaced."""

    group: Annotated[str, Field(min_length=1, max_length=120)]
    name: Annotated[str, Field(min_length=1, max_length=120)]
    data: Annotated[_Drawn, Field(description="What is drawn: JSON without null.")]
    params: Annotated[_How, Field(description="How it is drawn.")] = None


class UpdateTaskArgs(Args):
    """Which task, and what of it."""

    task_id: TaskId
    status: Annotated[
        str | None, Field(description="running, complete, failed, cancelled …", max_length=40)
    ] = None
    stages: Annotated[
        list[NamedStage] | None, Field(max_length=100, description="All its stages, in order.")
    ] = None
    stage: Annotated[StageNow | None, Field(description="How far one stage is.")] = None
    chart: Annotated[ChartNow | None, Field(description="A chart to keep.")] = None
    name: Annotated[str | None, Field(description="Another name.", max_length=200)] = None


def handle(args: UpdateTaskArgs, call: Call) -> TaskShape:
    """Tell, all or nothing."""
    if not args.model_dump(exclude={"task_id"}, exclude_none=True):
        raise InvalidInput(
            "There is nothing to change.",
            code="nothing_to_change",
            fix="Send status, stages, stage, chart or name.",
        )
    tasks, principal = call.studio.tasks, call.principal
    task = tasks.get(principal, args.task_id)
    if args.name is not None:
        task = tasks.rename(principal, task.id, args.name)
    if args.stages is not None:
        task = tasks.set_stages(principal, task.id, [(each.name, each.description) for each in args.stages])
    if args.stage is not None:
        stage = args.stage
        task = tasks.update_stage(
            principal,
            task.id,
            stage.stage,
            status=stage.status,
            message=stage.message,
            percentage=stage.percentage,
        )
    if args.status is not None:
        task = tasks.set_status(principal, task.id, args.status)
    if args.chart is not None:
        chart = args.chart
        tasks.charts.put(task, group=chart.group, name=chart.name, data=chart.data, params=chart.params)
    return TaskShape.of(task)


TOOL = ToolSpec(
    name="update_task",
    title="Update a task",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when work that is done elsewhere reports its progress: sets a task's status, its stages, how "
        "far one of them is, or a chart. Jobs of this server tell their status themselves; they take charts "
        "and a name."
    ),
    args=UpdateTaskArgs,
    result=TaskShape,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    plan=tried("task.updated", handle),
    handler=handle,
)

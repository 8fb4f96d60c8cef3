"""See how a task is doing."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tintype_studio.experiments.files import Owner
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import FileShape, TaskId, TaskShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ChartOf(Args):
    """Which chart."""

    group: Annotated[str, Field(description="Its group.", max_length=120)]
    name: Annotated[str, Field(description="Its name.", max_length=120)]


class GetTaskArgs(Args):
    """Which task."""

    task_id: TaskId
    chart: Annotated[ChartOf | None, Field(description="Also tell this chart's data.")] = None


class GetTaskResult(Result):
    """The task, the names of its charts by group, and its data files."""

    task: TaskShape
    charts: dict[str, list[str]]
    files: list[FileShape]
    chart_data: Any = None
    chart_params: Any = None


def handle(args: GetTaskArgs, call: Call) -> GetTaskResult:
    """Look."""
    tasks = call.studio.tasks
    task = tasks.get(call.principal, args.task_id)
    chart = None if args.chart is None else tasks.charts.get(task, args.chart.group, args.chart.name)
    files = call.studio.experiments.files.list(Owner.TASK, task.row_id)
    return GetTaskResult(
        task=TaskShape.of(task),
        charts=tasks.charts.names(task),
        files=[FileShape.of(file, call) for file in files],
        chart_data=None if chart is None else chart.data,
        chart_params=None if chart is None else chart.params,
    )


TOOL = ToolSpec(
    name="get_task",
    title="Get a task",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when you have a task-… id and want its status, its stages with their percentages, its charts "
        "and its data files. get_job tells more of a job of this server."
    ),
    args=GetTaskArgs,
    result=GetTaskResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

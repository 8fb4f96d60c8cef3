"""Keep files with a session or task."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from tintype_studio.experiments.deletion import find_session
from tintype_studio.experiments.files import Incoming, Owner
from tintype_studio.experiments.session import ValidationSession
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import FileShape, SessionId, TaskId, tried
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

MAX_TEXT = 1024 * 1024


class FileArgs(Args):
    """A file, and where it is to stand."""

    path: Annotated[str, Field(max_length=500, description="Its path there, such as artifacts/model.onnx.")]
    file_path: Annotated[str | None, Field(description="Local file to take.")] = None
    text: Annotated[str | None, Field(max_length=MAX_TEXT, description="Or its content, as text.")] = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file_path is None) == (self.text is None):
            raise ValueError("send either file_path or text")
        return self


class AddSessionFilesArgs(Args):
    """What to keep, with what."""

    session_id: Annotated[SessionId | None, Field(description="Of a training or validation.")] = None
    task_id: Annotated[TaskId | None, Field(description="Or of a task.")] = None
    files: Annotated[list[FileArgs], Field(min_length=1, max_length=1000, description="All or none.")]

    @model_validator(mode="after")
    def _one_owner(self) -> Self:
        if (self.session_id is None) == (self.task_id is None):
            raise ValueError("send either session_id or task_id")
        return self


class AddSessionFilesResult(Result):
    """The files that are kept now."""

    files: list[FileShape]


def handle(args: AddSessionFilesArgs, call: Call) -> AddSessionFilesResult:
    """Take them."""
    experiments, principal = call.studio.experiments, call.principal
    if args.session_id is None:
        task = call.studio.tasks.get(principal, args.task_id or "")
        kept = experiments.files.put(principal, Owner.TASK, task.row_id, _incoming(args, call))
    else:
        session = find_session(call.studio, call.principal, args.session_id)
        if isinstance(session, ValidationSession):
            kept = experiments.validation.add_files(principal, session, _incoming(args, call))
        else:
            kept = experiments.training.add_files(principal, session, _incoming(args, call))
    return AddSessionFilesResult(files=[FileShape.of(file, call) for file in kept])


def _incoming(args: AddSessionFilesArgs, call: Call) -> list[Incoming]:
    return [
        Incoming(each.path, call.files.file(each.file_path) if each.file_path else (each.text or "").encode())
        for each in args.files
    ]


TOOL = ToolSpec(
    name="add_session_files",
    title="Add files to a session",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when weights, checkpoints, metrics or other files of a training or validation that ran "
        "elsewhere are to be kept with its session, or data with a task. In a training session they lie "
        "under artifacts/, checkpoints/ or metrics/. A file at the same path is replaced."
    ),
    args=AddSessionFilesArgs,
    result=AddSessionFilesResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    plan=tried("session_files.added", handle, count=None),
    handler=handle,
)

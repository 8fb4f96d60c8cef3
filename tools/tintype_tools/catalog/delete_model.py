"""Delete a model."""

from __future__ import annotations

from typing import Literal

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.model_card import ModelId
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DeleteModelArgs(Args):
    """Which one."""

    model_id: ModelId


class DeleteModelResult(Result):
    """What was deleted."""

    deleted: Literal[True] = True
    model_id: str
    name: str
    version: str


def handle(args: DeleteModelArgs, call: Call) -> DeleteModelResult:
    """Archive it."""
    model = call.studio.models.archive(call.principal, args.model_id)
    return DeleteModelResult(model_id=model.id, name=model.name, version=model.version)


TOOL = ToolSpec(
    name="delete_model",
    title="Delete a model",
    category=Category.MODELS,
    toolset="models",
    core=False,
    description=(
        "Use when the user asks to delete a model: it is archived, used no more, and shown only by "
        "list_models with status=archived. Needs the user's confirmation; undo_call brings it back."
    ),
    args=DeleteModelArgs,
    result=DeleteModelResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.DESTROY,
    handler=handle,
)

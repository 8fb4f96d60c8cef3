"""Take back what one call changed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import UndoneShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class UndoCallArgs(Args):
    """Which call."""

    call_id: Annotated[str, Field(description="From list_changes.")]


def handle(args: UndoCallArgs, call: Call) -> UndoneShape:
    """Take back."""
    return UndoneShape.of(call.studio.undo.call(call.principal, args.call_id, check=call.check))


TOOL = ToolSpec(
    name="undo_call",
    title="Undo a call",
    category=Category.HISTORY,
    toolset="history",
    description=(
        "Use when a call changed, replaced or deleted what it should not have: brings back what it deleted "
        "or replaced, removes what it added. Free; can itself be undone. Refused where later changes build "
        "on it."
    ),
    args=UndoCallArgs,
    result=UndoneShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    takes_away=True,
    handler=handle,
)

"""Take back what a whole session changed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import UndoneShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class UndoSessionArgs(Args):
    """Which session, from where on."""

    session: Annotated[
        str | None,
        Field(description="From list_changes; left out: yours."),
    ] = None
    restore_point: Annotated[
        str | None,
        Field(description="Only what came after it; alone: whoever did it."),
    ] = None


def handle(args: UndoSessionArgs, call: Call) -> UndoneShape:
    """Take back."""
    return UndoneShape.of(
        call.studio.undo.session(
            call.principal, args.session, restore_point=args.restore_point, check=call.check
        )
    )


TOOL = ToolSpec(
    name="undo_session",
    title="Undo a session",
    category=Category.HISTORY,
    toolset="history",
    core=False,
    description=(
        "Use when all that a session changed is to be taken back at once, or all since a restore point: "
        "everything or nothing. Free; undo_call undoes it."
    ),
    args=UndoSessionArgs,
    result=UndoneShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    takes_away=True,
    bulk=True,
    handler=handle,
)

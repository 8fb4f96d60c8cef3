"""Read on where an answer was cut."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call, Output
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ReadMoreArgs(Args):
    """Where to go on."""

    cursor: Annotated[str, Field(description="The cursor from `_truncated`.", max_length=100)]


class ReadMoreResult(Result):
    """The next items of the list that was cut."""

    tool: str
    path: str
    offset: int
    total: int
    items: list[Any]


def handle(args: ReadMoreArgs, call: Call) -> Output:
    """Read the parked rest."""
    handle_part, _, offset_part = args.cursor.rpartition(".")
    if not handle_part or not offset_part.isdecimal():
        raise InvalidInput(
            "This is not a cursor.", code="invalid_cursor", fix="Send the cursor from `_truncated` unchanged."
        )
    offset = int(offset_part)
    parked = call.studio.results.read(call.principal, handle_part, offset=offset)
    value = ReadMoreResult(
        tool=parked.tool, path=parked.path, offset=offset, total=parked.total, items=parked.items
    )
    return Output(value, continues=(handle_part, offset))


TOOL = ToolSpec(
    name="read_more",
    title="Read more of a result",
    category=Category.RESULTS,
    toolset="results",
    description=(
        "Use when an answer carries `_truncated` and you need the part that was left out: pass its cursor. "
        "Cursors last one hour."
    ),
    args=ReadMoreArgs,
    result=ReadMoreResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

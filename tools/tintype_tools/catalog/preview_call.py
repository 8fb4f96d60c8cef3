"""Find out what a call would do."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import JsonArguments, parse_arguments
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class PreviewCallArgs(Args):
    """Which call."""

    tool: Annotated[str, Field(description="Tool that would be called.")]
    arguments: JsonArguments = "{}"


class PreviewCallResult(Result):
    """What the call would do, in a sentence and in figures. Nothing was changed or charged."""

    dry_run: Literal[True] = True
    tool: str
    effect: str
    summary: str
    role: dict[str, Any]
    price: dict[str, Any]
    affected: list[dict[str, Any]]
    undoable: bool
    approval: dict[str, Any]


def handle(args: PreviewCallArgs, call: Call) -> PreviewCallResult:
    """Run the call dry."""
    outcome = call.call_tool(args.tool, parse_arguments(args.arguments), dry_run=True)
    return PreviewCallResult.model_validate(outcome.value)


TOOL = ToolSpec(
    name="preview_call",
    title="Preview a call",
    category=Category.GUARDRAILS,
    toolset="guardrails",
    core=False,
    description=(
        "Use when you want to know what a call would do, without doing it (a dry run): what it would change "
        "or delete, what it costs, whether it needs confirmation. Nothing is changed or charged."
    ),
    args=PreviewCallArgs,
    result=PreviewCallResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

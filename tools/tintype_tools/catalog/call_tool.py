"""Call a tool that is not listed."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

from pydantic import Field

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_tools.call import Affected, Call, Outcome, Output, Plan
from tintype_tools.shapes import JsonArguments, parse_arguments
from tintype_tools.snapshot import load_snapshot
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

NOT_INSIDE = frozenset({"call_tool", "confirm_call"})
"""They are listed, and make calls themselves."""


class CallToolArgs(Args):
    """Which tool, with what."""

    tool: Annotated[str, Field(description="Name from search_tools.", max_length=80)]
    arguments: JsonArguments = "{}"


class CallToolResult(Result):
    """The tool's own answer, the credits that it cost, and the call's id for undo_call."""

    tool: str
    call_id: str
    credits: int
    result: dict[str, Any]


def _bears_secret(name: str) -> bool:
    if not any(tool["name"] == name for tool in load_snapshot()["tools"]):
        return False
    spec: ToolSpec = importlib.import_module(f"tintype_tools.catalog.{name}").TOOL
    return spec.confidential or spec.takes_secret


def _make(args: CallToolArgs, call: Call, *, dry_run: bool = False) -> Outcome:
    if _bears_secret(args.tool):
        raise InvalidInput(
            f"{args.tool} takes or shows a secret, which a call inside a call does not keep to itself.",
            code="invalid_tool",
            fix=f"Ask the user to open its toolset, then call {args.tool} directly.",
        )
    if args.tool in NOT_INSIDE:
        raise InvalidInput(
            f"{args.tool} is called by itself.", code="invalid_tool", fix=f"Call {args.tool} directly."
        )
    return call.call_tool(args.tool, parse_arguments(args.arguments), dry_run=dry_run)


def plan(args: CallToolArgs, call: Call) -> Plan:
    """What the tool would do, by its own dry run."""
    told = _make(args, call, dry_run=True).value
    return Plan(
        tuple(
            Affected(each["kind"], each["count"], each.get("dataset"), each.get("name"))
            for each in told["affected"]
        )
    )


def handle(args: CallToolArgs, call: Call) -> Output:
    """Make the call, through all guards, as if it had come by itself."""
    outcome = _make(args, call)
    value = CallToolResult(
        tool=args.tool, call_id=outcome.call_id, credits=outcome.credits, result=outcome.value
    )
    return Output(value, outcome.pictures)


TOOL = ToolSpec(
    name="call_tool",
    title="Call a tool by name",
    category=Category.DISCOVERY,
    toolset="discovery",
    description=(
        "Use when search_tools has found a tool that is not listed: calls it by name. Role, credits and "
        "confirmation are those of the tool."
    ),
    args=CallToolArgs,
    result=CallToolResult,
    required_role=Role.VIEWER,
    idempotent=False,
    effect=Effect.WRITE,
    open_world=True,
    atomic=False,
    plan=plan,
    handler=handle,
)

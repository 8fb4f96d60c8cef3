"""Go on with a call that asked for confirmation."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tintype_studio.approvals.approval import Status
from tintype_studio.errors import ApprovalDenied
from tintype_studio.identity.roles import Role
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

MAX_WAIT_SECONDS = 50
"""Below the minute after which many hosts give a call up."""


class ConfirmCallArgs(Args):
    """Which call, and with whose word."""

    approval_id: Annotated[str, Field(description="From the refusal's details.")]
    confirm_token: Annotated[
        str | None,
        Field(description="From the refusal's details."),
    ] = None
    wait_seconds: Annotated[
        int, Field(ge=0, le=MAX_WAIT_SECONDS, description="How long to wait for a decision.")
    ] = 0
    refuse: Annotated[bool, Field(description="The user said no: take the question back.")] = False


class ConfirmCallResult(Result):
    """``status`` is done, refused, or pending while a person has not decided."""

    status: str
    tool: str
    summary: str | None = None
    call_id: str | None = None
    credits: int | None = None
    result: dict[str, Any] | None = None


def plan(args: ConfirmCallArgs, call: Call) -> Plan:
    """The confirmed call itself, which is run dry for what it would refuse."""
    approval, arguments, _key = call.studio.approvals.stored_call(call.principal, args.approval_id)
    if args.refuse:
        return Plan((Affected("call.refused", 1, name=approval.tool),))
    if args.confirm_token is not None or approval.status is not Status.PENDING:
        call.call_tool(
            approval.tool,
            arguments,
            dry_run=True,
            approval_id=None if args.confirm_token else approval.id,
            confirm_token=args.confirm_token,
        )
    return Plan((Affected("call.confirmed", 1, name=approval.tool, detail={"credits": approval.credits}),))


def handle(args: ConfirmCallArgs, call: Call) -> ConfirmCallResult | Output:
    """Wait for a word if need be, then make the call exactly as it was asked."""
    approvals = call.studio.approvals
    approval, arguments, key = approvals.stored_call(call.principal, args.approval_id)
    if args.refuse:
        approvals.take_back(call.principal, approval.id)
        return ConfirmCallResult(status="refused", tool=approval.tool, summary=approval.summary)
    if args.confirm_token is None:
        approval = approvals.wait(call.principal, approval.id, args.wait_seconds, call.check)
        if approval.status is Status.PENDING:
            return ConfirmCallResult(status="pending", tool=approval.tool, summary=approval.summary)
        if approval.status is Status.DENIED:
            raise ApprovalDenied(f"A person refused this call to {approval.tool}.")
    outcome = call.call_tool(
        approval.tool,
        arguments,
        approval_id=None if args.confirm_token else approval.id,
        confirm_token=args.confirm_token,
        idempotency_key=key,
    )
    value = ConfirmCallResult(
        status="done",
        tool=approval.tool,
        call_id=outcome.call_id,
        credits=outcome.credits,
        result=outcome.value,
    )
    return Output(value, outcome.pictures)


TOOL = ToolSpec(
    name="confirm_call",
    title="Confirm a call",
    category=Category.GUARDRAILS,
    toolset="guardrails",
    description=(
        "Use when a call was refused with confirmation_required and the user has agreed to its summary: "
        "makes that very call, once. Never without the user's word. Where a person approves elsewhere, leave "
        "the token out and set wait_seconds."
    ),
    args=ConfirmCallArgs,
    result=ConfirmCallResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    open_world=True,
    atomic=False,
    plan=plan,
    handler=handle,
)

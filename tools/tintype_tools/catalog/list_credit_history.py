"""List the ledger."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.catalog.get_credit_balance import LedgerEntryShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListCreditHistoryArgs(Args):
    """Which page."""

    limit: Annotated[int, Field(ge=1, le=500, description="Most entries to return.")] = 50
    offset: Annotated[int, Field(ge=0, le=10**12, description="Newest entries to leave out.")] = 0


class ListCreditHistoryResult(Result):
    """Entries, newest first."""

    entries: list[LedgerEntryShape]
    count: int


def handle(args: ListCreditHistoryArgs, call: Call) -> ListCreditHistoryResult:
    """List."""
    found = call.studio.ledger.history(call.principal, limit=args.limit, offset=args.offset)
    return ListCreditHistoryResult(entries=[LedgerEntryShape.of(e) for e in found], count=len(found))


TOOL = ToolSpec(
    name="list_credit_history",
    title="List the credit history",
    category=Category.CREDITS,
    toolset="credits",
    core=False,
    description=(
        "Use when you need to know what credits were spent on or added for, further back than the balance "
        "tells. Returns the organization's ledger entries, newest first; a negative amount is a debit."
    ),
    args=ListCreditHistoryArgs,
    result=ListCreditHistoryResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

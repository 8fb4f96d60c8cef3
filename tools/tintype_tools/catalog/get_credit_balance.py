"""Read the credit balance."""

from __future__ import annotations

from datetime import datetime

from tintype_studio.identity.roles import Role
from tintype_studio.ledger.ledger import Entry
from tintype_tools.call import Call
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class GetCreditBalanceArgs(Args):
    """Nothing to say."""


class LedgerEntryShape(Result):
    """A line of the ledger; a negative amount is a debit."""

    id: str
    operation: str
    amount: int
    balance_after: int
    description: str | None = None
    created_at: datetime

    @classmethod
    def of(cls, entry: Entry) -> LedgerEntryShape:
        """As listed."""
        return cls(
            id=entry.id,
            operation=entry.operation,
            amount=entry.amount,
            balance_after=entry.balance_after,
            description=entry.description,
            created_at=entry.created_at,
        )


class GetCreditBalanceResult(Result):
    """Whole credits that this key can spend now, and the latest ledger entries."""

    credits_remaining: int
    credits_monthly_allowance: int
    credits_reset_at: datetime | None = None
    recent_history: list[LedgerEntryShape]


def handle(_args: GetCreditBalanceArgs, call: Call) -> GetCreditBalanceResult:
    """Read."""
    balance = call.studio.ledger.balance(call.principal)
    return GetCreditBalanceResult(
        credits_remaining=balance.credits_remaining,
        credits_monthly_allowance=balance.credits_monthly_allowance,
        credits_reset_at=balance.credits_reset_at,
        recent_history=[LedgerEntryShape.of(entry) for entry in balance.recent_history],
    )


TOOL = ToolSpec(
    name="get_credit_balance",
    title="Get the credit balance",
    category=Category.CREDITS,
    toolset="credits",
    description=(
        "Use when you need to know how many credits are left to spend, before paid work or when the user "
        "asks."
    ),
    args=GetCreditBalanceArgs,
    result=GetCreditBalanceResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    quick_unless=frozenset(),
    handler=handle,
)

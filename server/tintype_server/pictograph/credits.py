"""``/credits``: the balance, the ledger, estimates."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Offset, Wire, answers


class LedgerEntry(Wire):
    """A line of the ledger; a negative amount is a debit."""

    id: str
    operation: str
    amount: int
    balance_after: int | None
    description: str | None
    metadata: dict[str, Any] | None
    created_at: datetime


class CreditBalance(Wire):
    """Whole credits that the key can spend now, and the last 20 entries."""

    credits_remaining: int
    credits_monthly_allowance: int
    credits_reset_at: datetime | None
    recent_history: list[LedgerEntry]


class CreditHistory(Wire):
    """Entries, newest first."""

    entries: list[LedgerEntry]


class CreditEstimate(Wire):
    """What an operation would cost."""

    operation: str
    credits_per_unit: int
    unit: str
    quantity: int
    minimum: int
    total_credits: int
    sufficient: bool
    credits_remaining: int


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/credits", "Credits")

    @router.get("/balance", responses=answers(CreditBalance))
    async def balance(request: Request) -> Response:
        """What the key can spend now, and the last entries of the ledger."""
        outcome = await door.call(request, "get_credit_balance", {})
        found = outcome.value
        return door.answer(
            request,
            {
                "credits_remaining": found["credits_remaining"],
                "credits_monthly_allowance": found["credits_monthly_allowance"],
                "credits_reset_at": found.get("credits_reset_at"),
                "recent_history": [wire_entry(entry) for entry in found["recent_history"]],
            },
            outcome,
        )

    @router.get("/history", responses=answers(CreditHistory))
    async def history(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
        offset: Offset = 0,
    ) -> Response:
        """The organization's ledger, newest first."""
        outcome = await door.call(request, "list_credit_history", {"limit": limit, "offset": offset})
        entries = [wire_entry(entry) for entry in outcome.value["entries"]]
        return door.answer(request, {"entries": entries}, outcome)

    @router.get("/estimate", responses=answers(CreditEstimate))
    async def estimate(
        request: Request,
        operation: Annotated[str, Query(max_length=200)],
        quantity: Annotated[int, Query(ge=1, le=1_000_000_000)] = 1,
    ) -> Response:
        """What an operation of the price list costs for a quantity; reserves nothing."""
        outcome = await door.call(
            request, "estimate_credit_cost", {"operation": operation, "quantity": quantity}
        )
        return door.answer(request, outcome.value, outcome)

    return router


_REFUND = re.compile(r"training_(\w+)_per_minute_refund")


def wire_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """A line of the ledger on the wire, where what a training did not use comes back under its own name."""
    return {
        "id": entry["id"],
        "operation": _REFUND.sub(r"training_refund_\1", entry["operation"]),
        "amount": entry["amount"],
        "balance_after": entry["balance_after"],
        "description": entry.get("description"),
        "metadata": None,
        "created_at": entry["created_at"],
    }

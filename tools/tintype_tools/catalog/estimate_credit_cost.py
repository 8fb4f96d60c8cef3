"""Tell what an operation would cost."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.ledger.prices import price_of
from tintype_tools.call import Call
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class EstimateCreditCostArgs(Args):
    """Which operation, how much of it."""

    operation: Annotated[
        str, Field(description="Slug of the price list, such as training_a10g_per_minute.", max_length=200)
    ]
    quantity: Annotated[
        int, Field(ge=1, le=1_000_000_000, description="Units: minutes, images, prompts.")
    ] = 1


class EstimateCreditCostResult(Result):
    """The price in whole credits, and whether this key can pay it now."""

    operation: str
    credits_per_unit: int
    unit: str
    quantity: int
    minimum: int
    total_credits: int
    sufficient: bool
    credits_remaining: int


def handle(args: EstimateCreditCostArgs, call: Call) -> EstimateCreditCostResult:
    """Multiply."""
    price = price_of(args.operation)
    total = price.total(args.quantity)
    remaining = call.studio.ledger.available(call.principal)
    return EstimateCreditCostResult(
        operation=args.operation,
        credits_per_unit=price.credits_per_unit,
        unit=price.unit,
        quantity=args.quantity,
        minimum=price.minimum,
        total_credits=total,
        sufficient=total <= remaining,
        credits_remaining=remaining,
    )


TOOL = ToolSpec(
    name="estimate_credit_cost",
    title="Estimate a credit cost",
    category=Category.CREDITS,
    toolset="credits",
    core=False,
    description=(
        "Use when paid work is planned: tells what an operation of the price list (training on a GPU by the "
        "minute, labelling by the image, a prompt) costs for a quantity, and whether the balance covers it "
        "now. Reserves nothing."
    ),
    args=EstimateCreditCostArgs,
    result=EstimateCreditCostResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    quick_unless=frozenset(),
    handler=handle,
)

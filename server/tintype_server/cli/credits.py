"""``tintype credits``: the balance, the ledger, what things cost, and an owner's grants."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from tintype_server.cli.acting import acting
from tintype_server.cli.resource import ResourceGroup
from tintype_server.cli.tool_commands import does
from tintype_server.settings import Settings

if TYPE_CHECKING:
    from tintype_studio.ledger.ledger import Entry


@click.group("credits", cls=ResourceGroup)
def command() -> None:
    """See and grant credits."""


@command.command("balance")
@does("get_credit_balance")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def balance(settings: Settings, as_json: bool) -> None:
    """What can be spent now, with this key."""
    with acting(settings, "credits.balance") as (studio, principal):
        found = studio.ledger.balance(principal)
    reset = found.credits_reset_at
    if as_json:
        shown = {
            "credits_remaining": found.credits_remaining,
            "credits_monthly_allowance": found.credits_monthly_allowance,
            "credits_reset_at": reset.isoformat() if reset else None,
            "recent_history": [_shown(e) for e in found.recent_history],
        }
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(f"{found.credits_remaining} credits can be spent now")
    click.echo(f"{found.credits_monthly_allowance} credits a month")
    if reset:
        click.echo(f"the allowance comes back on {reset:%Y-%m-%d %H:%M} UTC")


@command.command("history")
@does("list_credit_history")
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--offset", type=click.IntRange(min=0), default=0)
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def history(settings: Settings, limit: int, offset: int, as_json: bool) -> None:
    """The ledger, newest first; a negative amount is a debit."""
    with acting(settings, "credits.history", limit=limit, offset=offset) as (studio, principal):
        entries = studio.ledger.history(principal, limit=limit, offset=offset)
    if as_json:
        click.echo(json.dumps([_shown(e) for e in entries], indent=2))
        return
    from tintype_server.cli.tables import print_table

    print_table(
        ("when", "amount", "balance", "operation", "description"),
        [
            (f"{e.created_at:%Y-%m-%d %H:%M}", e.amount, e.balance_after, e.operation, e.description)
            for e in entries
        ],
    )


@command.command("estimate")
@does("estimate_credit_cost")
@click.argument("operation")
@click.option("--quantity", "-q", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def estimate(settings: Settings, operation: str, quantity: int, as_json: bool) -> None:
    """What an operation of the price list costs, and whether the balance covers it."""
    from tintype_studio.ledger.prices import price_of

    with acting(settings, "credits.estimate", operation=operation, quantity=quantity) as (studio, principal):
        price, remaining = price_of(operation), studio.ledger.available(principal)
    total = price.total(quantity)
    shown = {
        "operation": operation,
        "credits_per_unit": price.credits_per_unit,
        "unit": price.unit,
        "quantity": quantity,
        "total_credits": total,
        "sufficient": total <= remaining,
        "credits_remaining": remaining,
    }
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    from tintype_server.cli.showing import show

    show(shown)


@command.command("grant")
@click.argument("amount", type=int)
@click.option("--note", default="", help="Shown in the ledger.")
@click.option("--reference", help="Makes a repeated grant happen once, such as an invoice number.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def grant(settings: Settings, amount: int, note: str, reference: str | None, as_json: bool) -> None:
    """Add credits to the organization. Needs the role owner."""
    with acting(settings, "credits.grant", amount=amount, note=note, reference=reference) as (
        studio,
        principal,
    ):
        entry = studio.ledger.grant(principal, amount, description=note, reference=reference)
    if as_json:
        click.echo(json.dumps(_shown(entry), indent=2))
        return
    click.echo(f"granted {entry.amount} credits; the balance is {entry.balance_after}")


def _shown(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "operation": entry.operation,
        "amount": entry.amount,
        "balance_after": entry.balance_after,
        "description": entry.description,
        "created_at": entry.created_at.isoformat(),
    }

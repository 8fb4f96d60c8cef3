"""``tintype approvals``: calls of agents that wait for a person's word."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from tintype_server.cli.acting import acting
from tintype_server.cli.resource import ResourceGroup
from tintype_server.settings import Settings

if TYPE_CHECKING:
    from tintype_studio.approvals.approval import Approval

SHORTEST_PREFIX = 8
"""Characters of an id that stand for the whole, if there is one such."""
STATUSES = ("pending", "approved", "denied", "used", "expired", "all")


@click.group("approvals", cls=ResourceGroup)
def command() -> None:
    """See, approve and deny calls that wait for a person. Deciding needs the role admin."""


@command.command("list")
@click.option("--status", type=click.Choice(STATUSES), default="pending", show_default=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def list_approvals(settings: Settings, status: str, as_json: bool) -> None:
    """List the calls that wait, newest first."""
    from tintype_studio.approvals.approval import Status

    with acting(settings, "approvals.list", status=status) as (studio, principal):
        found = studio.approvals.list(principal, status=None if status == "all" else Status(status))
    if as_json:
        click.echo(json.dumps([_shown(a) for a in found], indent=2))
        return
    from tintype_server.cli.audit import visible

    # Not a table: what is decided about must be read whole, and its id be copied.
    for a in found:
        who = f"{a.agent or 'an agent'}, key {a.key_prefix}…, asked {a.created_at:%Y-%m-%d %H:%M} UTC"
        click.echo(f"{a.id}  {a.status}  {a.tool}  ({visible(who)})")
        click.echo(f"    {visible(a.summary)}")
    if not found:
        click.echo("Nothing waits." if status == "pending" else "There is none.", err=True)


@command.command("approve")
@click.argument("approval_id")
@click.pass_obj
def approve(settings: Settings, approval_id: str) -> None:
    """Let a call go on, once. The agent that waits is told at once."""
    _decide(settings, approval_id, approve=True)


@command.command("deny")
@click.argument("approval_id")
@click.pass_obj
def deny(settings: Settings, approval_id: str) -> None:
    """Refuse a call; the same call is then refused for a day, unless you approve it after all."""
    _decide(settings, approval_id, approve=False)


def _decide(settings: Settings, approval_id: str, *, approve: bool) -> None:
    action = "approvals.approve" if approve else "approvals.deny"
    from tintype_server.cli.audit import visible

    with acting(settings, action, approval=approval_id) as (studio, principal):
        found = [a.id for a in studio.approvals.list(principal, status=None) if a.id.startswith(approval_id)]
        whole = found[0] if len(found) == 1 and len(approval_id) >= SHORTEST_PREFIX else approval_id
        decided = studio.approvals.decide(principal, whole, approve=approve)
    click.echo(f"{decided.status}: {decided.tool}. {visible(decided.summary)}")


def _shown(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.id,
        "status": approval.status.value,
        "tool": approval.tool,
        "summary": approval.summary,
        "credits": approval.credits,
        "agent": approval.agent,
        "key_prefix": approval.key_prefix,
        "call_id": approval.call_id,
        "required_role": approval.required_role.value,
        "created_at": approval.created_at.isoformat(),
        "expires_at": approval.expires_at.isoformat(),
        "decided_by": approval.decided_by,
        "decided_at": approval.decided_at.isoformat() if approval.decided_at else None,
        "used_by": approval.used_by,
    }

"""``tintype members``: who belongs to the organization, and as what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from tintype_server.cli.acting import acting
from tintype_server.cli.parameters import ROLES
from tintype_server.cli.resource import ResourceGroup
from tintype_server.cli.tool_commands import does
from tintype_server.settings import Settings

if TYPE_CHECKING:
    from tintype_studio.identity.keys import Principal
    from tintype_studio.identity.organizations import Member
    from tintype_studio.studio import Studio


@click.group("members", cls=ResourceGroup)
def command() -> None:
    """List the organization's members, change their roles, remove them."""


@command.command("list")
@does("list_members")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def list_members(settings: Settings, as_json: bool) -> None:
    """List the members."""
    with acting(settings, "members.list") as (studio, principal):
        found = studio.organizations.list_members(principal)
    if as_json:
        from tintype_server.identity_json import member_json

        click.echo(json.dumps([member_json(member) for member in found], indent=2))
        return
    from tintype_server.cli.tables import print_table

    print_table(
        ("id", "e-mail", "name", "role", "joined (UTC)"),
        [(m.id, m.email, m.full_name, m.role, f"{m.joined_at:%Y-%m-%d}") for m in found],
    )


@command.command("set-role")
@does("update_member_role")
@click.argument("member")
@click.argument("role", type=click.Choice(ROLES))
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def set_role(settings: Settings, member: str, role: str, as_json: bool) -> None:
    """Give a MEMBER (id or e-mail address) another ROLE. A lower one holds for the member's keys, too."""
    with acting(settings, "members.update_role", member=member, role=role) as (studio, principal):
        changed = studio.organizations.update_member_role(
            principal, member_id(studio, principal, member), role
        )
    _tell(f"{changed.email} is {changed.role} now", changed, as_json=as_json)


@command.command("remove")
@does("remove_member")
@click.argument("member")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def remove(settings: Settings, member: str, as_json: bool) -> None:
    """Remove a MEMBER (id or e-mail address), and switch off all of the member's keys."""
    with acting(settings, "members.remove", member=member) as (studio, principal):
        gone = studio.organizations.remove_member(principal, member_id(studio, principal, member))
    _tell(f"removed {gone.email}; their keys work no more", gone, as_json=as_json)


def member_id(studio: Studio, principal: Principal, member: str) -> str:
    """A membership's id, from itself or from the member's e-mail address."""
    if "@" not in member:
        return member
    from tintype_studio.identity.people import clean_email

    email = clean_email(member)
    return next((m.id for m in studio.organizations.list_members(principal) if m.email == email), member)


def _tell(line: str, member: Member, *, as_json: bool) -> None:
    if as_json:
        from tintype_server.identity_json import member_json

        click.echo(json.dumps(member_json(member), indent=2))
        return
    from tintype_server.cli.audit import visible

    click.echo(visible(line))

"""``tintype invites``: bring people into the organization."""

from __future__ import annotations

import json
from contextlib import suppress

import click

from tintype_server.cli.acting import acting, on_record_here
from tintype_server.cli.parameters import ROLES
from tintype_server.cli.resource import ResourceGroup
from tintype_server.cli.tool_commands import does
from tintype_server.settings import Settings
from tintype_studio.errors import TintypeError

STATUSES = ("pending", "accepted", "revoked", "expired")


@click.group("invites", cls=ResourceGroup)
def command() -> None:
    """Invite people by e-mail address, list and revoke invites, accept one."""


@command.command("create")
@does("create_invite")
@click.argument("email")
@click.option("--role", default="member", show_default=True, type=click.Choice(ROLES))
@click.option("--expires-in-days", default=7, show_default=True, type=int)
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def create(settings: Settings, email: str, role: str, expires_in_days: int, as_json: bool) -> None:
    """Invite EMAIL. Prints the link (or the token) once, for you to send; nothing is mailed."""
    with acting(settings, "invites.create", email=email, role=role, expires_in_days=expires_in_days) as (
        studio,
        principal,
    ):
        token, invite = studio.invites.create(
            principal, email=email, role=role, expires_in_days=expires_in_days
        )
    url = f"{settings.base_url}/invites/{token}" if settings.base_url else None
    if as_json:
        from tintype_server.identity_json import invite_json

        click.echo(json.dumps({**invite_json(invite), "token": token, "invite_url": url}, indent=2))
        return
    click.echo(url or token)
    how = "POST to the link, or run" if url else "Run"
    click.echo(
        f"{how} `tintype invites accept {token}` to accept it, "
        f"until {invite.expires_at:%Y-%m-%d %H:%M} UTC. It works once and is not shown again.",
        err=True,
    )


@command.command("list")
@does("list_invites")
@click.option("--status", type=click.Choice(STATUSES), help="Only those; default: all.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def list_invites(settings: Settings, status: str | None, as_json: bool) -> None:
    """List the invites, newest first."""
    with acting(settings, "invites.list", status=status) as (studio, principal):
        found = studio.invites.list(principal, status=status)
    if as_json:
        from tintype_server.identity_json import invite_json

        click.echo(json.dumps([invite_json(invite) for invite in found], indent=2))
        return
    from tintype_server.cli.tables import print_table

    print_table(
        ("id", "e-mail", "role", "status", "until (UTC)"),
        [(i.id, i.email, i.role, i.status, f"{i.expires_at:%Y-%m-%d %H:%M}") for i in found],
    )


@command.command("revoke")
@does("revoke_invite")
@click.argument("invite")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def revoke(settings: Settings, invite: str, as_json: bool) -> None:
    """Void an INVITE, by its id."""
    with acting(settings, "invites.revoke", invite=invite) as (studio, principal):
        revoked = studio.invites.revoke(principal, invite)
    if as_json:
        from tintype_server.identity_json import invite_json

        click.echo(json.dumps(invite_json(revoked), indent=2))
        return
    from tintype_server.cli.audit import visible

    click.echo(visible(f"revoked the invite of {revoked.email}"))


@command.command("accept")
@click.argument("token")
@click.option("--full-name", help="Your name.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def accept(settings: Settings, token: str, full_name: str | None, as_json: bool) -> None:
    """Accept an invite by its TOKEN, in the workspace that it is for. Prints your API key, once."""
    with on_record_here(settings, "invites.accept") as (studio, deed):
        accepted = studio.invites.accept(token.rsplit("/", 1)[-1], full_name=full_name)
        deed.arguments["email"] = accepted.key.user_email
        with suppress(TintypeError):  # the key exists by now, and this is where it is shown
            deed.principal = studio.keys.authenticate(accepted.api_key)
    if as_json:
        from tintype_server.identity_json import created_key_json

        click.echo(
            json.dumps(
                {
                    **created_key_json(accepted.api_key, accepted.key),
                    "organization": accepted.organization,
                    "member_id": accepted.member_id,
                }
            )
        )
        return
    from tintype_server.cli.audit import visible

    click.echo(accepted.api_key)
    click.echo(
        visible(f"You are {accepted.key.role} of {accepted.organization}. ")
        + "Keep the key now: it is not shown again. `tintype login` saves it.",
        err=True,
    )

"""``tintype users``: names and passwords, for clients that log in with them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from tintype_server.cli.acting import acting, resolved_key
from tintype_server.cli.parameters import ROLES
from tintype_server.cli.resource import ResourceGroup
from tintype_server.settings import Settings

if TYPE_CHECKING:
    from tintype_studio.identity.logins import Login


@click.group("users", cls=ResourceGroup)
def command() -> None:
    """Make, list and remove logins for the EdgeFirst client. Needs a key with the role admin or owner."""


@command.command("add")
@click.argument("username")
@click.option("--role", required=True, type=click.Choice(ROLES))
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of the input.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def add(settings: Settings, username: str, role: str, password_stdin: bool, as_json: bool) -> None:
    """Make a login USERNAME. Its password is shown once, here, and nowhere kept."""
    password = _read_password() if password_stdin else None
    with acting(settings, "users.add", username=username, role=role) as (studio, principal):
        login, secret = studio.logins.add(principal, username=username, role=role, password=password)
    _show_secret(login, secret, as_json=as_json)


@command.command("list")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def list_users(settings: Settings, as_json: bool) -> None:
    """List the organization's logins."""
    with acting(settings, "users.list") as (studio, principal):
        found = studio.logins.list(principal)
    if as_json:
        click.echo(json.dumps([_json(login) for login in found], indent=2))
        return
    from tintype_server.cli.tables import print_table

    print_table(
        ("name", "role", "key", "active", "last login (UTC)"),
        [
            (
                login.username,
                login.role,
                login.key_prefix,
                "yes" if login.is_active else "no",
                f"{login.last_used_at:%Y-%m-%d %H:%M}" if login.last_used_at else None,
            )
            for login in found
        ],
    )


@command.command("passwd")
@click.argument("username")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of the input.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def passwd(settings: Settings, username: str, password_stdin: bool, as_json: bool) -> None:
    """Give the login USERNAME another password; its tokens of before open nothing more."""
    password = _read_password() if password_stdin else None
    with acting(settings, "users.passwd", username=username) as (studio, principal):
        login, secret = studio.logins.set_password(principal, username, password)
    _show_secret(login, secret, as_json=as_json)


@command.command("remove")
@click.argument("username")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def remove(settings: Settings, username: str, as_json: bool) -> None:
    """Take the login USERNAME away; its key is revoked."""
    with acting(settings, "users.remove", username=username) as (studio, principal):
        login = studio.logins.remove(principal, username)
    if as_json:
        click.echo(json.dumps({**_json(login), "is_active": False}, indent=2))
        return
    from tintype_server.cli.audit import visible

    click.echo(f"removed {visible(login.username)}")


@command.command("token")
@click.option("--username", default="api-key", show_default=True, help="What the client shows as its user.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def token(settings: Settings, username: str, as_json: bool) -> None:
    """Print a token for the EdgeFirst client, which takes no API keys. It acts with this machine's key."""
    from tintype_server.edgefirst.tokens import Tokens

    with acting(settings, "users.token", username=username) as (studio, _):
        made = Tokens(studio).of_key(resolved_key(settings), username)
    click.echo(json.dumps({"token": made}) if as_json else made)


def _read_password() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _show_secret(login: Login, password: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**_json(login), "password": password}))
    else:
        click.echo(password)
        click.echo(f"The password of {login.username}. Keep it now: it is not shown again.", err=True)


def _json(login: Login) -> dict[str, object]:
    return {
        "username": login.username,
        "role": login.role.value,
        "key_prefix": login.key_prefix,
        "is_active": login.is_active,
        "created_at": login.created_at.isoformat(),
        "last_used_at": login.last_used_at.isoformat() if login.last_used_at else None,
    }

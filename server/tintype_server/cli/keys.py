"""``tintype keys``: make, list, change and revoke API keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tintype_server.cli.acting import acting
from tintype_server.cli.parameters import LIFTED, ROLES, Lifetime, Liftable, Toolsets
from tintype_server.cli.resource import ResourceGroup
from tintype_server.cli.tool_commands import does
from tintype_server.settings import Settings

if TYPE_CHECKING:
    from tintype_studio.identity.key_info import KeyInfo

LIMITS: dict[str, tuple[str, click.ParamType[Any], str, str]] = {
    "--expires-in": ("expires_at", Lifetime(), "never", "How long it works (30d, 12h), or until when (ISO)."),
    "--credit-cap": ("credit_cap", click.INT, "none", "Credits that it may spend in total."),
    "--daily-cap": ("daily_credit_cap", click.INT, "none", "Credits that it may spend in a day (UTC)."),
    "--rate-limit": ("rate_limit", click.INT, "none", "Calls in an hour; without it, the tier's."),
    "--concurrent": ("max_concurrent", click.INT, "none", "Calls at a time; without it, the tier's."),
    "--max-response-tokens": ("max_response_tokens", click.INT, "none", "Largest response budget of a call."),
    "--confirm-by": (
        "confirm_by",
        click.Choice(["token", "human"]),
        "none",
        "Who confirms what destroys or spends much; without it, as the server says.",
    ),
    "--toolsets": ("toolsets", Toolsets(), "all", "Comma-separated toolsets that it is limited to."),
}
"""Option → field, type, the word that lifts it, help."""

Command = Callable[..., None]


def _limits(*, liftable: bool) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for flag, (field, kind, word, text) in reversed(LIMITS.items()):
            shown = Liftable(kind, word) if liftable else kind
            command = click.option(flag, field, type=shown, help=text)(command)
        return command

    return add


@click.group("keys", cls=ResourceGroup)
def command() -> None:
    """Make, list, change and revoke API keys. Needs a key with the role admin or owner."""


@command.command("create")
@does("create_api_key")
@click.option("--role", required=True, type=click.Choice(ROLES))
@click.option("--name", required=True, help="What the key is for.")
@click.option("--user", help="Member that it belongs to: a user id or e-mail address; default: yours.")
@_limits(liftable=False)
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def create(
    settings: Settings, /, role: str, name: str, user: str | None, as_json: bool, **limits: Any
) -> None:
    """Make a key. It is shown once, here, and nowhere kept."""
    with acting(settings, "keys.create", role=role, name=name, user=user, **_plain(limits)) as (
        studio,
        principal,
    ):
        if user is not None and "@" in user:
            user = _user_id(studio.organizations.list_members(principal), user)
        secret, info = studio.keys.create(principal, name=name, role=role, user_id=user, **limits)
    if as_json:
        from tintype_server.identity_json import created_key_json

        click.echo(json.dumps(created_key_json(secret, info)))
    else:
        click.echo(secret)
        click.echo(f"Role {info.role}. Keep it now: it is not shown again.", err=True)


@command.command("list")
@does("list_api_keys")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def list_keys(settings: Settings, as_json: bool) -> None:
    """List the organization's keys."""
    with acting(settings, "keys.list") as (studio, principal):
        found = studio.keys.list(principal)
    if as_json:
        from tintype_server.identity_json import key_json

        click.echo(json.dumps([key_json(info) for info in found], indent=2))
        return
    from tintype_server.cli.tables import print_table

    print_table(
        ("prefix", "name", "role", "active", "member", "credits used", "cap", "per day"),
        [
            (
                info.prefix,
                info.name,
                info.role,
                "yes" if info.is_active else "no",
                info.user_email,
                info.credits_used,
                info.credit_cap,
                info.daily_credit_cap,
            )
            for info in found
        ],
    )


@command.command("get")
@does("get_api_key")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def get(settings: Settings, key: str, as_json: bool) -> None:
    """Show one key, by its id or its 12-character prefix."""
    with acting(settings, "keys.get", key=key) as (studio, principal):
        info = studio.keys.get(principal, prefix=key)
    _show(info, as_json=as_json)


@command.command("update")
@does("update_api_key")
@click.argument("key")
@click.option("--name", help="What the key is for.")
@click.option("--role", type=click.Choice(ROLES))
@click.option("--active/--inactive", "is_active", default=None, help="Switch it on or off.")
@_limits(liftable=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def update(settings: Settings, /, key: str, as_json: bool, **options: Any) -> None:
    """Change a key, by its id or its 12-character prefix. What is not named stays."""
    given = {name: value for name, value in options.items() if value is not None}
    with acting(settings, "keys.update", key=key, **_plain(given)) as (studio, principal):
        changes: Any = {name: None if value is LIFTED else value for name, value in given.items()}
        info = studio.keys.update(principal, key, **changes)
    _show(info, as_json=as_json)


@command.command("revoke")
@does("delete_api_key")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def revoke(settings: Settings, key: str, as_json: bool) -> None:
    """Switch a key off, by its id or its 12-character prefix."""
    with acting(settings, "keys.revoke", key=key) as (studio, principal):
        info = studio.keys.revoke(principal, prefix=key)
    if as_json:
        _show(info, as_json=True)
    else:
        from tintype_server.cli.audit import visible

        click.echo(f"revoked {info.prefix}… ({visible(info.name)})")


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Option values as they stand in the audit trail. ``role`` and ``name`` are said by the caller."""
    return {
        name: value if isinstance(value, bool | int | list) or value is None else str(value)
        for name, value in values.items()
    }


def _user_id(members: list[Any], email: str) -> str:
    from tintype_studio.errors import NotFound
    from tintype_studio.identity.people import clean_email

    wanted = clean_email(email)
    for member in members:
        if member.email == wanted:
            return str(member.user_id)
    raise NotFound(
        "No member has this e-mail address.",
        code="member_not_found",
        fix="List the members with `tintype members list`.",
    )


def _show(info: KeyInfo, *, as_json: bool) -> None:
    from tintype_server.cli.tables import print_fields
    from tintype_server.identity_json import key_json

    shown = key_json(info)
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    else:
        print_fields(shown)

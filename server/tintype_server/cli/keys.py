"""``tintype keys``: make, list and revoke API keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tintype_server.settings import Settings, parse_toolsets

if TYPE_CHECKING:
    from tintype_studio.identity.keys import KeyInfo, Principal
    from tintype_studio.studio import Studio

ROLES = ("viewer", "member", "admin", "owner")


@click.group("keys")
def command() -> None:
    """Make, list and revoke API keys. Needs a key with the role admin or owner."""


@contextmanager
def _acting(settings: Settings) -> Iterator[tuple[Studio, Principal]]:
    from tintype_server.opening import open_studio
    from tintype_studio.identity.bootstrap import saved_api_key

    studio = open_studio(settings)
    try:
        yield studio, studio.keys.authenticate(settings.api_key or saved_api_key(settings.home))
    finally:
        studio.close()


@command.command("create")
@click.option("--role", required=True, type=click.Choice(ROLES))
@click.option("--name", required=True, help="What the key is for.")
@click.option("--credit-cap", type=click.IntRange(min=0), help="Credits that the key may spend in total.")
@click.option("--toolsets", help="Comma-separated toolsets the key is limited to.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def create(
    settings: Settings, role: str, name: str, credit_cap: int | None, toolsets: str | None, as_json: bool
) -> None:
    """Make a key. It is shown once, here, and nowhere kept."""
    from tintype_studio.identity.roles import Role

    limits = list(parse_toolsets(toolsets)) if toolsets is not None else None
    with _acting(settings) as (studio, principal):
        secret, info = studio.keys.create(
            principal,
            name=name,
            role=Role(role),
            credit_cap=credit_cap,
            toolsets=limits,
        )
    if as_json:
        click.echo(json.dumps({"api_key": secret, **_shown(info)}))
    else:
        click.echo(secret)
        click.echo(f"Role {info.role}. Keep it now: it is not shown again.", err=True)


@command.command("list")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def list_keys(settings: Settings, as_json: bool) -> None:
    """List the organization's keys."""
    with _acting(settings) as (studio, principal):
        found = studio.keys.list(principal)
    if as_json:
        click.echo(json.dumps([_shown(info) for info in found], indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("prefix", "name", "role", "active", "credits used", "cap", box=None, header_style="bold")
    for info in found:
        cap = "" if info.credit_cap is None else str(info.credit_cap)
        table.add_row(
            escape(info.prefix),
            escape(info.name),
            info.role,
            "yes" if info.is_active else "no",
            str(info.credits_used),
            cap,
        )
    Console(emoji=False).print(table)


@command.command("revoke")
@click.argument("key")
@click.pass_obj
def revoke(settings: Settings, key: str) -> None:
    """Switch a key off, by its id or its 12-character prefix."""
    with _acting(settings) as (studio, principal):
        info = studio.keys.revoke(principal, prefix=key)
    click.echo(f"revoked {info.prefix}… ({info.name})")


def _shown(info: KeyInfo) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(info), default=str))  # type: ignore[no-any-return]

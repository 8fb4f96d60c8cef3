"""``tintype organization``: what the key's organization is called, and what its tier allows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from tintype_server.cli.acting import acting
from tintype_server.cli.parameters import LIFTED, Liftable
from tintype_server.cli.resource import ResourceGroup
from tintype_server.cli.tool_commands import does
from tintype_server.settings import Settings

if TYPE_CHECKING:
    from tintype_studio.identity.organizations import Organization


@click.group("organization", cls=ResourceGroup)
def command() -> None:
    """Show or rename the organization that the key belongs to."""


@command.command("show")
@does("get_organization")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def show(settings: Settings, as_json: bool) -> None:
    """Show the organization, its tier and its limits."""
    with acting(settings, "organization.read") as (studio, principal):
        organization = studio.organizations.me(principal)
    _show(organization, as_json=as_json)


@command.command("update")
@click.option("--name", help="Its name.")
@click.option("--billing-email", type=Liftable(click.STRING), help="Where bills go.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def update(settings: Settings, /, as_json: bool, **options: Any) -> None:
    """Change the name or the billing address. Needs a key with the role owner."""
    given = {name: value for name, value in options.items() if value is not None}
    recorded = {name: str(value) for name, value in given.items()}
    with acting(settings, "organization.update", **recorded) as (studio, principal):
        changes: Any = {name: None if value is LIFTED else value for name, value in given.items()}
        organization = studio.organizations.update(principal, **changes)
    _show(organization, as_json=as_json)


def _show(organization: Organization, *, as_json: bool) -> None:
    from tintype_server.cli.tables import print_fields
    from tintype_server.identity_json import organization_json

    shown = organization_json(organization)
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    else:
        print_fields(shown)

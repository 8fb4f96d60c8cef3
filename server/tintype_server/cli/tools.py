"""``tintype tools``: what there is, for people and programs."""

from __future__ import annotations

import json

import click

from tintype_tools.snapshot import as_registry_entry, load_snapshot


@click.command("tools")
@click.option("--json", "as_json", is_flag=True, help="The documented descriptors as a JSON array.")
def command(as_json: bool) -> None:
    """List the tools with their role, cost and effect."""
    tools = load_snapshot()["tools"]
    if as_json:
        click.echo(json.dumps([as_registry_entry(tool) for tool in tools], indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("tool", "category", "role", "credits", "effect", box=None, header_style="bold")
    for tool in tools:
        table.add_row(
            tool["name"], tool["category"], tool["required_role"], str(tool["credit_cost"]), tool["effect"]
        )
    Console().print(table)

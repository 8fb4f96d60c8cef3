"""``tintype config``: the snippet for an agent's host, with absolute paths, ready to paste."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from tintype_server.settings import Settings, default_home

HOSTS = {
    "claude-code": ".mcp.json in your project",
    "claude-desktop": "claude_desktop_config.json (Settings > Developer > Edit config)",
    "cursor": "~/.cursor/mcp.json",
    "vscode": ".vscode/mcp.json",
}


@click.command("config")
@click.argument("host", type=click.Choice(list(HOSTS)), default="claude-code")
@click.option("--root", multiple=True, help="Folder that tools may read and write; default: this folder.")
@click.pass_obj
def command(settings: Settings, host: str, root: tuple[str, ...]) -> None:
    """Print the MCP configuration for a HOST (default: claude-code)."""
    click.echo(f"# {HOSTS[host]}", err=True)
    click.echo(json.dumps(snippet(settings, host, [Path(r) for r in root or (".",)]), indent=2))


def snippet(settings: Settings, host: str, roots: list[Path]) -> dict[str, Any]:
    """The configuration. It names this very interpreter, because hosts do not see a virtual environment,
    and the folders, because not every host starts its servers in the project's.
    """
    arguments = ["-m", "tintype_server", "mcp"]
    for root in roots:
        arguments += ["--root", str(root.expanduser().resolve())]
    if settings.home != default_home():
        arguments += ["--home", str(settings.home.resolve())]
    server: dict[str, Any] = {"command": sys.executable, "args": arguments}
    if host in {"claude-code", "vscode"}:
        server = {"type": "stdio", **server}
    return {"servers" if host == "vscode" else "mcpServers": {"tintype": server}}

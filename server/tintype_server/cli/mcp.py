"""``tintype mcp``, when it did not come first on the command line (after ``--home``, say)."""

from __future__ import annotations

import sys

import click

from tintype_server.settings import Settings


@click.command("mcp", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def command(settings: Settings, arguments: tuple[str, ...]) -> None:
    """Serve MCP over stdio."""
    from tintype_server.mcp.stdio import main

    flags = ["--home", str(settings.home)]
    if settings.api_key:
        flags += ["--api-key", settings.api_key]
    sys.exit(main([*flags, *arguments]))

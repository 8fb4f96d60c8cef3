"""The root command: shared options, lazy subcommands, tidy errors and the exit codes 0, 1 and 2."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from tintype_server.cli.main import COMMANDS, load_command
from tintype_studio.errors import TintypeError


class LazyGroup(click.Group):
    """Finds commands in ``COMMANDS`` and imports one only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        found = load_command(cmd_name)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table as help, without importing a single command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Turn a refusal into one line on stderr and exit code 1."""
        try:
            return super().invoke(ctx)
        except TintypeError as error:
            if ctx.params.get("json_errors"):
                click.echo(json.dumps({"error": error.as_dict()}), err=True)
            else:
                click.echo(f"error: {error.message} ({error.code})\nfix: {error.fix}", err=True)
            sys.exit(1)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", help="Folder that holds all state (TINTYPE_HOME).")
@click.option("--api-key", help="Key to act with (TINTYPE_API_KEY, else the saved owner key).")
@click.option("--json-errors", is_flag=True, help="Print errors as one JSON object on stderr.")
@click.version_option(package_name="tintype")
@click.pass_context
def root(ctx: click.Context, home: str | None, api_key: str | None, json_errors: bool) -> None:
    """Typed, guarded computer-vision tools for agents, over a platform of your own."""
    from tintype_server.settings import Settings

    ctx.obj = Settings.from_env().overridden(home=home, api_key=api_key)

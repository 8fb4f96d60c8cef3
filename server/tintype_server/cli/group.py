"""The root command: shared options, lazy subcommands, tidy errors and the exit codes 0, 1, 2 and 130."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from tintype_server.cli.main import COMMANDS, load_command
from tintype_server.cli.suggesting import SuggestingGroup
from tintype_studio.errors import TintypeError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of the signal."""


class LazyGroup(SuggestingGroup):
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
        """Turn whatever goes wrong into two lines on stderr (or one JSON object) and exit code 1."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            sys.exit(INTERRUPTED)
        except Exception as error:
            from tintype_server.cli.tool_commands import in_commands

            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # click ends quietly when whoever read the output has gone
            told = _told(error)
            told.message, told.fix = in_commands(told.message), in_commands(told.fix)
            if ctx.params.get("json_errors"):
                click.echo(json.dumps({"error": told.as_dict()}), err=True)
            else:
                click.echo(f"error: {_line(told.message)} ({told.code})\nfix: {_line(told.fix)}", err=True)
            sys.exit(1)


def _told(error: Exception) -> TintypeError:
    """The refusal in an error, which a task group may have wrapped; anything else is a defect."""
    causes = list(_leaves(error))
    for cause in causes:
        if isinstance(cause, TintypeError):
            return cause
    import logging

    logging.getLogger("tintype").debug("The command failed.", exc_info=error)
    cause = causes[0]
    reason = f": {_line(str(cause))[:300]}" if str(cause) else ""
    return TintypeError(
        f"Unexpected {type(cause).__name__}{reason}",
        fix="Run it again with --debug before the command's name to see where, and report it as a defect.",
    )


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _line(text: str) -> str:
    return " ".join(text.split())


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", help="Folder that holds all state (TINTYPE_HOME).")
@click.option("--api-key", help="Key to act with (TINTYPE_API_KEY, else the saved owner key).")
@click.option("--json-errors", is_flag=True, help="Print errors as one JSON object on stderr.")
@click.option("--debug", is_flag=True, help="Log to stderr, with the traceback of an unexpected error.")
@click.version_option(None, "--version", "-V", package_name="tintype")
@click.pass_context
def root(ctx: click.Context, home: str | None, api_key: str | None, json_errors: bool, debug: bool) -> None:
    """Typed, guarded computer-vision tools for agents, over a platform of your own."""
    from tintype_server.settings import Settings

    if debug:
        import logging

        logging.basicConfig()
        logging.getLogger("tintype").setLevel(logging.DEBUG)
    ctx.obj = Settings.from_env().overridden(home=home, api_key=api_key)

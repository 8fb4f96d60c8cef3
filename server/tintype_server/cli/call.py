"""``tintype call TOOL``: every tool as a command, its options made from the tool's schema."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from tintype_server.cli.tool_commands import PROGRAM
from tintype_server.cli.tool_options import arguments_of, in_options, options_of
from tintype_server.settings import Settings
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.names import printable
from tintype_tools.snapshot import load_snapshot


class ToolCommand(click.Command):
    """A tool's command, which answers an unknown option with those that there are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; ``UsageError`` with advice for an unknown option."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.possibilities:
                raise
            names = ", ".join(param.opts[0] for param in self.params)
            raise click.UsageError(f"{error.message} There are: {names}.", ctx) from None


class ToolGroup(click.Group):
    """One command per registry entry, read from the snapshot."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Tool names."""
        return [tool["name"] for tool in load_snapshot()["tools"]]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A tool's command; an unknown name goes to the dispatcher, which knows close matches."""
        for tool in load_snapshot()["tools"]:
            if tool["name"] == cmd_name:
                return _tool_command(tool)
        unknown = _tool_command(
            {"name": cmd_name, "description": "Unknown tool.", "input_schema": {"properties": {}}}
        )
        unknown.add_help_option = False
        own = {"ignore_unknown_options": True, "allow_extra_args": True}
        unknown.context_settings = {**unknown.context_settings, **own}
        return unknown

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and titles."""
        with formatter.section("Tools"):
            formatter.write_dl([(tool["name"], tool["title"]) for tool in load_snapshot()["tools"]])


@click.group("call", cls=ToolGroup)
def command() -> None:
    """Call a tool. Results are JSON on stdout; pictures go to the file named by --picture."""


def _tool_command(tool: dict[str, Any]) -> click.Command:
    schema = tool["input_schema"]
    general: list[click.Parameter] = [
        click.Option(["--args"], metavar="JSON", help="All arguments as one JSON object ('-': from stdin)."),
        click.Option(["--idempotency-key"], help="Makes a repeated call happen once."),
        click.Option(["--max-response-tokens"], type=int, help="Response budget; 0 for none."),
        click.Option(["--dry-run"], is_flag=True, help="Tell what the call would do, and do nothing."),
        click.Option(["--yes"], is_flag=True, help="Confirm a call that deletes or spends much."),
        click.Option(["--confirm-token"], metavar="TOKEN", help="Go on with a call that was refused."),
        click.Option(["--session"], metavar="NAME", help="What undo_session takes back as one."),
        click.Option(["--picture"], type=click.Path(dir_okay=False), help="Where to save a picture."),
    ]
    # A tool's own argument goes before a general one of its name.
    general = [option for option in general if option.name not in schema["properties"]]
    options = options_of(schema, [option.name or "" for option in general]) + general

    @click.pass_obj
    def run(settings: Settings, /, **values: Any) -> None:
        _run(settings, tool["name"], schema["properties"], values)

    return ToolCommand(tool["name"], params=options, callback=run, help=tool["description"])


def _run(settings: Settings, tool: str, properties: dict[str, Any], values: dict[str, Any]) -> None:
    from tintype_server.cli.calling import CallOptions, calling
    from tintype_server.cli.progress import shown_progress
    from tintype_server.cli.tables import print_json

    arguments = arguments_of(properties, values)
    if values["picture"]:
        _require_folder(Path(values["picture"]))
    options = CallOptions(
        yes=values["yes"],
        dry_run=values["dry_run"],
        idempotency_key=values["idempotency_key"],
        confirm_token=_general("confirm_token", properties, values),
        session=_general("session", properties, values),
        max_response_tokens=values["max_response_tokens"],
    )
    with shown_progress(quiet=False) as progress, calling(settings, progress) as caller:
        try:
            outcome = caller.call(tool, arguments, options)
        except InvalidInput as error:
            error.message = in_options(error.message, properties)
            error.fix = error.fix.replace(f"{tool} takes: ", f"`{PROGRAM} call {tool}` takes: ")
            raise
        except NotFound as error:
            if close := error.code == "unknown_tool" and error.details.get("close_matches"):
                error.fix = f"Did you mean {' or '.join(f'`{PROGRAM} call {name}`' for name in close)}?"
            raise
    print_json(outcome.value)
    if outcome.replayed:
        click.echo("replayed: the stored answer of the first call with this idempotency key", err=True)
    for picture in outcome.pictures:
        if values["picture"]:
            _write(Path(values["picture"]), picture.data)
            click.echo(f"picture: {values['picture']}", err=True)
        else:
            click.echo(
                f"a picture of {picture.width} x {picture.height} pixels came with this; "
                "name a file with --picture to keep it",
                err=True,
            )


def _general(name: str, properties: dict[str, Any], values: dict[str, Any]) -> str | None:
    """A general option's value; None for a tool that has an argument of this name."""
    value: str | None = None if name in properties else values[name]
    return value


def _require_folder(picture: Path) -> None:
    """Refuse before the call is made and paid for."""
    folder = picture.parent
    if not folder.is_dir():
        raise _not_written(picture, "there is no such folder")
    if not os.access(folder, os.W_OK):
        raise _not_written(picture, "its folder is not yours to write to")


def _write(picture: Path, data: bytes) -> None:
    """In the format that the file's name says, where it says one that others read."""
    from io import BytesIO

    from PIL import Image

    wanted = Image.registered_extensions().get(picture.suffix.lower())
    try:
        with Image.open(BytesIO(data)) as image:
            if wanted in {"PNG", "WEBP", "JPEG"} and wanted != image.format:
                converted = BytesIO()
                image.save(converted, wanted)
                data = converted.getvalue()
        picture.write_bytes(data)
    except OSError as error:
        raise _not_written(picture, error.strerror or type(error).__name__) from error


def _not_written(picture: Path, problem: str) -> InvalidInput:
    return InvalidInput(
        f"The picture cannot be written to {printable(str(picture))!r}: {problem}.",
        code="picture_not_written",
        fix="Name a file in a folder that you may write to with --picture.",
    )

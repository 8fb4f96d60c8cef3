"""What the commands of a resource share: options, groups that take a key, and how answers are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tintype_server.cli.calling import CallOptions
from tintype_server.cli.suggesting import SuggestingGroup

Command = Callable[..., None]


class ResourceGroup(SuggestingGroup):
    """A group whose commands take ``--api-key``, as the one before the group's name."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, with the option."""
        if not isinstance(cmd, click.Group) and all(param.name != "api_key" for param in cmd.params):
            cmd.params.append(
                click.Option(
                    ["--api-key"],
                    expose_value=False,
                    callback=_use_key,
                    help="Key to act with, for this command.",
                )
            )
        super().add_command(cmd, name)


def _use_key(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.obj = ctx.obj.overridden(api_key=value)


def as_json_option(command: Command) -> Command:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


def change_options(command: Command) -> Command:
    """Options of a command that changes something; they come as ``options``, a ``CallOptions``."""
    return _call_options(command, yes=False)


def word_options(command: Command) -> Command:
    """The same for a command that may need a word: with ``--yes``."""
    return _call_options(command, yes=True)


def _call_options(command: Command, *, yes: bool) -> Command:
    from functools import wraps

    @wraps(command)
    def run(
        *args: Any,
        dry_run: bool,
        idempotency_key: str | None,
        session: str | None,
        yes: bool = False,
        **rest: Any,
    ) -> None:
        options = CallOptions(
            yes=yes, dry_run=dry_run, idempotency_key=idempotency_key, session=session, max_response_tokens=0
        )
        command(*args, options=options, **rest)

    added: Any = run
    added = click.option("--session", metavar="NAME", help="What undo_session takes back as one.")(added)
    added = click.option("--idempotency-key", metavar="KEY", help="Makes a repeated call happen once.")(added)
    added = click.option("--dry-run", is_flag=True, help="Tell what it would do, and do nothing.")(added)
    if yes:
        added = click.option("--yes", "-y", is_flag=True, help="Confirm it beforehand.")(added)
    wrapped: Command = added
    return wrapped


def choices(tool: str, argument: str) -> click.Choice[str]:
    """The values that a tool's argument can take."""
    from tintype_tools.snapshot import load_snapshot

    found = next(each for each in load_snapshot()["tools"] if each["name"] == tool)
    shape = found["input_schema"]["properties"][argument]
    branches = [shape, *shape.get("anyOf", [])]
    return click.Choice(next(branch["enum"] for branch in branches if "enum" in branch))


def wait_options(*, timeout: float) -> Callable[[Command], Command]:
    """``--wait/--no-wait`` and ``--timeout`` of a command that starts long work."""

    def add(command: Command) -> Command:
        command = click.option(
            "--timeout",
            type=click.FloatRange(min=0),
            default=timeout,
            show_default=True,
            help="Seconds to wait at most; the work goes on.",
        )(command)
        return click.option(
            "--wait/--no-wait", default=True, show_default=True, help="Stay until it has ended."
        )(command)

    return add

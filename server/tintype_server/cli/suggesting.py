"""Unknown commands: what was meant."""

from __future__ import annotations

import difflib

import click

SEVERAL = 3


class SuggestingGroup(click.Group):
    """A group that answers an unknown command with what may have been meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of ``args``; ``UsageError`` with advice where there is none."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.UsageError(f"{error.message} {self._advice(ctx, error.command_name)}", ctx) from None

    def _advice(self, ctx: click.Context, name: str) -> str:
        from tintype_server.cli.tool_commands import PROGRAM, command_of_tool, commands_of_verb

        names = self.list_commands(ctx)
        here = " ".join([PROGRAM, *ctx.command_path.split()[1:]])
        close = [f"{here} {found}" for found in difflib.get_close_matches(name, names, SEVERAL)]
        tool = command_of_tool(name.replace("-", "_"))
        elsewhere = commands_of_verb(name) if ctx.parent is None else []
        if meant := ([tool] if tool else elsewhere or close)[:SEVERAL]:
            return f"Did you mean {' or '.join(f'`{each}`' for each in meant)}?"
        return f"There are: {', '.join(names)}."

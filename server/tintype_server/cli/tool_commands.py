"""Which command does what a tool does, as the commands themselves say.

Errors speak of tools, and are read at a terminal, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

PROGRAM = "tintype"


def does(tool: str) -> Callable[[Function], Function]:
    """Mark the function of a command that does what ``tool`` does."""

    def mark(function: Function) -> Function:
        function.__dict__["tool"] = tool
        return function

    return mark


@lru_cache(maxsize=1)
def marked_commands() -> dict[str, str]:
    """Tools and the commands that say that they do the same, such as ``tintype datasets get NAME``."""
    return {
        tool: _written(path, command)
        for path, command in _commands()
        if (tool := getattr(command.callback, "tool", None))
    }


def command_of_tool(tool: str) -> str | None:
    """The command for a tool: its own, or else ``tintype call TOOL``; None for what is no tool."""
    from tintype_tools.snapshot import load_snapshot

    if not any(each["name"] == tool for each in load_snapshot()["tools"]):
        return None
    return marked_commands().get(tool, f"{PROGRAM} call {tool}")


def commands_of_verb(verb: str) -> list[str]:
    """Commands of any group that are called ``verb``."""
    return [path for path, _ in _commands() if path.rpartition(" ")[2] == verb and path.count(" ") > 1]


def in_commands(text: str) -> str:
    """A sentence that names tools, with the commands in their place."""
    from tintype_tools.snapshot import load_snapshot

    names = "|".join(sorted((tool["name"] for tool in load_snapshot()["tools"]), key=len, reverse=True))
    return re.sub(rf"(?:\b([Cc])all )?(?<![\w`'\"/.-])({names})(?![\w`'\"/-])", _in_its_place, text)


def _in_its_place(found: re.Match[str]) -> str:
    run = {"C": "Run ", "c": "run "}.get(found[1] or "", "")
    return f"{run}`{command_of_tool(found[2])}`"


def _commands() -> Iterator[tuple[str, click.Command]]:
    """Every command of every group, with its path."""
    from tintype_server.cli.main import COMMANDS, load_command

    for name in COMMANDS:
        if name == "call":  # its commands are the tools
            continue
        group = load_command(name)
        if isinstance(group, click.Group):
            for verb, command in group.commands.items():
                yield f"{PROGRAM} {name} {verb}", command


def _written(path: str, command: click.Command) -> str:
    words = [each.human_readable_name for each in command.params if isinstance(each, click.Argument)]
    return " ".join([path, *words])

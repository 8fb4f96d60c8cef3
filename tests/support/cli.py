"""The command line as tests use it: in process, with answers parsed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result

from tintype_server.cli.group import root
from tintype_server.settings import Settings


@dataclass(frozen=True, slots=True)
class Cli:
    """Commands in the workspace of ``home``."""

    home: Path

    def run(self, *arguments: str, text: str | None = None) -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(root, ["--home", str(self.home), *arguments], input=text)

    def ok(self, *arguments: str, text: str | None = None) -> str:
        """What a command that works prints."""
        result = self.run(*arguments, text=text)
        assert result.exit_code == 0, (result.stdout, result.stderr, result.exception)
        return result.stdout

    def json(self, *arguments: str) -> Any:
        """What a command that works prints with ``--json``."""
        return json.loads(self.ok(*arguments, "--json"))

    def refused(self, code: str, *arguments: str) -> list[str]:
        """Run a command that ends with exit code 1 and two tidy lines, and give them."""
        result = self.run(*arguments)
        assert (result.exit_code, result.stdout) == (1, ""), (result.stdout, result.stderr)
        lines = result.stderr.splitlines()
        assert lines[-2].startswith("error: "), lines
        assert lines[-2].endswith(f"({code})"), lines
        assert lines[-1].startswith("fix: "), lines
        return lines

    def process(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "tintype_server", "--home", str(self.home), *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            check=False,
        )


def context() -> click.Context:
    return click.Context(root, info_name="tintype", obj=Settings(home=Path("/nowhere")))


def leaf(words: list[str], ctx: click.Context) -> tuple[click.Command, list[str], click.Context]:
    """The command that some words name, and the words left for it."""
    command: click.Command = root
    while isinstance(command, click.Group) and not (words and words[0].startswith("-")):
        found = command.get_command(ctx, words[0])
        assert found is not None, words
        command, ctx, words = found, click.Context(found, parent=ctx, info_name=words[0]), words[1:]
    return command, words, ctx.parent or ctx


def parse(line: str) -> None:
    """Parse a line as the command would, without running it."""
    ctx = context()
    command, words, parent = leaf(shlex.split(line, comments=True), ctx)
    with suppress(click.exceptions.Exit):  # help, or the version
        command.make_context(command.name, words, parent=parent)

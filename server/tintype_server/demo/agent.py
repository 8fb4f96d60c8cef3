"""The demo's agent: an MCP client that shows each call and answer in a line or two."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tintype_studio.errors import TintypeError
from tintype_tools.snapshot import NAMESPACE

SHOWN = 400
"""Characters of an answer that are printed at most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A tool's answer as the agent gets it."""

    value: dict[str, Any]
    is_error: bool
    replayed: bool
    credits: int
    pictures: list[bytes]

    def need(self) -> dict[str, Any]:
        """The value; a refusal ends the demo as it would end the agent's work."""
        if self.is_error:
            error = self.value["error"]
            raise TintypeError(error["message"], code=error["code"], fix=error["fix"])
        return self.value


class Agent:
    """One connection."""

    def __init__(self, client: Client, console: Console) -> None:
        self.client = client
        self._console = console

    async def need(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool without showing it; a refusal ends the demo."""
        return (await self.call(tool, arguments, quiet=True)).need()

    async def call(
        self, tool: str, arguments: dict[str, Any], *, key: str | None = None, quiet: bool = False
    ) -> Answer:
        """Call a tool; refusals are answers, too."""
        meta: Any = {f"{NAMESPACE}/idempotencyKey": key} if key else None
        result = await self.client.call_tool(tool, arguments, meta=meta)
        answer = _answer(result)
        if not quiet:
            self._show(tool, arguments, answer, key)
        return answer

    async def call_with_bar(self, tool: str, arguments: dict[str, Any]) -> Answer:
        """Call a tool and show its progress as a bar."""
        columns = TextColumn("    {task.description}", markup=False), BarColumn(30), MofNCompleteColumn()
        with Progress(*columns, console=self._console) as bars:
            bar = bars.add_task("starting", total=None)

            async def on_progress(progress: float, total: float | None, message: str | None) -> None:
                bars.update(bar, completed=progress, total=total, description=message or "")

            result = await self.client.call_tool(tool, arguments, progress_callback=on_progress)
        answer = _answer(result)
        self._show(tool, arguments, answer, None)
        return answer

    def _show(self, tool: str, arguments: dict[str, Any], answer: Answer, key: str | None) -> None:
        given = ", ".join(f"{k}={_short(v, 60)}" for k, v in arguments.items())
        suffix = f"  [dim]idempotency key {escape(key)}[/]" if key else ""
        self.line(f"[bold cyan]→[/] {tool}({escape(given)}){suffix}")
        if answer.is_error:
            error = answer.value["error"]
            self.line(f"[bold red]✗[/] {escape(error['code'])}: {escape(error['message'])}")
            self.line(f"  [dim]fix: {escape(error['fix'])}[/]")
            return
        marks = "[yellow](replayed)[/] " if answer.replayed else ""
        marks += f"[yellow]({answer.credits} credit)[/] " if answer.credits else ""
        marks += "[magenta](+ picture)[/] " if answer.pictures else ""
        self.line(f"[bold green]←[/] {marks}{escape(_short(answer.value, SHOWN))}")

    def line(self, text: str) -> None:
        """One line of markup, cut at the terminal's edge; escape what the demo did not write itself."""
        self._console.print(f"  {text}", highlight=False, no_wrap=True, overflow="ellipsis")


def _answer(result: Any) -> Answer:
    texts = [block.text for block in result.content if block.type == "text"]
    meta = result.meta or {}
    return Answer(
        value=json.loads(texts[0]),
        is_error=bool(result.is_error),
        replayed=bool(meta.get(f"{NAMESPACE}/replayed")),
        credits=int(meta.get(f"{NAMESPACE}/credits", 0)),
        pictures=[base64.b64decode(block.data) for block in result.content if block.type == "image"],
    )


def _short(value: Any, limit: int) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


@asynccontextmanager
async def connect(
    console: Console, home: Path, *, folder: Path, working_folder: Path, flags: tuple[str, ...] = ()
) -> AsyncIterator[Agent]:
    """Start the server as a child over stdio and connect to it, as an agent's host would."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "tintype_server", "mcp", "--home", str(home), "--root", str(folder), *flags],
        cwd=str(working_folder),
    )
    async with Client(server) as client:
        yield Agent(client, console)

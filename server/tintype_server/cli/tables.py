"""Tables for people, JSON for programs: nothing that a stranger wrote is obeyed by the terminal."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tintype_server.cli.audit import WIDTH_OF_A_FILE, visible


def print_json(value: Any) -> None:
    """Print JSON, with its control and direction characters escaped."""
    import click

    click.echo(
        "".join(
            json.dumps(char)[1:-1] if char != "\n" and unicodedata.category(char) in {"Cc", "Cf"} else char
            for char in json.dumps(value, ensure_ascii=False, indent=2)
        )
    )


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under titles; None is an empty cell. A column ``id`` stays whole, to be copied."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(*(Column(title, no_wrap=title == "id") for title in titles), box=None, header_style="bold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    told = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(emoji=False, highlight=False, width=None if told else WIDTH_OF_A_FILE).print(table)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print one thing, a line for each field that has a value."""
    import click

    width = max(map(len, fields))
    for name, value in fields.items():
        if value is not None:
            click.echo(f"{name:<{width}}  {_cell(value)}")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    return visible(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))

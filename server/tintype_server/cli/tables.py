"""Tables for people: nothing that a stranger wrote is obeyed by the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tintype_server.cli.audit import visible


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under titles; None is an empty cell."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    Console(emoji=False, highlight=False).print(table)


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
    return visible(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))

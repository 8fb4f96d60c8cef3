"""``tintype registry``: write registry.json, or check it for drift."""

from __future__ import annotations

import difflib
import sys

import click

from tintype_tools.snapshot import snapshot_path


@click.group("registry")
def command() -> None:
    """Write or check registry.json, the committed snapshot of all tools."""


@command.command("export")
def export() -> None:
    """Write registry.json from the tools' code."""
    text = _current()
    snapshot_path().write_text(text)
    click.echo(f"wrote {snapshot_path().name}: {len(text):,} characters")


@command.command("check")
def check() -> None:
    """Fail when registry.json differs from the tools' code."""
    committed, current = snapshot_path().read_text(), _current()
    if committed == current:
        click.echo("registry.json is up to date")
        return
    lines = difflib.unified_diff(
        committed.splitlines(), current.splitlines(), "registry.json", "the tools' code", lineterm="", n=1
    )
    click.echo("\n".join(list(lines)[:60]), err=True)
    click.echo("registry.json is out of date; run `tintype registry export`.", err=True)
    sys.exit(1)


def _current() -> str:
    from tintype_tools.export import snapshot_text
    from tintype_tools.registry import load_registry

    return snapshot_text(load_registry())

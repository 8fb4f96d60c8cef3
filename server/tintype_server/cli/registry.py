"""``tintype registry``: write registry.json and the tool reference, or check them for drift."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path

import click

from tintype_tools.snapshot import snapshot_path


@click.group("registry")
def command() -> None:
    """Write or check registry.json, the committed snapshot of all tools, and docs/tools.md."""


@command.command("export")
def export() -> None:
    """Write them from the tools' code."""
    for path, text in _current().items():
        path.write_text(text)
        click.echo(f"wrote {path.name}: {len(text):,} characters")


@command.command("check")
def check() -> None:
    """Fail when they differ from the tools' code."""
    stale = {path: text for path, text in _current().items() if path.read_text() != text}
    for path, text in stale.items():
        lines = difflib.unified_diff(
            path.read_text().splitlines(), text.splitlines(), path.name, "the tools' code", lineterm="", n=1
        )
        click.echo("\n".join(list(lines)[:60]), err=True)
    if stale:
        click.echo("Out of date; run `tintype registry export`.", err=True)
        sys.exit(1)
    click.echo("registry.json is up to date")


def _current() -> dict[Path, str]:
    """What the files should say; the reference page exists only in a checkout."""
    from tintype_tools.export import snapshot_text
    from tintype_tools.reference import reference_page
    from tintype_tools.registry import load_registry

    text = snapshot_text(load_registry())
    files = {snapshot_path(): text}
    docs = snapshot_path().parent / "docs"
    if docs.is_dir():
        files[docs / "tools.md"] = reference_page(json.loads(text))
    return files

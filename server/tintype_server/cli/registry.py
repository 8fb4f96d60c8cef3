"""``tintype registry``: write registry.json and the pages made from it, or check them for drift."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path

import click

from tintype_tools.snapshot import snapshot_path


@click.group("registry")
def command() -> None:
    """Write or check registry.json, the committed snapshot of all tools, and the pages made from it."""


@command.command("export")
def export() -> None:
    """Write them from the tools' code."""
    files = _current()
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    # All are written before a reader that hangs up can end this.
    for path, text in files.items():
        click.echo(f"wrote {_name(path)}: {len(text):,} characters")


@command.command("check")
def check() -> None:
    """Fail when they differ from the tools' code."""
    stale = {path: text for path, text in _current().items() if not _says(path, text)}
    for path, text in stale.items():
        written = path.read_text() if path.exists() else ""
        lines = difflib.unified_diff(
            written.splitlines(), text.splitlines(), _name(path), "the tools' code", lineterm="", n=1
        )
        click.echo("\n".join(list(lines)[:60]), err=True)
    if stale:
        click.echo("Out of date; run `tintype registry export`.", err=True)
        sys.exit(1)
    click.echo("registry.json is up to date")


def _name(path: Path) -> str:
    return str(path.relative_to(snapshot_path().parent))


def _says(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def _current() -> dict[Path, str]:
    """What the files should say; the pages exist only in a checkout."""
    from tintype_server.cli.skill import NAME
    from tintype_server.cli.skill_page import tools_page
    from tintype_tools.export import snapshot_text
    from tintype_tools.reference import reference_page
    from tintype_tools.registry import load_registry

    text = snapshot_text(load_registry())
    files = {snapshot_path(): text}
    top = snapshot_path().parent
    if (top / "docs").is_dir():
        files[top / "docs" / "tools.md"] = reference_page(json.loads(text))
        skill = top / "skills" / NAME
        files[skill / "references" / "tools.md"] = tools_page(json.loads(text))
        # A plug-in may not link to what lies outside its folder, so it has a copy.
        for page in sorted({*skill.rglob("*.md"), *skill.rglob("*.py")}):
            copy = top / "plugins" / "tintype" / "skills" / NAME / page.relative_to(skill)
            files[copy] = files.get(page) or page.read_text()
    return files

"""``tintype init``: an AGENTS.md for a project whose agents use Tintype."""

from __future__ import annotations

from pathlib import Path

import click

from tintype_server.cli.resource import as_json_option
from tintype_server.settings import Settings

TEMPLATE = Path(__file__).with_name("project_agents.md")


@click.command("init")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("AGENTS.md"),
    show_default=True,
    help="File to write.",
)
@click.option("--force", "-f", is_flag=True, help="Replace a file that is there.")
@as_json_option
@click.pass_obj
def command(settings: Settings, output: Path, force: bool, as_json: bool) -> None:
    """Write an AGENTS.md that tells agents of a project how to work with Tintype."""
    from tintype_server.cli.files import make_folder, save_file
    from tintype_server.cli.showing import finish
    from tintype_server.runtime import everything
    from tintype_studio.errors import Conflict

    target = output / "AGENTS.md" if output.is_dir() else output
    if (target.exists() or target.is_symlink()) and not force:
        raise Conflict(
            f"There is a file {str(target)!r} already.",
            code="file_exists",
            fix="Look whether it can go, then run the command with --force, or name another file with -o.",
        )
    make_folder(target.parent)
    save_file(everything(settings), target, [TEMPLATE.read_bytes()], None, overwrite=force)
    finish(None, {"written": str(target)}, as_json=as_json)

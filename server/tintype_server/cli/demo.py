"""``tintype demo``: the main job, end to end."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("demo")
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out", default="tintype-demo", show_default=True, type=click.Path(path_type=Path), help="For results."
)
def command(folder: Path | None, out: Path) -> None:
    """Label and export a FOLDER of pictures through an agent's client, and show the guards at work.

    Without FOLDER it uses photographs that come with the package. Your own workspace is not touched.
    """
    import anyio

    from tintype_server.demo.story import tell

    sys.exit(anyio.run(tell, folder, out))

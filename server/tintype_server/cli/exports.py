"""``tintype exports``: make, list, look at, download and delete exports."""

from __future__ import annotations

from pathlib import Path

import click

from tintype_server.cli.calling import CallOptions, calling
from tintype_server.cli.progress import shown_progress
from tintype_server.cli.resource import (
    ResourceGroup,
    as_json_option,
    change_options,
    choices,
    wait_options,
    word_options,
)
from tintype_server.cli.showing import finish, show
from tintype_server.cli.tool_commands import does
from tintype_server.cli.waiting import call_and_wait
from tintype_server.settings import Settings
from tintype_studio.units import size_in_words


@click.group("exports", cls=ResourceGroup)
def command() -> None:
    """Make, list, look at, download and delete exports."""


@command.command("list")
@does("list_exports")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Exports to leave out, newest first.")
@click.option("--dataset", help="Only exports of this dataset.")
@click.option("--status", type=choices("list_exports", "status"), help="Only exports of this status.")
@as_json_option
@click.pass_obj
def list_exports(
    settings: Settings, limit: int, offset: int, dataset: str | None, status: str | None, as_json: bool
) -> None:
    """List the exports, newest first. With --json: an array."""
    from tintype_server.cli.tables import print_json, print_table

    asked = {"limit": limit, "offset": offset, "dataset_name": dataset, "status": status}
    with calling(settings) as caller:
        found = caller.read("list_exports", asked)["exports"]
    if as_json:
        print_json(found)
        return
    names = ("dataset_name", "name", "format", "status", "image_count", "annotation_count")
    print_table(
        ("dataset", "name", "format", "status", "images", "annotations", "size"),
        [(*(export.get(name) for name in names), _size(export.get("file_size"))) for export in found],
    )


@command.command("get")
@does("get_export")
@click.argument("dataset")
@click.argument("name")
@as_json_option
@click.pass_obj
def get(settings: Settings, dataset: str, name: str, as_json: bool) -> None:
    """Look at the export NAME of a DATASET."""
    from tintype_server.cli.tables import print_json

    with calling(settings) as caller:
        found = caller.read("get_export", {"dataset_name": dataset, "export_name": name})
    if as_json:
        print_json(found)
    else:
        show(found)


@command.command("create")
@does("create_export")
@click.argument("dataset")
@click.argument("name")
@click.option("--format", "file_format", type=choices("create_export", "format"), default="pictograph")
@click.option("--images/--no-images", default=True, show_default=True, help="Put the pictures in.")
@click.option(
    "--status", type=choices("create_export", "status_filter"), default="complete", show_default=True
)
@click.option("--class", "classes", multiple=True, help="Only annotations of this class; may be repeated.")
@wait_options(timeout=600)
@change_options
@as_json_option
@click.pass_obj
def create(
    settings: Settings,
    dataset: str,
    name: str,
    file_format: str,
    images: bool,
    status: str,
    classes: tuple[str, ...],
    wait: bool,
    timeout: float,
    options: CallOptions,
    as_json: bool,
) -> None:
    """Make the export NAME of a DATASET."""
    arguments = {
        "dataset_name": dataset,
        "name": name,
        "format": file_format,
        "include_images": images,
        "status_filter": status,
        "class_filter": list(classes) or None,
    }
    with shown_progress(quiet=as_json) as progress, calling(settings, progress) as caller:
        outcome = call_and_wait(caller, "create_export", arguments, options, dict, wait=wait, timeout=timeout)
    value = outcome.value
    error = None
    if value.get("status") == "failed":
        reason = value.get("error_message") or "The export failed."
        error = {"message": reason, "code": "export_failed", "fix": "Make it anew under another name."}
    finish(outcome, as_json=as_json, job={"status": value.get("status"), "error": error})


@command.command("download")
@does("download_export")
@click.argument("dataset")
@click.argument("name")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="ZIP file to write.")
@as_json_option
@click.pass_obj
def download(settings: Settings, dataset: str, name: str, output: Path, as_json: bool) -> None:
    """Save the export NAME of a DATASET as a ZIP file. Nothing that exists is overwritten."""
    from tintype_server.cli.files import make_folder

    which = {"dataset_name": dataset, "export_name": name}
    with shown_progress(quiet=as_json) as progress, calling(settings, progress) as caller:
        caller.read("get_export", which)
        make_folder(output.parent)
        written = caller.call("download_export", which | {"output_path": str(output)}).value
    finish(None, written, as_json=as_json)


@command.command("delete")
@does("delete_export")
@click.argument("dataset")
@click.argument("name")
@word_options
@as_json_option
@click.pass_obj
def delete(settings: Settings, dataset: str, name: str, options: CallOptions, as_json: bool) -> None:
    """Delete the export NAME of a DATASET. It cannot be undone, but made anew."""
    with calling(settings) as caller:
        outcome = caller.call("delete_export", {"dataset_name": dataset, "export_name": name}, options)
    finish(outcome, as_json=as_json)


def _size(size: int | None) -> str | None:
    return None if size is None else size_in_words(size)

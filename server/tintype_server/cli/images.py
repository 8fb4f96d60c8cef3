"""``tintype images``: upload, download and delete single images."""

from __future__ import annotations

from pathlib import Path

import click

from tintype_server.cli.calling import CallOptions, calling
from tintype_server.cli.progress import shown_progress
from tintype_server.cli.resource import ResourceGroup, as_json_option, change_options, choices, word_options
from tintype_server.cli.showing import finish, say_undo
from tintype_server.cli.tool_commands import does
from tintype_server.settings import Settings


@click.group("images", cls=ResourceGroup)
def command() -> None:
    """List, upload, download and delete images."""


@command.command("list")
@does("list_dataset_files")
@click.argument("dataset")
@click.option("--status", type=choices("list_dataset_files", "status"), default="all", show_default=True)
@click.option("--limit", "-n", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Images to leave out, in upload order.")
@as_json_option
@click.pass_obj
def list_images(
    settings: Settings, dataset: str, status: str, limit: int, offset: int, as_json: bool
) -> None:
    """List the images of a DATASET, in upload order. With --json: an array."""
    from tintype_server.cli.datasets import IMAGE_COLUMNS, image_row
    from tintype_server.cli.tables import print_json, print_table

    asked = {"dataset_name": dataset, "status": status, "limit": limit, "offset": offset}
    with calling(settings) as caller:
        found = caller.read("list_dataset_files", asked)["images"]
    if as_json:
        print_json(found)
    else:
        print_table(IMAGE_COLUMNS, [image_row(image) for image in found])


@command.command("upload")
@does("upload_image")
@click.argument("dataset")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--folder", "-f", default="/", show_default=True, help="Virtual folder, such as /cars.")
@change_options
@as_json_option
@click.pass_obj
def upload(
    settings: Settings, dataset: str, file: Path, folder: str, options: CallOptions, as_json: bool
) -> None:
    """Upload the picture FILE into a DATASET."""
    arguments = {"dataset_name": dataset, "file_path": str(file), "folder_path": folder}
    with shown_progress(quiet=as_json) as progress, calling(settings, progress) as caller:
        outcome = caller.call("upload_image", arguments, options)
    finish(outcome, as_json=as_json)


@command.command("download")
@click.argument("image_id")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option("--overwrite", is_flag=True, help="Replace another file that is there.")
@as_json_option
@click.pass_obj
def download(settings: Settings, image_id: str, output: Path, overwrite: bool, as_json: bool) -> None:
    """Save the picture of an image as it was uploaded (HEIC: as PNG)."""
    from tintype_server.cli.files import make_folder, save_file

    with calling(settings) as caller:
        caller.read("get_image", {"image_uuid": image_id})
        sample = caller.studio.samples.get(caller.principal(), image_id)
        make_folder(output.parent)
        chunks = caller.studio.blobs.stream(sample.sha256)
        save_file(caller.files, output, chunks, sample.sha256, overwrite=overwrite)
    told = {"image_id": image_id, "output_path": str(output), "size_bytes": sample.file_size}
    finish(None, told, as_json=as_json)


@command.command("delete")
@does("delete_image")
@click.argument("image_id")
@click.option("--permanent", is_flag=True, help="For good, not into the recycle bin.")
@word_options
@as_json_option
@click.pass_obj
def delete(settings: Settings, image_id: str, permanent: bool, options: CallOptions, as_json: bool) -> None:
    """Delete an image and its annotations. It can be undone, unless --permanent."""
    with calling(settings) as caller:
        arguments = {"image_uuid": image_id, "permanent": permanent}
        outcome = caller.call("delete_image", arguments, options)
    finish(outcome, as_json=as_json)
    if not permanent:
        say_undo(outcome)

"""``tintype datasets``: list, look at, make, fill, download and delete datasets."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Any

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
from tintype_server.cli.showing import finish, say_undo, show
from tintype_server.cli.tool_commands import does
from tintype_server.cli.waiting import call_and_wait
from tintype_server.settings import Settings
from tintype_studio.units import size_in_words

COLUMNS = ("name", "id", "images", "completed", "annotations", "size")
IMAGE_COLUMNS = ("id", "folder", "filename", "status", "width", "height", "annotations")


@click.group("datasets", cls=ResourceGroup)
def command() -> None:
    """List, look at, make, fill, download and delete datasets."""


@command.command("list")
@does("list_datasets")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Datasets to leave out, newest first.")
@as_json_option
@click.pass_obj
def list_datasets(settings: Settings, limit: int, offset: int, as_json: bool) -> None:
    """List the datasets, newest first. With --json: an array."""
    from tintype_server.cli.tables import print_json, print_table

    with calling(settings) as caller:
        found = caller.read("list_datasets", {"limit": limit, "offset": offset})["datasets"]
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, [_row(dataset) for dataset in found])


@command.command("get")
@does("get_dataset")
@click.argument("name")
@click.option("--include-images", "-I", is_flag=True, help="List its images, too.")
@click.option("--images-limit", type=click.IntRange(min=1), default=100, show_default=True)
@as_json_option
@click.pass_obj
def get(settings: Settings, name: str, include_images: bool, images_limit: int, as_json: bool) -> None:
    """Look at the dataset NAME."""
    from tintype_server.cli.tables import print_json, print_table

    asked = {"name": name, "include_images": include_images, "images_limit": images_limit}
    with calling(settings) as caller:
        dataset = caller.read("get_dataset", asked)
    if as_json:
        print_json(dataset)
        return
    images = dataset.pop("images", None)
    show(dataset | {"classes": [each["name"] for each in dataset.get("classes", [])]})
    if images is not None:
        click.echo()
        print_table(IMAGE_COLUMNS, [image_row(image) for image in images])


@command.command("create")
@does("create_dataset")
@click.argument("name")
@click.option("--description", "-d", help="What it is for.")
@change_options
@as_json_option
@click.pass_obj
def create(
    settings: Settings, name: str, description: str | None, options: CallOptions, as_json: bool
) -> None:
    """Make an empty dataset NAME."""
    with calling(settings) as caller:
        outcome = caller.call("create_dataset", {"name": name, "description": description}, options)
    finish(outcome, as_json=as_json)


@command.command("delete")
@does("delete_dataset")
@click.argument("name")
@word_options
@as_json_option
@click.pass_obj
def delete(settings: Settings, name: str, options: CallOptions, as_json: bool) -> None:
    """Delete the dataset NAME, with its images, annotations and exports. It can be undone."""
    with calling(settings) as caller:
        outcome = caller.call("delete_dataset", {"name": name}, options)
    finish(outcome, as_json=as_json)
    say_undo(outcome)


@command.command("upload")
@does("upload_dataset_from_folder")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--workers", "-w", type=click.IntRange(1, 32), default=8, show_default=True)
@click.option(
    "--by-class/--flat",
    default=True,
    show_default=True,
    help="First-level subfolders become virtual folders.",
)
@change_options
@as_json_option
@click.pass_obj
def upload(
    settings: Settings,
    name: str,
    folder: Path,
    workers: int,
    by_class: bool,
    options: CallOptions,
    as_json: bool,
) -> None:
    """Upload the pictures of a FOLDER into the dataset NAME, which is made if need be; again: it goes on."""
    arguments = {
        "dataset_name": name,
        "folder": str(folder),
        "max_workers": workers,
        "organize_by_class": by_class,
    }
    with shown_progress(quiet=as_json) as progress, calling(settings, progress) as caller:
        outcome = caller.call("upload_dataset_from_folder", arguments, options)
    finish(outcome, as_json=as_json, failed=outcome.value.get("failures"))


@command.command("import")
@does("import_dataset")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "file_format", type=choices("import_dataset", "format"), default="auto")
@wait_options(timeout=7200)
@change_options
@as_json_option
@click.pass_obj
def import_files(
    settings: Settings,
    name: str,
    path: Path,
    file_format: str,
    wait: bool,
    timeout: float,
    options: CallOptions,
    as_json: bool,
) -> None:
    """Import PATH, a folder or ZIP of annotated images (COCO, YOLO, CVAT …), into the dataset NAME."""
    arguments = {"dataset_name": name, "path": str(path), "format": file_format}
    with shown_progress(quiet=as_json) as progress, calling(settings, progress) as caller:
        outcome = call_and_wait(
            caller, "import_dataset", arguments, options, itemgetter("job"), wait=wait, timeout=timeout
        )
    finish(outcome, as_json=as_json, failed=outcome.value.get("failures"), job=outcome.value.get("job"))


@command.command("download")
@click.argument("name")
@click.option("--output", "-o", type=click.Path(path_type=Path, file_okay=False), default=Path("./dataset"))
@click.option(
    "--mode",
    type=click.Choice(["full", "images_only", "annotations_only"]),
    default="full",
    show_default=True,
)
@click.option("--status", type=choices("list_dataset_files", "status"), default="all", show_default=True)
@click.option("--workers", "-w", type=click.IntRange(1, 64), default=10, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace files that are there and differ.")
@as_json_option
@click.pass_obj
def download(
    settings: Settings,
    name: str,
    output: Path,
    mode: str,
    status: str,
    workers: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Download the images of the dataset NAME, and beside each its annotations as FILENAME.json."""
    from tintype_server.cli.downloading import Download

    with shown_progress(quiet=as_json) as progress, calling(settings) as caller:
        work = Download(caller, output, mode=mode, overwrite=overwrite, workers=workers)
        report = work.run(name, status, progress)
    told: dict[str, Any] = {
        "dataset_id": report.dataset_id,
        "images_downloaded": report.images,
        "annotations_downloaded": report.annotations,
        "failures": len(report.failures),
        "output_dir": str(output),
    }
    finish(None, told, as_json=as_json, failed=report.failures)


def image_row(image: dict[str, Any]) -> tuple[object, ...]:
    """An image as a row of ``IMAGE_COLUMNS``."""
    names = ("id", "folder", "filename", "status", "width", "height", "annotation_count")
    return tuple(image[name] for name in names)


def _row(dataset: dict[str, Any]) -> tuple[object, ...]:
    names = ("name", "id", "image_count", "completed_image_count", "annotation_count")
    return (*(dataset[name] for name in names), size_in_words(dataset["total_size"]))

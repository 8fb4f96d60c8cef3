"""``tintype models``: list, look at and download trained models."""

from __future__ import annotations

from pathlib import Path

import click

from tintype_server.cli.calling import CallOptions, calling
from tintype_server.cli.progress import shown_progress
from tintype_server.cli.resource import ResourceGroup, as_json_option, choices, word_options
from tintype_server.cli.showing import finish, say_undo, show
from tintype_server.cli.tool_commands import does
from tintype_server.settings import Settings


@click.group("models", cls=ResourceGroup)
def command() -> None:
    """List, look at, download and delete trained models."""


@command.command("list")
@does("list_models")
@click.option("--limit", "-n", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Models to leave out, newest first.")
@click.option("--status", type=choices("list_models", "status"), help="Only models of this status.")
@click.option("--dataset", help="Only models of this dataset.")
@as_json_option
@click.pass_obj
def list_models(
    settings: Settings, limit: int, offset: int, status: str | None, dataset: str | None, as_json: bool
) -> None:
    """List the models, newest first. With --json: an array."""
    from tintype_server.cli.tables import print_json, print_table

    asked = {"limit": limit, "offset": offset, "status": status, "dataset_name": dataset}
    with calling(settings) as caller:
        found = caller.read("list_models", asked)["models"]
    if as_json:
        print_json(found)
        return
    names = ("name", "id", "model_type", "architecture", "status", "version")
    print_table(
        ("name", "id", "type", "architecture", "status", "version"),
        [tuple(model.get(name) for name in names) for model in found],
    )


@command.command("get")
@does("get_model")
@click.argument("model_id")
@as_json_option
@click.pass_obj
def get(settings: Settings, model_id: str, as_json: bool) -> None:
    """Look at a model: on what and how it was trained, and how well it finds each class."""
    from tintype_server.cli.tables import print_json

    with calling(settings) as caller:
        found = caller.read("get_model", {"model_id": model_id})
    if as_json:
        print_json(found)
    else:
        show(found)


@command.command("download")
@does("download_model")
@click.argument("model_id")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option("--format", "file_format", type=choices("download_model", "format"), default="onnx")
@as_json_option
@click.pass_obj
def download(settings: Settings, model_id: str, output: Path, file_format: str, as_json: bool) -> None:
    """Save a model's file: ONNX, or the PyTorch checkpoint. Nothing that exists is overwritten."""
    from tintype_server.cli.files import make_folder

    arguments = {"model_id": model_id, "output_path": str(output), "format": file_format}
    with shown_progress(quiet=as_json) as progress, calling(settings, progress) as caller:
        caller.read("get_model", {"model_id": model_id})
        make_folder(output.parent)
        written = caller.call("download_model", arguments).value
    told = {
        "model_id": model_id,
        "output_path": written["output_path"],
        "size_bytes": written["file_size"],
        "format": written["format"],
        "sha256": written["sha256"],
    }
    finish(None, told, as_json=as_json)


@command.command("delete")
@does("delete_model")
@click.argument("model_id")
@word_options
@as_json_option
@click.pass_obj
def delete(settings: Settings, model_id: str, options: CallOptions, as_json: bool) -> None:
    """Archive a model: it is used no more. It can be undone."""
    with calling(settings) as caller:
        outcome = caller.call("delete_model", {"model_id": model_id}, options)
    finish(outcome, as_json=as_json)
    say_undo(outcome)

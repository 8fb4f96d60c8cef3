"""``tintype annotations``: read, save and delete the annotations of an image."""

from __future__ import annotations

from typing import Any

import click

from tintype_server.cli.calling import CallOptions, calling
from tintype_server.cli.resource import ResourceGroup, as_json_option, change_options, word_options
from tintype_server.cli.showing import finish, say_undo
from tintype_server.cli.tool_commands import does
from tintype_server.settings import Settings


@click.group("annotations", cls=ResourceGroup)
def command() -> None:
    """Read, save and delete the annotations of an image."""


@command.command("get")
@does("get_annotations")
@click.argument("image_id")
@as_json_option
@click.pass_obj
def get(settings: Settings, image_id: str, as_json: bool) -> None:
    """Read the annotations of an image. With --json: the array that `annotations save` takes."""
    from tintype_server.cli.tables import print_json, print_table

    with calling(settings) as caller:
        found = caller.read("get_annotations", {"image_uuid": image_id})["annotations"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "name", "type", "box (x, y, w, h)", "confidence", "made by"), [_row(each) for each in found]
    )


@command.command("save")
@does("save_annotations")
@click.argument("image_id")
@click.option("--file", "-f", required=True, help="JSON file with an array of annotations ('-': stdin).")
@change_options
@as_json_option
@click.pass_obj
def save(settings: Settings, image_id: str, file: str, options: CallOptions, as_json: bool) -> None:
    r"""Replace all annotations of an image by those of a file, a JSON array.

    Coordinates are pixels of the upright picture. `annotations get IMAGE_ID --json` prints such an array.

    \b
    [{"id": "1", "name": "stop", "bounding_box": {"x": 12, "y": 8, "w": 90, "h": 90}},
     {"id": "2", "name": "pole", "polygon": {"paths": [[{"x": 50, "y": 99},
       {"x": 58, "y": 99}, {"x": 54, "y": 240}]]}},
     {"id": "3", "name": "lamp", "keypoint": {"x": 54, "y": 30}}]

    \b
    tintype annotations save IMAGE_ID --file ./anns.json
    """
    from tintype_server.cli.files import read_json

    annotations = read_json(file)
    if not isinstance(annotations, list):
        raise click.UsageError("The file must hold a JSON array of annotations.")
    with calling(settings) as caller:
        arguments = {"image_uuid": image_id, "annotations": annotations}
        outcome = caller.call("save_annotations", arguments, options)
    finish(outcome, as_json=as_json)


@command.command("delete")
@does("delete_annotations")
@click.argument("image_id")
@word_options
@as_json_option
@click.pass_obj
def delete(settings: Settings, image_id: str, options: CallOptions, as_json: bool) -> None:
    """Remove every annotation of an image. It can be undone."""
    with calling(settings) as caller:
        outcome = caller.call("delete_annotations", {"image_uuid": image_id}, options)
    finish(outcome, as_json=as_json)
    say_undo(outcome)


def _row(annotation: dict[str, Any]) -> tuple[object, ...]:
    box = annotation.get("bounding_box")
    shown = ", ".join(f"{box[side]:g}" for side in "xywh") if box else None
    names = ("id", "name", "type")
    made = annotation.get("created_by")
    return (*(annotation.get(name) for name in names), shown, annotation.get("confidence"), made)
